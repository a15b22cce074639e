"""Fits the classifier of a scan to files whose wrong lines are known. Needs scikit-learn.

What one stage says of a file, the next stage learns from models that did not see its repository.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codebyte.tasks.boosting import boosted, ranked, straight
from codebyte.tasks.calibration import Usual, group_of, usual
from codebyte.tasks.candidates import FULL, LIGHT, full_features, name_of
from codebyte.tasks.first_pass import together
from codebyte.tasks.judged import ALL, edit_odds
from codebyte.tasks.known import Known, Signals
from codebyte.tasks.line_features import PLACE
from codebyte.tasks.surprise import SIGNALS, line_surprise
from codebyte.tasks.suspicion import BELIEVED, Judge, fix_odds, line_table, most_scored
from codebyte.tasks.syntax import LineKind
from codebyte.tasks.trees import Steps

FOLDS = 4
SLOPE = 0.01  # of the calibrated chance, from the lowest odds to the highest
RATE_SHRUNK = 3.0  # fixed lines that the mean rate counts for in a kind


def fit_signals(read: Sequence[Signals], name: str) -> Judge:
    """Fits all tables.

    Args:
        read: files whose wrong lines are known, read by the model.
        name: of the model's weights.
    """
    usual_gains = _usual_gains(read)
    column = LIGHT.index("usual gain")
    for one in read:
        levels = [usual_gains.get(name_of(edit), (0.0, 1.0))[0] for edit in one.edits]
        one.answers.light[:, column] = levels
    folds = folds_of([one.known.repo for one in read])
    screen, screened = boosted(
        [one.answers.light for one in read],
        [one.right for one in read],
        folds,
        iterations=80,
        leaves=10,
        negatives=60_000,
    )
    picked = [_picked(one, odds) for one, odds in zip(read, screened, strict=True)]
    fulls = [
        full_features(
            [edits[j] for j in one.answers.scored[p]],
            one.answers.light[one.answers.scored[p]],
            one.answers.gains[p],
            usual_gains,
        )
        for one, edits, p in zip(read, [one.edits for one in read], picked, strict=True)
    ]
    right = [one.right[one.answers.scored[p]] for one, p in zip(read, picked, strict=True)]
    repair, repaired = boosted(fulls, right, folds, iterations=120, leaves=10)
    usual_lines = _usual_lines(read)
    tables = []
    for one, odds, p, sight, full in zip(read, repaired, picked, screened, fulls, strict=True):
        gains, rows = full[:, FULL.index("gain")], one.rows
        scored_rows = rows[one.answers.scored[p]]
        best = edit_odds(len(one.code), rows, sight, scored_rows, odds, gains)
        tables.append(line_table(one.known.source, one.look, one.answers, usual_lines, best))
    slips = [one.slips for one in read]
    fixes = [one.wrong & ~one.slips for one in read]
    line, by_slip = boosted(
        tables,
        slips,
        folds,
        iterations=150,
        leaves=8,
        counted=[one.code & ~m for one, m in zip(read, fixes, strict=True)],
    )
    other = [one.code & ~s for one, s in zip(read, slips, strict=True)]
    nowhere = [ALL.index(name) for name in PLACE]  # what is read around a fix is cut out of a file
    fixed, by_fix = straight(tables, fixes, folds, other, nowhere)
    states, by_states = ranked([one.answers.states for one in read], fixes, folds, other)
    both = [
        together(slip, fix_odds(fix, one.look.fixes, state), BELIEVED)
        for slip, fix, state, one in zip(by_slip, by_fix, by_states, read, strict=True)
    ]
    return Judge(
        model_id=name,
        usual_gains=usual_gains,
        usual_lines=usual_lines,
        screen=screen,
        repair=repair,
        line=line,
        fixed=fixed,
        states=states,
        chance=chance_of(both, [one.wrong for one in read], [one.code for one in read]),
    )


def _picked(one: Signals, odds: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which of the scored edits a scan would score, having screened all."""
    best = np.argsort(-odds, kind="stable")[: most_scored(len(one.known.source))]
    return np.flatnonzero(np.isin(one.answers.scored, best))


def folds_of(repos: Sequence[str]) -> NDArray[np.int64]:
    """A fold for each file: repositories are dealt out, the largest first, to the smallest fold."""
    sizes = {repo: repos.count(repo) for repo in sorted(set(repos))}
    if len(sizes) < FOLDS:
        return np.arange(len(repos)) % FOLDS
    filled, fold = [0] * FOLDS, {}
    for repo in sorted(sizes, key=lambda repo: -sizes[repo]):
        fold[repo] = filled.index(min(filled))
        filled[fold[repo]] += sizes[repo]
    return np.array([fold[repo] for repo in repos])


def _usual_gains(read: Sequence[Signals]) -> Usual:
    pairs = []
    for one in read:
        edits, rows = one.edits, one.rows
        for j, gain in zip(one.answers.scored, one.answers.gains.sum(axis=1), strict=True):
            if not one.wrong[rows[j]]:
                pairs.append((name_of(edits[j]), float(gain)))
    return usual(pairs)


def _usual_lines(read: Sequence[Signals]) -> dict[str, Usual]:
    pairs: dict[str, list[tuple[str, float]]] = {signal: [] for signal in SIGNALS}
    for one in read:
        table = line_surprise(one.known.source, one.answers.bits, one.answers.entropy)
        lines = one.known.source.split(b"\n")
        for i, kind in enumerate(one.look.kinds):
            if kind is not None and not one.wrong[i]:
                group = group_of(kind.kind, len(lines[i].strip()))
                for signal, value in zip(SIGNALS, table[i], strict=True):
                    pairs[signal].append((group, float(value)))
    return {signal: usual(listed) for signal, listed in pairs.items()}


def rates_of(read: Sequence[tuple[Known, list[LineKind | None]]]) -> dict[str, float]:
    """How many times likelier than others the lines of each kind were to be fixed."""
    lines: Counter[str] = Counter()
    fixed: Counter[str] = Counter()
    for known, kinds in read:
        mended = {wrong.line - 1 for wrong in known.wrong if not wrong.injected}
        for i, kind in enumerate(kinds):
            if kind is not None:
                lines[kind.kind] += 1
                fixed[kind.kind] += i in mended
    mean = max(fixed.total(), 1) / max(lines.total(), 1)
    return {
        kind: (fixed[kind] + RATE_SHRUNK) / (count * mean + RATE_SHRUNK)
        for kind, count in sorted(lines.items())
    }


def chance_of(
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
