"""Fits the classifier of a scan to files whose wrong lines are known. Needs scikit-learn.

What one stage says of a file, the next stage learns from models that did not see its repository.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codebyte.megabyte import Megabyte
from codebyte.tasks.boosting import boosted, straight
from codebyte.tasks.calibration import Usual, group_of, usual
from codebyte.tasks.candidates import FULL, LIGHT, full_features, name_of
from codebyte.tasks.known import Signals
from codebyte.tasks.line_features import line_features
from codebyte.tasks.surprise import SIGNALS, line_surprise
from codebyte.tasks.suspicion import FEWEST, SHARE, Judge, edit_odds, model_id, together
from codebyte.tasks.trees import Forest, Steps

FOLDS = 4
SLOPE = 0.01  # of the calibrated chance, from the lowest odds to the highest
RATE_SHRUNK = 3.0  # fixed lines that the mean rate counts for in a kind


def fit_screen(read: Sequence[Signals]) -> Forest:
    """Fits only what tells at first sight which edits deserve a full score."""
    return _screen(read, np.zeros(len(read), np.int64))[0]


def _screen(
    read: Sequence[Signals], folds: NDArray[np.int64]
) -> tuple[Forest, list[NDArray[np.float32]]]:
    return boosted(
        [one.light for one in read],
        [np.isin(np.arange(len(one.edits)), one.right) for one in read],
        folds,
        iterations=80,
        leaves=10,
        negatives=60_000,
    )


def fit(model: Megabyte, read: Sequence[Signals]) -> Judge:
    """Fits all tables."""
    return fit_signals(read, model_id(model))


def fit_signals(read: Sequence[Signals], name: str) -> Judge:
    """Fits all tables to files read before, for the model of that name."""
    usual_gains = _usual_gains(read)
    column = LIGHT.index("usual gain")
    for one in read:
        levels = [usual_gains.get(name_of(edit), (0.0, 1.0))[0] for edit in one.edits]
        one.light[:, column] = levels
    folds = _folds(read)
    screen, screened = _screen(read, folds)
    picked = [_picked(one, odds) for one, odds in zip(read, screened, strict=True)]
    fulls = [
        full_features(
            [one.edits[j] for j in one.scored[p]],
            one.light[one.scored[p]],
            one.gains[p],
            usual_gains,
        )
        for one, p in zip(read, picked, strict=True)
    ]
    right = [np.isin(one.scored[p], one.right) for one, p in zip(read, picked, strict=True)]
    repair, repaired = boosted(fulls, right, folds, iterations=120, leaves=10)
    usual_lines, rates = _usual_lines(read), _rates(read)
    tables = []
    for one, odds, p, sight, full in zip(read, repaired, picked, screened, fulls, strict=True):
        lines = line_features(
            one.known.source, one.kinds, one.bits, one.entropy, usual_lines, rates
        )
        gains = full[:, FULL.index("gain")]
        best = edit_odds(len(lines), one.rows, sight, one.rows[one.scored[p]], odds, gains)
        tables.append(np.column_stack([lines, best]))
    slips = [one.slips for one in read]
    mends = [one.wrong & ~one.slips for one in read]
    line, by_slip = boosted(
        tables,
        slips,
        folds,
        iterations=150,
        leaves=8,
        counted=[one.code & ~m for one, m in zip(read, mends, strict=True)],
    )
    other = [one.code & ~s for one, s in zip(read, slips, strict=True)]
    fixed, by_fix = boosted(tables, mends, folds, iterations=60, leaves=5, counted=other)
    fixed_too, by_sum = straight(tables, mends, folds, other)
    both = [together(*odds) for odds in zip(by_slip, by_fix, by_sum, strict=True)]
    return Judge(
        model_id=name,
        usual_gains=usual_gains,
        usual_lines=usual_lines,
        rates=rates,
        screen=screen,
        repair=repair,
        line=line,
        fixed=fixed,
        fixed_too=fixed_too,
        chance=_chance(both, [one.wrong for one in read], [one.code for one in read]),
    )


def _picked(one: Signals, odds: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which of the scored edits a scan would score, having screened all."""
    most = FEWEST + int(SHARE * len(one.known.source))
    best = np.argsort(-odds, kind="stable")[:most]
    return np.flatnonzero(np.isin(one.scored, best))


def _folds(read: Sequence[Signals]) -> NDArray[np.int64]:
    """A fold for each file: repositories are dealt out, the largest first, to the smallest fold."""
    repos = [one.known.repo for one in read]
    sizes = {repo: repos.count(repo) for repo in sorted(set(repos))}
    if len(sizes) < FOLDS:
        return np.arange(len(read)) % FOLDS
    filled, fold = [0] * FOLDS, {}
    for repo in sorted(sizes, key=lambda repo: -sizes[repo]):
        fold[repo] = filled.index(min(filled))
        filled[fold[repo]] += sizes[repo]
    return np.array([fold[repo] for repo in repos])


def _usual_gains(read: Sequence[Signals]) -> Usual:
    pairs = []
    for one in read:
        for j, gain in zip(one.scored, one.gains.sum(axis=1), strict=True):
            if not one.wrong[one.rows[j]]:
                pairs.append((name_of(one.edits[j]), float(gain)))
    return usual(pairs)


def _usual_lines(read: Sequence[Signals]) -> dict[str, Usual]:
    pairs: dict[str, list[tuple[str, float]]] = {signal: [] for signal in SIGNALS}
    for one in read:
        table = line_surprise(one.known.source, one.bits, one.entropy)
        lines = one.known.source.split(b"\n")
        for i, kind in enumerate(one.kinds):
            if kind is not None and not one.wrong[i]:
                group = group_of(kind.kind, len(lines[i].strip()))
                for signal, value in zip(SIGNALS, table[i], strict=True):
                    pairs[signal].append((group, float(value)))
    return {signal: usual(listed) for signal, listed in pairs.items()}


def _rates(read: Sequence[Signals]) -> dict[str, float]:
    """How many times likelier than others the lines of each kind were to be fixed."""
    lines: Counter[str] = Counter()
    fixed: Counter[str] = Counter()
    for one in read:
        known = {wrong.line - 1 for wrong in one.known.wrong if not wrong.injected}
        for i, kind in enumerate(one.kinds):
            if kind is not None:
                lines[kind.kind] += 1
                fixed[kind.kind] += i in known
    mean = max(fixed.total(), 1) / max(lines.total(), 1)
    return {
        kind: (fixed[kind] + RATE_SHRUNK) / (count * mean + RATE_SHRUNK)
        for kind, count in sorted(lines.items())
    }


def _chance(
    odds: Sequence[NDArray[np.float32]],
    wrong: Sequence[NDArray[np.bool_]],
    code: Sequence[NDArray[np.bool_]],
) -> Steps:
    """Log odds to the share of lines that were wrong, as if each file had one wrong line."""
    from sklearn.isotonic import IsotonicRegression

    x = np.concatenate([o[c] for o, c in zip(odds, code, strict=True)])
    y = np.concatenate([w[c] for w, c in zip(wrong, code, strict=True)])
    weight = [np.where(w[c], 1 / max(w.sum(), 1), 1.0) for w, c in zip(wrong, code, strict=True)]
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(x, y, np.concatenate(weight))
    points, values = fitted.X_thresholds_, fitted.y_thresholds_
    # A little slope on every step keeps the order of lines that share it.
    slope = np.linspace(0, 1, len(points)) if np.ptp(points) == 0 else points - points[0]
    rising = values * (1 - SLOPE) + SLOPE * slope / max(slope[-1], 1e-6)
    return Steps(points.astype(np.float32), rising.astype(np.float32))
