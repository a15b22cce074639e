"""Fits the classifier of a scan from files whose wrong lines are known. Needs scikit-learn.

Files come from repositories that the model may train on. Some lines are wrong because a bug was put
in (`codebyte.tasks.injection`), some because a later commit fixed them. What one stage says of a
file, the next stage learns from models that did not see its repository.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from codebyte.megabyte import Megabyte
from codebyte.tasks.calibration import Usual, group_of, usual
from codebyte.tasks.candidates import (
    FULL,
    LIGHT,
    full_features,
    gains_of,
    light_features,
    line_starts,
    name_of,
)
from codebyte.tasks.line_features import line_features
from codebyte.tasks.mutations import Edit, edits
from codebyte.tasks.reading import Reading
from codebyte.tasks.surprise import SIGNALS, line_surprise
from codebyte.tasks.suspicion import FEWEST, SHARE, Judge, edit_odds, model_id, together
from codebyte.tasks.syntax import LineKind, parse, tree_kinds
from codebyte.tasks.trees import Forest, Linear, Steps, drawn_in

FOLDS = 4
SAMPLED = 0.3  # share of the edits scored to learn from that are drawn at random
REGULARISED = 0.01  # strength that weights of the straight sum are allowed
SLOPE = 0.01  # of the calibrated chance, from the lowest odds to the highest
RATE_SHRUNK = 3.0  # fixed lines that the mean rate counts for in a kind

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A place that is wrong."""

    line: int  # 1-based
    start: int  # byte range, half-open
    end: int
    fix: bytes | None  # what belongs there; None where that is not one edit of one line
    injected: bool  # else a commit fixed it

    def moved(self, place: int, grown: int) -> "Wrong":
        """The same after the bytes from `place` on have grown by so many."""
        by = grown if self.start > place else 0
        return replace(self, start=self.start + by, end=self.end + by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A file and what is wrong in it."""

    repo: str
    path: str
    source: bytes
    wrong: tuple[Wrong, ...]


@dataclass(slots=True, kw_only=True)
class Signals:
    """What the model says of a known file; all that takes long."""

    known: Known
    kinds: list[LineKind | None]
    edits: list[Edit]
    light: Table
    scored: NDArray[np.int64]  # which edits were scored in full
    gains: Table  # (scored, 3)
    right: NDArray[np.int64]  # edits that take a bug out
    bits: NDArray[np.float32]
    entropy: NDArray[np.float32]
    rows: NDArray[np.int64] = field(init=False)  # (edits,), lines from 0
    wrong: NDArray[np.bool_] = field(init=False)  # (number of lines,)
    slips: NDArray[np.bool_] = field(init=False)  # (number of lines,), those put in
    code: NDArray[np.bool_] = field(init=False)  # (number of lines,)

    def __post_init__(self) -> None:
        starts = line_starts(self.known.source)
        self.rows = np.searchsorted(starts, [e.start for e in self.edits], side="right") - 1
        self.wrong = np.zeros(len(starts), bool)
        self.wrong[[wrong.line - 1 for wrong in self.known.wrong]] = True
        self.slips = np.zeros(len(starts), bool)
        self.slips[[wrong.line - 1 for wrong in self.known.wrong if wrong.injected]] = True
        self.code = np.array([kind is not None for kind in self.kinds], bool)


def signals(model: Megabyte, known: Known, seed: int) -> Signals | None:
    """Reads one file; None where its language has no grammar."""
    source = known.source
    tree = parse(source, known.path)
    if tree is None:
        return None
    every = edits(tree, source)
    reading = Reading(model, source)
    light = light_features(reading, tree, every, {})
    right = [i for i, edit in enumerate(every) if any(mends(source, edit, w) for w in known.wrong)]
    starts = line_starts(source)
    scored = np.array(sorted({*_drawn(every, light, len(source), seed), *right}), np.int64)
    return Signals(
        known=known,
        kinds=tree_kinds(tree, len(starts)),
        edits=every,
        light=light,
        scored=scored,
        gains=gains_of(reading, [every[i] for i in scored]),
        right=np.array(right, np.int64),
        bits=reading.bits,
        entropy=reading.entropy,
    )


def mends(source: bytes, edit: Edit, wrong: Wrong) -> bool:
    """Whether an edit gives exactly what belongs at a wrong place."""
    if wrong.fix is None or edit.start > wrong.end + 1 or edit.end < wrong.start - 1:
        return False
    first, last = min(edit.start, wrong.start), max(edit.end, wrong.end)
    edited = source[first : edit.start] + edit.replacement + source[edit.end : last]
    return edited == source[first : wrong.start] + wrong.fix + source[wrong.end : last]


def _drawn(every: Sequence[Edit], light: Table, size: int, seed: int) -> set[int]:
    """Edits to score in full: all that are not of names, and the names that look best at first."""
    rng = np.random.default_rng(seed)
    kinds = np.array([edit.kind for edit in every])
    first = light[:, LIGHT.index("first byte gain")]
    chosen = set(np.flatnonzero(~np.isin(kinds, ("name", "field"))).tolist())
    for kind, per_kilobyte in (("name", 11), ("field", 3)):
        index = np.flatnonzero(kinds == kind)
        most = per_kilobyte * size // 1000 + 4
        chosen |= set(index[np.argsort(-first[index], kind="stable")[:most]].tolist())
        count = min(len(index), 1 + int(SAMPLED * most))
        chosen |= set(rng.choice(index, count, replace=False).tolist() if count else ())
    return chosen


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
    screen, screened = _stage(
        [one.light for one in read],
        [np.isin(np.arange(len(one.edits)), one.right) for one in read],
        folds,
        iterations=80,
        leaves=10,
        negatives=60_000,
    )
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
    repair, repaired = _stage(fulls, right, folds, iterations=120, leaves=10)
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
    line, by_slip = _stage(
        tables,
        slips,
        folds,
        iterations=150,
        leaves=8,
        counted=[one.code & ~m for one, m in zip(read, mends, strict=True)],
    )
    other = [one.code & ~s for one, s in zip(read, slips, strict=True)]
    fixed, by_fix = _stage(tables, mends, folds, iterations=60, leaves=5, counted=other)
    fixed_too, by_sum = _linear_stage(tables, mends, folds, other)
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


def _stage(
    tables: Sequence[Table],
    right: Sequence[NDArray[np.bool_]],
    folds: NDArray[np.int64],
    *,
    iterations: int,
    leaves: int,
    negatives: int | None = None,
    counted: Sequence[NDArray[np.bool_]] | None = None,
) -> tuple[Forest, list[NDArray[np.float32]]]:
    """Fits one forest to all files, and gives what those fitted without each file say of it.

    Args:
        tables: of each file, (rows, features).
        right: of each file, (rows,), what to find.
        folds: (files,), files of one fold are judged by the forest of the others.
        iterations: trees.
        leaves: of each tree.
        negatives: most rows that are not to be found, drawn at random; None for all.
        counted: of each file, (rows,), rows to learn from; None for all.
    """

    def fitted(files: NDArray[np.int64]) -> Forest:
        kept = [np.ones(len(right[i]), bool) if counted is None else counted[i] for i in files]
        x = np.concatenate([tables[i][k] for i, k in zip(files, kept, strict=True)])
        y = np.concatenate([right[i][k] for i, k in zip(files, kept, strict=True)])
        shift = 0.0
        plain = np.flatnonzero(~y)
        if negatives is not None and len(plain) > negatives:
            drawn = np.random.default_rng(1).choice(plain, negatives, replace=False)
            rows = np.sort(np.concatenate([np.flatnonzero(y), drawn]))
            x, y, shift = x[rows], y[rows], float(np.log(negatives / len(plain)))
        return _forest(x, y, iterations, leaves, shift)

    every = np.arange(len(tables))
    odds: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(tables)
    for fold in np.unique(folds):
        forest = fitted(every[folds != fold])
        for i in every[folds == fold]:
            odds[i] = forest.log_odds(tables[i])
    return fitted(every), odds


def _linear_stage(
    tables: Sequence[Table],
    right: Sequence[NDArray[np.bool_]],
    folds: NDArray[np.int64],
    counted: Sequence[NDArray[np.bool_]],
) -> tuple[Linear, list[NDArray[np.float32]]]:
    """As `_stage`, for logistic regression."""
    from sklearn.linear_model import LogisticRegression

    def fitted(files: NDArray[np.int64]) -> Linear:
        x = drawn_in(np.concatenate([tables[i][counted[i]] for i in files]))
        y = np.concatenate([right[i][counted[i]] for i in files])
        mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3)
        found = LogisticRegression(C=REGULARISED, max_iter=500).fit((x - mean) / spread, y)
        weight = (found.coef_[0] / spread).astype(np.float32)
        return Linear(float(found.intercept_[0]), mean.astype(np.float32), weight)

    every = np.arange(len(tables))
    odds: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(tables)
    for fold in np.unique(folds):
        linear = fitted(every[folds != fold])
        for i in every[folds == fold]:
            odds[i] = linear.log_odds(tables[i])
    return fitted(every), odds


def _forest(x: Table, y: NDArray[np.bool_], iterations: int, leaves: int, shift: float) -> Forest:
    """Boosted trees, taken out of scikit-learn; `shift` is added to the log odds."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    fitted = HistGradientBoostingClassifier(
        max_iter=iterations,
        max_leaf_nodes=leaves,
        learning_rate=0.07,
        min_samples_leaf=20,
        l2_regularization=5.0,
        max_features=0.5,
        early_stopping=False,
        random_state=1,
    ).fit(x, y)
    trees = [stage[0].nodes for stage in fitted._predictors]
    sizes = np.array([len(nodes) for nodes in trees])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    nodes = np.concatenate(trees)
    offset = np.repeat(roots, sizes)
    leaf = nodes["is_leaf"].astype(bool)
    return Forest(
        base=float(np.ravel(fitted._baseline_prediction)[0]) + shift,
        roots=roots.astype(np.int32),
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int32),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]).astype(np.float32),
        left=np.where(leaf, -1, nodes["left"] + offset).astype(np.int32),
        right=np.where(leaf, -1, nodes["right"] + offset).astype(np.int32),
        value=nodes["value"].astype(np.float32),
        depth=int(nodes["depth"].max()) + 1,
    )


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
