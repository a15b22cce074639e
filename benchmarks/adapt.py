"""What minutes of adaptation bring on a repository that was not trained on, and cost elsewhere.

Each repository (a clone, bare or not) is split as `codebyte adapt` does: its newest files are held
out. Held-out bits per byte and exact lines are taken before and after; "elsewhere" is a seeded
sample of files of all other validation repositories of the corpus, none of which adaptation sees.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from contenders import fail, load_ours
from report import Check, Report, parser, range_of
from texts import library_files, validation_files

from codebyte.corpus import Corpus
from codebyte.errors import CodebyteError
from codebyte.indexer.repo import SourceFile, documents, open_repo
from codebyte.tasks.adapt import AdaptConfig, adapt
from codebyte.tasks.adapt_measure import mean_bits
from codebyte.tasks.held_out import split_files

BAR_GAIN, BAR_LOSS = 0.08, 0.02
ELSEWHERE = 100_000  # bytes
MOST_OF_A_FILE = 8_000  # bytes of each file elsewhere, so that there are many


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument(
        "--repos",
        type=Path,
        nargs="*",
        default=[],
        help="repositories to adapt to: clones whose path names them as owner+name",
    )
    options.add_argument("--corpus", help="a corpus folder (codebyte.corpus)")
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument(
        "--processor-time",
        action="store_true",
        help="count the minutes by this process's share of a busy machine",
    )
    args = options.parse_args()
    if not args.quick and not (args.repos and args.corpus):
        options.error("give --repos and a --corpus; only --quick goes without")
    report = Report("adapt", quick=args.quick)
    torch.set_num_threads(args.threads)
    minutes = 0.15 if args.quick else args.minutes
    rows, gains, losses, figures = [], [], [], {}
    for place in args.repos or [None]:
        model, name = load_ours(args.checkpoint, "cpu")
        label = "python's library" if place is None else _label(place)
        try:
            learnt, held_out, by = _files(place)
            elsewhere = _elsewhere(args.corpus, label, 12_000 if args.quick else ELSEWHERE)
        except CodebyteError as error:
            fail(error)
        before = mean_bits(model, elsewhere)
        with tempfile.TemporaryDirectory() as folder:
            result = adapt(
                model,
                learnt,
                held_out,
                folder,
                AdaptConfig(minutes=minutes),
                clock=time.process_time if args.processor_time else time.monotonic,
            )
        after = mean_bits(model, elsewhere)
        gains.append(1 - result.after.bits_per_byte / result.before.bits_per_byte)
        losses.append(after / before - 1)
        figures[label] = {
            "learnt_files": len(learnt),
            "learnt_bytes": sum(len(file.data) for file in learnt),
            "held_out_files": len(held_out),
            "held_out_by": by,
            "bits_per_byte": [result.before.bits_per_byte, result.after.bits_per_byte],
            "exact_lines": [result.before.exact_lines, result.after.exact_lines],
            "elsewhere": [before, after],
            "kept": result.kept,
            "bytes_read": result.num_bytes,
        }
        rows.append(
            [
                label,
                result.before.bits_per_byte,
                result.after.bits_per_byte,
                gains[-1],
                result.before.exact_lines,
                result.after.exact_lines,
                losses[-1],
                result.num_bytes,
            ]
        )
        print(f"{label}: {gains[-1]:.1%} fewer bits, {losses[-1]:+.1%} elsewhere", flush=True)
    report.note(f"the model is {name}")
    report.table(
        ["", "bits before", "after", "fewer", "lines before", "after", "elsewhere", "bytes read"],
        rows,
    )
    report.finish(
        {
            "fewer bits on held-out files": Check(float(np.mean(gains)), BAR_GAIN),
            "more bits elsewhere": Check(float(np.mean(losses)), BAR_LOSS, at_most=True),
        },
        unit="share",
        spread=range_of(gains),
        minutes=minutes,
        counted_by="processor time" if args.processor_time else "clock",
        threads=args.threads,
        repositories=figures,
    )


def _label(place: Path) -> str:
    """owner/name of .../owner+name/repo, or the folder's name."""
    named = next((part for part in reversed(place.parts) if "+" in part), place.name)
    return named.replace("+", "/")


def _files(place: Path | None) -> tuple[list[SourceFile], list[SourceFile], str]:
    if place is not None:
        repo = open_repo(place)
        return split_files(repo, list(documents([repo])))
    files = [
        SourceFile(repo="library", path=name, language="python", data=data)
        for name, data in list(library_files().items())[:20]
        if data
    ]
    return files[3:], files[:3], "name"


def _elsewhere(corpus: str | None, label: str, num_bytes: int) -> list[bytes]:
    """Beginnings of files of the validation repositories but one."""
    shard = validation_files(corpus)
    repos = (
        ["library"]
        if corpus is None
        else [entry["name"] for entry in Corpus(corpus).info["repositories"]]
    )
    found: list[bytes] = []
    for index in np.random.default_rng(1).permutation(shard.num_documents):
        if repos[shard.repos[index]] != label and sum(map(len, found)) < num_bytes:
            found.append(shard.document(int(index)).tobytes()[:MOST_OF_A_FILE])
    return found


if __name__ == "__main__":
    main()
