"""The rest of a line at random carets in held-out files, beside copying it from the file.

500 seeded carets in the files that a corpus keeps for validation, anywhere in a line that goes on;
the rest of the line is taken out. At most 2,048 bytes before it and 1,024 after it are shown, the
path only to the model. Both sides end at the newline, or after 160 bytes.

    exact       the text is the rest of the line (white space at the end aside)
    similarity  1 - edits / length of the longer of the two, the mean
    first byte  the first byte is right
"""

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from contenders import fail, load_ours
from copying import copied_line
from report import Check, Report, interval, parser
from texts import validation_files

from codebyte.corpus import Shard
from codebyte.errors import CodebyteError
from codebyte.indexer.languages import language_of
from codebyte.tasks.completion import Completer

BAR_TIMES, BAR_FIRST = 1.3, 0.80
CUTS = 500
PREFIX, SUFFIX = 2048, 1024
LONGEST = 160  # bytes of a rest of a line, and of a completion


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A caret, and what belongs there."""

    path: str
    prefix: bytes
    suffix: bytes
    target: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How good a completion is."""

    exact: bool
    similarity: float
    first: bool


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--corpus", help="a corpus folder (codebyte.corpus)")
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    options.add_argument("--cuts", type=int, default=CUTS)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    if args.corpus is None and not args.quick:
        options.error("give a --corpus; only --quick goes without")
    report = Report("completion", quick=args.quick)
    try:
        shard = validation_files(args.corpus)
    except CodebyteError as error:
        fail(error)
    model, name = load_ours(args.checkpoint)
    report.note(f"the model is {name}")
    if args.corpus is None:
        report.note("without a corpus the files are those of Python's own library")
    chosen = cuts(shard, 8 if args.quick else args.cuts, args.seed)
    ours, copied, milliseconds = [], [], []
    for i, cut in enumerate(chosen, 1):
        start = time.perf_counter()
        done = Completer(model).complete(
            cut.prefix, cut.suffix, path=cut.path, max_new_bytes=LONGEST, multiline=False
        )
        milliseconds.append((time.perf_counter() - start) * 1000)
        ours.append(mark(done.text, cut.target))
        copied.append(mark(copied_line(cut.prefix, cut.suffix, LONGEST), cut.target))
        if i % 50 == 0:
            one, other = (mean(it.exact for it in marks) for marks in (ours, copied))
            print(f"{i} of {len(chosen)}: exact {one:.1%}, copying {other:.1%}", flush=True)
    show(report, chosen, ours, copied, milliseconds, {"model": name, "seed": args.seed})


def show(
    report: Report,
    chosen: list[Cut],
    ours: list[Mark],
    copied: list[Mark],
    milliseconds: list[float],
    figures: dict[str, Any],
) -> None:
    """Prints the table and the result."""
    python = [language_of(cut.path) == "python" for cut in chosen]
    groups = {"python": [i for i, is_it in enumerate(python) if is_it], "all": range(len(chosen))}
    rows = []
    for group, indices in groups.items():
        for name, marks in (("codebyte", ours), ("copying", copied)):
            values = summary([marks[i] for i in indices])
            figures |= {group: figures.get(group, {"cuts": len(indices)}) | {name: values}}
            rows.append([f"{group}, {name}", len(indices), *values.values()])
    report.table(["", "cuts", "exact", "similarity", "first byte"], rows)
    exact, baseline = ([float(it.exact) for it in marks] for marks in (ours, copied))
    ratio = sum(exact) / sum(baseline) if sum(baseline) else float("nan")
    middle = statistics.median(milliseconds)
    print(f"a completion, prompt and all, took {middle:.0f} ms (median)")
    report.finish(
        {
            "times as many exact lines as copying": Check(ratio, BAR_TIMES),
            "first byte right": Check(figures["all"]["codebyte"]["first_byte"], BAR_FIRST),
        },
        unit="times",
        spread=interval(exact, baseline),
        ours=mean(exact),
        theirs=mean(baseline),
        ratio=ratio,
        milliseconds=middle,
        **figures,
    )


def summary(marks: list[Mark]) -> dict[str, float]:
    """The means."""
    return {
        "exact": mean(it.exact for it in marks),
        "similarity": mean(it.similarity for it in marks),
        "first_byte": mean(it.first for it in marks),
    }


def mean(values: Iterable[float]) -> float:
    """The mean; NaN of nothing."""
    listed = [float(value) for value in values]
    return statistics.fmean(listed) if listed else float("nan")


def cuts(shard: Shard, wanted: int, seed: int) -> list[Cut]:
    """Carets at random places of all files together, in lines with something to complete."""
    rng = np.random.default_rng(seed)
    found: list[Cut] = []
    while len(found) < wanted:
        place = int(rng.integers(len(shard.data)))
        index = shard.document_at(place)
        document = shard.document(index).tobytes()
        caret = place - shard.bounds(index)[0]
        end = document.find(b"\n", caret)
        end = len(document) if end < 0 else end
        target = document[caret:end]
        inside_character = document[caret] & 0xC0 == 0x80
        if not target.strip() or len(target) > LONGEST or inside_character:
            continue
        found.append(
            Cut(
                path=shard.paths[index],
                prefix=document[max(0, caret - PREFIX) : caret],
                suffix=document[end : end + SUFFIX],
                target=target,
            )
        )
    return found


def mark(text: bytes, target: bytes) -> Mark:
    """Compares a completion with what belongs there."""
    text, target = text.rstrip(), target.rstrip()
    longer = max(len(text), len(target))
    return Mark(
        exact=text == target,
        similarity=1 - edits(text, target) / longer,
        first=text[:1] == target[:1],
    )


def edits(one: bytes, other: bytes) -> int:
    """The fewest bytes to insert, delete or replace that make one of the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        corner, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (a != b))
    return row[-1]


if __name__ == "__main__":
    main()
