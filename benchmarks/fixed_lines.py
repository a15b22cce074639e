"""From a broken line to the fixed one: `Seq2Seq` trained on bugs that were put in.

Functions of a corpus' Python files get one bug of each kind (`codebyte.tasks.injection`): another
variable, a bound moved by one, another operator, a negated condition, two swapped arguments. The
source is the broken line alone, without its indentation, and the target the line as it was; what
the rest of the function would say is not shown, so that another variable can only be guessed.
Trained on the train split and judged by the other, whose pairs are left out where their fixed line
was trained on. Without --corpus it is Python's own library: a small experiment.

    copying     bits of the fixed line when the next byte is the one that followed the same bytes
                in the broken line, trusted as far as training pairs say; it fixes nothing
    constant    of the commonest edits of training, the one that was right most often where its
                text stood in the line

--minutes are of processor time, on one thread.
"""

import ast
import random
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from copying import Copying
from report import Check, Report, interval, parser
from texts import corpus_or_library
from torch import Tensor
from variants import ROWS, SHAPE, Pair, bits_of, ended, fit, padded

from codebyte.config import SamplingParams
from codebyte.corpus import Corpus
from codebyte.memory import keep_freed_memory
from codebyte.tasks.injection import KINDS, Case, inject
from codebyte.variants import Seq2Seq

LONGEST = 100  # bytes of a line
LARGEST = 4000  # bytes of a function
EDITS, TRIED = 100, 5_000  # the commonest edits; training pairs that order them


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--corpus", type=Path, help="(default: Python's library)")
    options.add_argument("--minutes", type=float, default=3.0, help="of processor time")
    options.add_argument("--pairs", type=int, default=60_000, help="to train on")
    options.add_argument("--held", type=int, default=1_000, help="pairs to judge by")
    args = options.parse_args()
    if args.quick:
        args.minutes, args.pairs, args.held = 0.1, 1_000, 50
    torch.set_num_threads(1)
    torch.manual_seed(1)
    keep_freed_memory()
    report = Report("fixed_lines", quick=args.quick)
    with corpus_or_library(args.corpus) as corpus:
        train = list(pairs(corpus, "train", args.pairs))
        held = list(pairs(corpus, "valid", 2 * args.held))
    known = {pair[1] for _, pair, _ in train}
    held = [found for found in held if found[1][1] not in known]
    held = held[: args.held]
    print(f"{len(train):,} pairs to train on, {len(held):,} held out", flush=True)

    model, rng = Seq2Seq(SHAPE), np.random.default_rng(1)

    def loss() -> Tensor:
        chosen = [train[i][1] for i in rng.integers(len(train), size=ROWS)]
        return model.loss(padded([source for source, _ in chosen]), ended(chosen))

    steps = fit(model, loss, args.minutes)
    show(report, model, train, held, args.minutes, steps)


Found = tuple[str, Pair, tuple[bytes, bytes]]  # kind; broken and fixed line; what the edit changes


def pairs(corpus: Corpus, split: str, count: int) -> Iterator[Found]:
    """Broken and fixed lines in an order drawn once, each pair once."""
    rng, seen = random.Random(1), set[Pair]()
    for function in functions(corpus, split):
        for kind in KINDS:
            case = inject(function, "", kind, rng)
            if case is None:
                continue
            pair = lines_of(case)
            if len(pair[1]) <= LONGEST and pair not in seen:
                seen.add(pair)
                yield kind, pair, (case.source[case.start : case.end], case.fix)
                if len(seen) == count:
                    return


def functions(corpus: Corpus, split: str) -> Iterator[bytes]:
    """Functions and methods of Python files, file by file in an order drawn once."""
    shard = corpus.shard(split)
    for index in np.random.default_rng(1).permutation(shard.num_documents):
        if shard.paths[index].endswith(".py"):
            yield from functions_of(shard.document(int(index)).tobytes())


def functions_of(data: bytes) -> Iterator[bytes]:
    """The functions of a module and the methods of its classes, not indented."""
    try:
        bodies = [ast.parse(data).body]
    except (SyntaxError, ValueError):
        return
    lines = data.decode(errors="replace").split("\n")
    while bodies:
        for node in bodies.pop():
            if isinstance(node, ast.ClassDef):
                bodies.append(node.body)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                text = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno])) + "\n"
                if text.isascii() and len(text) <= LARGEST:
                    yield text.encode()


def lines_of(case: Case) -> Pair:
    """The line with the bug and without it, neither indented."""
    start = case.source.rfind(b"\n", 0, case.start) + 1
    end = case.source.find(b"\n", case.end)
    before, after = case.source[start : case.start], case.source[case.end : end]
    broken = before + case.source[case.start : case.end] + after
    return broken.strip(), (before + case.fix + after).strip()


def show(
    report: Report,
    model: Seq2Seq,
    train: list[Found],
    held: list[Found],
    minutes: float,
    steps: int,
) -> None:
    """Prints the tables and the result."""
    chosen = [pair for _, pair, _ in held]
    own, sizes = bits_of(model, chosen, [source for source, _ in chosen])
    other, _ = bits_of(model, chosen, [source for source, _ in chosen[1:] + chosen[:1]])
    copying = Copying(pair for _, pair, _ in train)
    copied = np.array([sum(copying.bits(*pair)) for pair in chosen])
    written = [
        b"".join(model.generate(source, SamplingParams(max_new_bytes=LONGEST + 20)))
        for source, _ in chosen
    ]
    edits = best_edits(train)
    exact = np.array([text == fix for text, (_, fix) in zip(written, chosen, strict=True)])
    constant = np.array([edited(source, edits) == fix for source, fix in chosen])
    unchanged = np.array([text == line for text, (line, _) in zip(written, chosen, strict=True)])
    figures = {
        "Seq2Seq": (float(own.sum() / sizes.sum()), float(exact.mean())),
        "the same, given another's broken line": (float(other.sum() / sizes.sum()), None),
        "copying the broken line": (float(copied.sum() / sizes.sum()), 0.0),
        "the best constant edit that fits": (None, float(constant.mean())),
    }
    report.table(
        ["broken line -> fixed line", "bits per byte", "exact"],
        [[name, *("" if v is None else v for v in pair)] for name, pair in figures.items()],
    )
    kinds = np.array([kind for kind, _, _ in held])
    by_kind = {
        kind: [float(exact[kinds == kind].mean()), float(constant[kinds == kind].mean())]
        for kind in KINDS
    }
    report.table(
        ["kind", "lines", "exact", "constant edit"],
        [[kind, int((kinds == kind).sum()), *values] for kind, values in by_kind.items()],
    )
    print(f"{float(unchanged.mean()):.1%} of the lines were written as they were\n")
    for text, (source, fix) in zip(written[:8], chosen, strict=False):
        print(f"  {source!r}\n    {text!r}\n    {fix!r}")
    ones = np.ones(len(chosen))
    report.finish(
        {
            "bits per byte fewer than copying": Check(
                float((copied - own).sum() / sizes.sum()), 0.0
            ),
            "share fixed, above a constant edit": Check(float(exact.mean() - constant.mean()), 0.0),
        },
        unit="bits per byte",
        spread=interval(copied - own, sizes),
        exact_range=interval(exact, ones),
        above_constant_range=interval(exact.astype(float) - constant, ones),
        rows={name: list(pair) for name, pair in figures.items()},
        by_kind=by_kind,
        unchanged=float(unchanged.mean()),
        minutes=minutes,
        steps=steps,
        pairs=len(train),
        held=len(held),
        parameters=sum(p.numel() for p in model.parameters()),
    )


def best_edits(train: list[Found]) -> list[tuple[bytes, bytes]]:
    """The commonest edits of training, those first that are right most often where they fit."""
    counts = Counter(edit for _, _, edit in train)
    edits = [edit for edit, _ in counts.most_common(EDITS) if edit[0]]
    shown = [pair for _, pair, _ in train[:TRIED]]

    def right(edit: tuple[bytes, bytes]) -> float:
        fits = [pair for pair in shown if edit[0] in pair[0]]
        return sum(edited(source, [edit]) == fix for source, fix in fits) / (len(fits) + 1)

    return sorted(edits, key=right, reverse=True)


def edited(line: bytes, edits: list[tuple[bytes, bytes]]) -> bytes:
    """The line after the first edit whose text stands in it; as it is where none does."""
    for bug, fix in edits:
        if bug in line:
            return line.replace(bug, fix, 1)
    return line


if __name__ == "__main__":
    main()
