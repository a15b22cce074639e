"""The rest of a line, and random spans, at random carets in held-out files, beside copying.

500 seeded carets in the files that a corpus keeps for validation, anywhere in a line that goes on;
the rest of the line is taken out. At most 2,048 bytes before it and 1,024 after it are shown, the
path only to the model. All sides end at the newline, or after 160 bytes. Contenders:

    greedy         the likeliest byte, one after the other: what ghost text shows
    best of 8      eight rests of the line compared as wholes (codebyte.tasks.best_line)
    best of 2      two, and copies: what an editor gets that waits for the whole text
    with mixer     the same with all other files of the repository known (codebyte.mixing)
    copying        what followed the longest match of the prefix in prefix or suffix

    exact       the text is the rest of the line (white space at the end aside)
    similarity  1 - edits / length of the longer of the two, the mean
    first byte  the first byte is right

Spans: 200 seeded stretches of 1 to 256 bytes (the logarithm even), in the same way. Greedily they
end where the model says so or the suffix begins, as copying does; the best of 8 are cut where the
suffix follows best (codebyte.tasks.best_span). Inside a line: 200 stretches of 1 to 64 bytes with
more of their line after them. There an editor is shown the best of six; greedy is as with spans.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
import torch
from carets import LONGEST, LONGEST_SPAN, Cut, cuts, inside_cuts, span_cuts
from contenders import fail, load_ours
from copying import copied_line, copied_span
from report import Check, Report, cores, held_out_parser, interval, parse_held_out
from texts import validation_files

from codebyte.corpus import Shard
from codebyte.errors import CodebyteError
from codebyte.indexer.languages import language_of
from codebyte.megabyte import Megabyte
from codebyte.mixing import Mixer
from codebyte.tasks.completion import FEW_TRIES, TRIES, Completer

BAR_TIMES, BAR_TIMES_MIXED, BAR_FIRST = 1.3, 1.45, 0.80
BAR_SPANS, BAR_MID_WORD = 0.12, 0.9
CUTS, SPANS = 500, 200  # as many inside lines as spans
TOGETHER = 25  # cuts that a process takes at once
Contender = Callable[[Cut], bytes]
Contenders = Callable[[Megabyte, Mixer], dict[str, Contender]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How good a completion is."""

    exact: bool
    similarity: float
    first: bool


def main() -> None:
    """Runs the benchmark."""
    options = held_out_parser(__doc__)
    options.add_argument("--cuts", type=int, default=CUTS)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=cores(), help="processes of one thread each")
    args = parse_held_out(options)
    report = Report("completion", quick=args.quick)
    try:
        shard = validation_files(args.corpus)
    except CodebyteError as error:
        fail(error)
    _, name = load_ours(args.checkpoint)
    report.note(f"the model is {name}")
    if args.corpus is None:
        report.note("without a corpus the files are those of Python's own library")
    lines = cuts(shard, 6 if args.quick else args.cuts, args.seed)
    fewer = 4 if args.quick else min(SPANS, args.cuts)
    spans = span_cuts(shard, fewer, args.seed)
    inside = inside_cuts(shard, fewer, args.seed)
    context, given = multiprocessing.get_context("spawn"), (args.corpus, args.checkpoint)
    with context.Pool(args.jobs, begin, given) as pool:
        found, milliseconds = run(pool, shard, lines, line_contenders)
        others = {
            "spans": run(pool, shard, spans, span_contenders),
            "inside a line": run(pool, shard, inside, inside_contenders),
        }
    for kind, (_, taken) in others.items():
        milliseconds |= {f"{kind}, {name}": times for name, times in taken.items()}
    other_marks = {kind: marks for kind, (marks, _) in others.items()}
    show(report, lines, found, other_marks, milliseconds, {"model": name, "seed": args.seed})


def by_us(model: Megabyte, known: Mixer | None, longest: int, **how: Any) -> Contender:
    """What the model completes; `how` as for Completer.complete."""

    def complete(cut: Cut) -> bytes:
        return (
            Completer(model, known)
            .complete(cut.prefix, cut.suffix, path=cut.path, max_new_bytes=longest, **how)
            .text
        )

    return complete


def line_contenders(model: Megabyte, mixer: Mixer) -> dict[str, Contender]:
    """What completes a line, by name."""
    line = {"multiline": False}
    return {
        "greedy": by_us(model, None, LONGEST, **line),
        "best of 8": by_us(model, None, LONGEST, **line, tries=TRIES),
        "greedy with mixer": by_us(model, mixer, LONGEST, **line),
        "best of 2 with mixer": by_us(model, mixer, LONGEST, **line, tries=FEW_TRIES),
        "best of 8 with mixer": by_us(model, mixer, LONGEST, **line, tries=TRIES),
        "copying": lambda cut: copied_line(cut.prefix, cut.suffix, LONGEST),
    }


def span_contenders(model: Megabyte, mixer: Mixer) -> dict[str, Contender]:
    """What fills a span, by name."""
    return {
        "greedy": by_us(model, None, LONGEST_SPAN, raw=True),
        "best of 8": by_us(model, None, LONGEST_SPAN, raw=True, tries=TRIES),
        "greedy with mixer": by_us(model, mixer, LONGEST_SPAN, raw=True),
        "best of 8 with mixer": by_us(model, mixer, LONGEST_SPAN, raw=True, tries=TRIES),
        "copying": lambda cut: copied_span(cut.prefix, cut.suffix, LONGEST_SPAN),
    }


def inside_contenders(model: Megabyte, mixer: Mixer) -> dict[str, Contender]:
    """What fills a gap inside a line, by name."""
    return {
        "greedy": by_us(model, None, LONGEST, raw=True),
        "as an editor shows it": by_us(model, None, LONGEST, multiline=False),
        "the same with mixer": by_us(model, mixer, LONGEST, multiline=False),
        "copying": lambda cut: copied_span(cut.prefix, cut.suffix, LONGEST),
    }


_here: dict[str, Any] = {}  # what a process completes with


def begin(corpus: str | None, checkpoint: str | None) -> None:
    """Starts a process."""
    torch.set_num_threads(1)
    _here.update(model=load_ours(checkpoint)[0], shard=validation_files(corpus))


def run(
    pool: Pool, shard: Shard, chosen: list[Cut], contenders: Contenders
) -> tuple[dict[str, list[Mark]], dict[str, list[float]]]:
    """Marks and milliseconds of each contender for each cut, in the order of the files."""
    marks: dict[str, list[Mark]] = {}
    milliseconds: dict[str, list[float]] = {}
    by_repo = groupby(chosen, key=lambda cut: int(shard.repos[cut.document]))
    parts = [part for _, listed in by_repo for part in batched(list(listed), TOGETHER)]
    for done in pool.imap(partial(completed, contenders), parts):
        for name, (taken, marked) in done.items():
            milliseconds.setdefault(name, []).extend(taken)
            marks.setdefault(name, []).extend(marked)
        so_far = ", ".join(f"{n} {mean(m.exact for m in it):.1%}" for n, it in marks.items())
        count = len(next(iter(marks.values())))
        print(f"{count} of {len(chosen)}: exact {so_far}", flush=True)
    return marks, milliseconds


def completed(
    contenders: Contenders, chosen: Sequence[Cut]
) -> dict[str, tuple[list[float], list[Mark]]]:
    """What a process does with some cuts of one repository, by contender."""
    shard, mixer = _here["shard"], Mixer()
    for other in np.flatnonzero(shard.repos == shard.repos[chosen[0].document]):
        mixer.recall.add(str(other), shard.document(int(other)).tobytes())
    found: dict[str, tuple[list[float], list[Mark]]] = {}
    for cut in chosen:
        with mixer.recall.hidden(str(cut.document)):
            for name, contender in contenders(_here["model"], mixer).items():
                milliseconds, marks = found.setdefault(name, ([], []))
                start = time.perf_counter()
                text = contender(cut)
                milliseconds.append((time.perf_counter() - start) * 1000)
                marks.append(mark(text, cut.target))
    return found


def batched(listed: list[Cut], size: int) -> list[list[Cut]]:
    """Parts of at most so many."""
    return [listed[i : i + size] for i in range(0, len(listed), size)]


def show(
    report: Report,
    lines: list[Cut],
    found: dict[str, list[Mark]],
    others: dict[str, dict[str, list[Mark]]],
    milliseconds: dict[str, list[float]],
    figures: dict[str, Any],
) -> None:
    """Prints the tables and the result."""
    groups = {
        "python": [i for i, cut in enumerate(lines) if language_of(cut.path) == "python"],
        "mid-word": [i for i, cut in enumerate(lines) if cut.mid_word],
        "elsewhere": [i for i, cut in enumerate(lines) if not cut.mid_word],
        "all": list(range(len(lines))),
    }
    rows = []
    for group, indices in groups.items():
        figures[group] = {"cuts": len(indices)}
        for name, marks in found.items():
            values = figures[group][name] = summary([marks[i] for i in indices])
            rows.append([f"{group}, {name}", len(indices), *values.values()])
    head = ["", "cuts", "exact", "similarity", "first byte"]
    report.table(head, rows)
    for kind, by_name in others.items():
        figures[kind] = {name: summary(marks) for name, marks in by_name.items()}
        report.table(
            [kind, *head[1:]],
            [[name, len(by_name[name]), *it.values()] for name, it in figures[kind].items()],
        )
    middle = {name: statistics.median(times) for name, times in milliseconds.items()}
    print("milliseconds, prompt and all (median):", {n: round(m) for n, m in middle.items()})
    total = {name: sum(mark.exact for mark in marks) for name, marks in found.items()}
    nothing = float("nan")
    ratio, mixed = (
        total[name] / total["copying"] if total["copying"] else nothing
        for name in ("best of 8", "best of 8 with mixer")
    )
    inside, outside = (
        figures[group]["greedy"]["similarity"] for group in ("mid-word", "elsewhere")
    )
    exact = {name: [float(mark.exact) for mark in marks] for name, marks in found.items()}
    report.finish(
        {
            "times as many exact lines as copying": Check(ratio, BAR_TIMES),
            "the same with the mixer": Check(mixed, BAR_TIMES_MIXED),
            "first byte right, greedy": Check(figures["all"]["greedy"]["first_byte"], BAR_FIRST),
            "spans exact": Check(figures["spans"]["best of 8"]["exact"], BAR_SPANS),
            "similarity mid-word over elsewhere": Check(inside / outside, BAR_MID_WORD),
        },
        unit="times",
        spread=interval(exact["best of 8"], exact["copying"]),
        ours=mean(exact["best of 8"]),
        theirs=mean(exact["copying"]),
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


def mark(text: bytes, target: bytes) -> Mark:
    """Compares a completion with what belongs there."""
    text, target = text.rstrip(), target.rstrip()
    longer = max(len(text), len(target), 1)
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
