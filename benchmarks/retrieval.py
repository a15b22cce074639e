"""Whether code from elsewhere in a repository helps to complete a line, and how fast it is found.

The carets of benchmarks/completion.py: rests of lines in files that a corpus keeps for validation.
Each repository's files lie in an index of words; what `codebyte.tasks.retrieval` finds for a caret,
never in the caret's own file, stands before the prefix as `codebyte.apps.context` puts it there.

    exact       the text is the rest of the line (white space at the end aside)
    similarity  1 - edits / length of the longer of the two, the mean
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from carets import LONGEST, Cut, cuts
from completion import Mark, mark, mean, summary
from contenders import fail, load_ours
from copying import copied_line
from report import Check, Report, held_out_parser, interval, parse_held_out
from texts import validation_files

from codebyte.apps.context import with_context
from codebyte.corpus import Shard
from codebyte.errors import CodebyteError
from codebyte.indexer.index import CodeIndex
from codebyte.tasks.completion import Completer
from codebyte.tasks.retrieval import BUDGET, snippets_around

CUTS = 500
BAR_MILLISECONDS = 30.0  # within which snippets must be there, the 95th percentile


def main() -> None:
    """Runs the benchmark."""
    options = held_out_parser(__doc__)
    options.add_argument("--cuts", type=int, default=CUTS)
    options.add_argument("--budget", type=int, default=BUDGET, help="bytes of snippets")
    options.add_argument("--seed", type=int, default=1)
    args = parse_held_out(options)
    report = Report("retrieval", quick=args.quick)
    try:
        shard = validation_files(args.corpus)
        model, name = load_ours(args.checkpoint)
    except CodebyteError as error:
        fail(error)
    report.note(f"the model is {name}")
    completer, context = Completer(model), model.config.context
    marks: dict[str, list[Mark]] = defaultdict(list)
    milliseconds, sizes = [], []
    chosen = cuts(shard, 6 if args.quick else args.cuts, args.seed)
    for repo in sorted({int(shard.repos[cut.document]) for cut in chosen}):
        with indexed(shard, repo) as index:
            for cut in (it for it in chosen if shard.repos[it.document] == repo):
                start = time.perf_counter()
                found = snippets_around(index, cut.prefix, cut.suffix, cut.path, budget=args.budget)
                milliseconds.append((time.perf_counter() - start) * 1000)
                sizes.append(sum(len(it.text) for it in found))
                others = [(it.path, it.text.decode("utf-8", "replace")) for it in found]
                shown = with_context(cut.prefix, others, context)
                for label, prefix in (("alone", cut.prefix), ("with snippets", shown)):
                    marks[label].append(mark(_completed(completer, cut, prefix), cut.target))
                    copied = copied_line(prefix, cut.suffix, LONGEST)
                    marks[f"copying, {label}"].append(mark(copied, cut.target))
        print(f"{len(sizes)} of {len(chosen)}", flush=True)
    report.table(
        ["", "exact", "similarity", "first byte"],
        [[label, *summary(them).values()] for label, them in marks.items()],
    )
    exact = {label: [float(it.exact) for it in them] for label, them in marks.items()}
    gains = np.subtract(exact["with snippets"], exact["alone"])
    middle, slow = np.percentile(milliseconds, [50, 95])
    print(f"snippets: {mean(sizes):.0f} bytes, {middle:.1f} ms, 95th percentile {slow:.1f} ms")
    report.finish(
        {
            "exact with snippets less exact without": Check(float(gains.mean()), 0.0),
            "milliseconds to find them, 95th percentile": Check(
                float(slow), BAR_MILLISECONDS, at_most=True
            ),
        },
        unit="share",
        spread=interval(list(gains), np.ones(len(gains))),
        model=name,
        cuts=len(chosen),
        marks={label: summary(them) for label, them in marks.items()},
        median_milliseconds=float(middle),
        snippet_bytes=mean(sizes),
    )


@contextmanager
def indexed(shard: Shard, repo: int) -> Iterator[CodeIndex]:
    """An index of words over the files of one repository of a corpus."""
    with tempfile.TemporaryDirectory() as folder:
        for document in np.flatnonzero(shard.repos == repo):
            path = Path(folder, shard.paths[int(document)])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(shard.document(int(document)).tobytes())
        with CodeIndex() as index:
            index.update(folder, embed=False)
            yield index


def _completed(completer: Completer, cut: Cut, prefix: bytes) -> bytes:
    done = completer.complete(
        prefix, cut.suffix, path=cut.path, max_new_bytes=LONGEST, multiline=False
    )
    return done.text


if __name__ == "__main__":
    main()
