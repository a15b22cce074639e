"""Bugs found by a scan, beside rankings that need no model: in each file, and at few findings.

Cases are held out: one bug put into each of 300 Python files of repositories kept for validation
(five kinds), and single-line fixes from the histories of the same repositories, each read by eye
(data/fixes_valid.json). About half of the real fixes add what was missing: nothing on the line
before is wrong, and no edit of one token repairs it.

    AUC        chance that the wrong line ranks above another line of code of its file
    top 1, 5   share of files whose wrong line is among the first 1, 5
    MRR        mean of 1 / rank of the wrong line
    at 5, 20   share of wrong lines above the threshold that 5, 20 of 1,000 good lines pass
    repair     the edit ranked first in the file is exactly the one that takes the bug out
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scan_baselines as baselines
from numpy.typing import NDArray
from report import Check, Report, cores, interval, parser
from scan_judged import Example, Scores, examples, ours
from scan_speed import first_pass_speed, scan_times, tree_of

from codebyte.tasks.calibration import usual
from codebyte.tasks.first_pass import load_first_pass
from codebyte.tasks.known import mends
from codebyte.tasks.mutations import edits
from codebyte.tasks.syntax import parse

INJECTED, FIXES = 300, 200
LINTED = 60  # cases that pylint is run on: seconds each
BINS = 10  # of probabilities, for the calibration error
SHOWN = 0.05  # probability from which a line is reported: calibration is told apart for these
SPEED_BYTES = 1_000_000
HEAD = ("method", "n", "AUC", "top 1", "top 5", "MRR", "at 5", "at 20")


def ranks(one: Example, scores: Scores) -> tuple[float, float, float]:
    """AUC, the wrong line's rank from 0 (ties count half) and its score."""
    own = scores[one.wrong.line - 1]
    mask = one.code.copy()
    mask[one.wrong.line - 1] = False
    others = scores[mask]
    above, level = (others > own).sum(), (others == own).sum()
    auc = 1 - (above + level / 2) / max(len(others), 1)
    return float(auc), float(above + level / 2), float(own)


def row(name: str, listed: Sequence[Example], scores: Sequence[Scores]) -> list[Any]:
    """A line of the table."""
    told = [ranks(one, found) for one, found in zip(listed, scores, strict=True)]
    if not told:
        return [name, 0, *[float("nan")] * 6]
    auc, rank, own = (np.array(column) for column in zip(*told, strict=True))
    good = np.concatenate([_good(one, found) for one, found in zip(listed, scores, strict=True)])
    good = np.sort(good)[::-1]
    recall = [float((own > good[int(n * len(good) / 1000)]).mean()) for n in (5, 20)]
    mean = [auc.mean(), (rank < 1).mean(), (rank < 5).mean(), (1 / (1 + rank)).mean()]
    return [name, len(told), *map(float, mean), *recall]


def _good(one: Example, scores: Scores) -> Scores:
    mask = one.code.copy()
    mask[one.wrong.line - 1] = False
    return scores[mask]


def calibration(listed: Sequence[Example], scores: Sequence[Scores], least: float) -> float:
    """Mean distance of probabilities from the share that was wrong, by bin."""
    p = np.concatenate([s[one.code] for one, s in zip(listed, scores, strict=True)])
    wrong = [np.arange(len(one.code)) == one.wrong.line - 1 for one in listed]
    y = np.concatenate([w[one.code] for one, w in zip(listed, wrong, strict=True)])
    p, y = p[p >= least], y[p >= least]
    if not len(p):
        return float("nan")
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    error = [abs(p[bins == b].sum() - y[bins == b].sum()) for b in range(BINS)]
    return float(sum(error) / len(p))


def by_ngrams(listed: Sequence[Example]) -> tuple[list[Scores], list[Scores], float]:
    """Sum of bits, best mutation in deviations of its kind, and the share repaired by that."""
    scan = baselines.NGramScan()
    found = [scan.scores(one.source, one.path) for one in listed]
    pairs = [
        (kind, float(gain))
        for one, (_, gains, kinds, where) in zip(listed, found, strict=True)
        for gain, kind, line in zip(gains, kinds, where, strict=True)
        if line != one.wrong.line - 1
    ]
    table, sums, best, repaired = usual(pairs), [], [], []
    for one, (total, gains, kinds, where) in zip(listed, found, strict=True):
        level = np.array([table[kind] for kind in kinds]).reshape(-1, 2)
        z = (gains - level[:, 0]) / level[:, 1]
        scores = np.full(len(total), -9.0)
        np.maximum.at(scores, where[where < len(total)], z[where < len(total)])
        sums.append(total)
        best.append(scores)
        tree = parse(one.source, one.path)
        every = edits(tree, one.source) if tree is not None else []
        repaired.append(bool(len(z)) and mends(one.source, every[int(z.argmax())], one.wrong))
    return sums, best, float(np.mean(repaired))


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--corpus", required=True, help="a corpus folder: its validation files")
    options.add_argument("--repos", help="a folder of bare clones, for the real fixes")
    options.add_argument("--checkpoint", help="another model than the packaged one")
    options.add_argument("--injected", type=int, default=INJECTED, help="files with a bug put in")
    options.add_argument("--fixes", type=int, default=FIXES, help="most files with a real fix")
    options.add_argument("--jobs", type=int, default=cores(), help="processes that judge")
    options.add_argument("--cache", help="a folder where judged files are kept")
    options.add_argument("--no-baselines", action="store_true", help="only the scan itself")
    options.add_argument("--no-speed", action="store_true", help="leave the speed out")
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    if args.quick:
        args.injected, args.fixes = min(args.injected, 5), min(args.fixes, 3)
    report = Report("scan", quick=args.quick, packages=("ruff", "pylint"))
    made, real = examples(args)
    scores, repaired = ours(args, [*made, *real], "alone")
    for_made, for_real = scores[: len(made)], scores[len(made) :]
    kept = np.array(repaired[: len(made)], np.float64)
    first_row = row("codebyte scan", made, for_made)
    rows, real_rows = [first_row], [row("codebyte scan", real, for_real)]
    for how in ("in repository", "first look"):
        found, right_ones = ours(args, made, how)
        rows.append(row(how, made, found))
        report.note(f"{how}: repairs {np.mean(right_ones):.3f}")
    looks = [load_first_pass().look(one.source, one.path).lines for one in real]
    real_rows.append(row("first look", real, [look.astype(np.float64) for look in looks]))
    if not args.no_baselines:
        rules: dict[str, Callable[[Example], Scores]] = {
            "random": lambda one: baselines.at_random(one.source, len(one.source)),
            "line length": lambda one: baselines.length(one.source),
            "complexity": lambda one: baselines.complexity(one.source),
            "ruff": lambda one: baselines.ruff(one.source),
        }
        for name, rule in rules.items():
            rows.append(row(name, made, [rule(one) for one in made]))
            real_rows.append(row(name, real, [rule(one) for one in real]))
        for listed, table in ((made, rows), (real, real_rows)):
            few = listed[: 2 if args.quick else LINTED]
            table.append(row("pylint", few, [baselines.pylint(one.source) for one in few]))
            sums, best, right = by_ngrams(listed)
            table.append(row("6-gram with cache, sum", listed, sums))
            table.append(row("6-gram mutation z", listed, best))
            report.note(f"6-gram mutation repairs {right:.3f} of {len(listed)} files")
    print("\nbugs put in")
    report.table(HEAD, rows)
    print("by kind")
    kinds = sorted({one.kind for one in made})
    report.table((*HEAD, "repair"), [_kind_row(kind, made, for_made, kept) for kind in kinds])
    print("real single-line fixes")
    report.table(HEAD, real_rows)
    kinds = sorted({one.kind for one in real})
    report.table(HEAD, [_kind_row(kind, real, for_real, None) for kind in kinds])
    error, shown = calibration(made, for_made, 0.0), calibration(made, for_made, SHOWN)
    checks = {
        "injected: AUC": Check(first_row[2], 0.93),
        "injected: top 1": Check(first_row[3], 0.35),
        "injected: top 5": Check(first_row[4], 0.65),
        "injected: repaired": Check(float(kept.mean()), 0.30),
        "injected: found at 5 good lines per 1,000": Check(first_row[6], 0.30),
        "calibration error": Check(error, 0.05, at_most=True),
        f"calibration error from {SHOWN} on": Check(shown, 0.05, at_most=True),
        "real fixes: AUC": Check(real_rows[0][2], 0.79),
        "real fixes: top 5": Check(real_rows[0][4], 0.22),
    }
    if not args.no_speed:
        files = tree_of(args, SPEED_BYTES // (50 if args.quick else 1))
        speed, alone = first_pass_speed(files)
        checks["first pass, KB/s"] = Check(speed, 100.0)
        report.note(f"first pass: {alone:.0f} KB per second of processor time")
        first, again, peak = scan_times(args, files)
        size = sum(len(source) for _, source in files)
        report.note(f"largest process of a scan: {peak:,} MB")
        checks["full scan of 1 MB, minutes"] = Check(first / 60 * 1e6 / size, 3.0, at_most=True)
        checks["again after one file changed, s"] = Check(again, 5.0, at_most=True)
    aucs = [ranks(one, found)[0] for one, found in zip(made, for_made, strict=True)]
    report.finish(
        checks,
        unit="AUC within file",
        spread=interval(aucs, np.ones(len(aucs))),
        injected=len(made),
        fixes=len(real),
    )


def _kind_row(
    kind: str,
    listed: Sequence[Example],
    scores: Sequence[Scores],
    repaired: NDArray[np.float64] | None,
) -> list[Any]:
    index = [i for i, one in enumerate(listed) if one.kind == kind]
    told = row(kind, [listed[i] for i in index], [scores[i] for i in index])
    return told if repaired is None else [*told, float(repaired[index].mean())]


if __name__ == "__main__":
    main()
