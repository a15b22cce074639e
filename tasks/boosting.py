"""Fits forests (with scikit-learn) and sums, and what they would say of files they did not see."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from codebyte.tasks.trees import Forest, Linear, drawn_in

REGULARISED = 3e-4  # strength that weights of the straight sum are allowed
SMALL_WEIGHTS = 0.1  # nats of a file's mean that a weight of 1 costs in a sum that ranks

NEVER = -12.0  # log odds where nothing was to be found

Table = NDArray[np.float32]
F = TypeVar("F", Forest, Linear)


def boosted(
    tables: Sequence[Table],
    right: Sequence[NDArray[np.bool_]],
    folds: NDArray[np.int64],
    *,
    iterations: int,
    leaves: int,
    negatives: int | None = None,
    counted: Sequence[NDArray[np.bool_]] | None = None,
    without: Sequence[int] = (),
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
        without: columns that nothing is learned from.
    """

    def fitted(files: NDArray[np.int64]) -> Forest:
        kept = [np.ones(len(right[i]), bool) if counted is None else counted[i] for i in files]
        x = _blanked([tables[i][k] for i, k in zip(files, kept, strict=True)], without)
        y = np.concatenate([right[i][k] for i, k in zip(files, kept, strict=True)])
        shift = 0.0
        plain = np.flatnonzero(~y)
        if negatives is not None and len(plain) > negatives:
            drawn = np.random.default_rng(1).choice(plain, negatives, replace=False)
            rows = np.sort(np.concatenate([np.flatnonzero(y), drawn]))
            x, y, shift = x[rows], y[rows], float(np.log(negatives / len(plain)))
        return _forest(x, y, iterations, leaves, shift)

    return _crossed(fitted, tables, folds)


def straight(
    tables: Sequence[Table],
    right: Sequence[NDArray[np.bool_]],
    folds: NDArray[np.int64],
    counted: Sequence[NDArray[np.bool_]],
    without: Sequence[int] = (),
) -> tuple[Linear, list[NDArray[np.float32]]]:
    """As `boosted`, for logistic regression."""
    from sklearn.linear_model import LogisticRegression

    def fitted(files: NDArray[np.int64]) -> Linear:
        x = drawn_in(_blanked([tables[i][counted[i]] for i in files], without))
        y = np.concatenate([right[i][counted[i]] for i in files])
        mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3)
        if not y.any():
            return Linear(NEVER, mean.astype(np.float32), np.zeros(x.shape[1], np.float32))
        found = LogisticRegression(C=REGULARISED, max_iter=500).fit((x - mean) / spread, y)
        weight = (found.coef_[0] / spread).astype(np.float32)
        return Linear(float(found.intercept_[0]), mean.astype(np.float32), weight)

    return _crossed(fitted, tables, folds)


def ranked(
    tables: Sequence[NDArray[np.float16]],
    right: Sequence[NDArray[np.bool_]],
    folds: NDArray[np.int64],
    counted: Sequence[NDArray[np.bool_]],
) -> tuple[Linear, list[NDArray[np.float32]]]:
    """As `straight`, for a sum that is to be highest where the right row of a file is.

    What is the same in all of a file tells nothing then, however unlike other files it is. Files
    without a right row teach nothing; constants of the odds mean nothing.
    """
    import torch

    width = tables[0].shape[1]

    def fitted(files: NDArray[np.int64]) -> Linear:
        taught = [i for i in files if (right[i] & counted[i]).any()]
        if not taught:
            return Linear(0.0, np.zeros(width, np.float32), np.zeros(width, np.float32))
        rows = [drawn_in(tables[i][counted[i]].astype(np.float32)) for i in taught]
        x = np.concatenate(rows)
        mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3)
        standard = torch.from_numpy((x - mean) / spread)
        wanted = [right[i][counted[i]] for i in taught]
        shares = torch.from_numpy(np.concatenate([w / w.sum() for w in wanted]))
        sizes = [len(row) for row in rows]
        weight = torch.zeros(width, requires_grad=True)
        search = torch.optim.LBFGS([weight], max_iter=80, line_search_fn="strong_wolfe")

        def loss() -> float:
            search.zero_grad()
            odds = standard @ weight
            totals = torch.stack([part.logsumexp(0) for part in odds.split(sizes)])
            missed = totals.mean() - (odds * shares).sum() / len(taught)
            cost: torch.Tensor = missed + SMALL_WEIGHTS * weight.square().sum()
            cost.backward()
            return float(cost.detach())

        search.step(loss)
        return Linear(0.0, mean, weight.detach().numpy() / spread)

    return _crossed(fitted, tables, folds)


def _crossed(
    fitted: Callable[[NDArray[np.int64]], F], tables: Sequence[Any], folds: NDArray[np.int64]
) -> tuple[F, list[NDArray[np.float32]]]:
    """What is fitted to all files, and what those fitted without each fold say of its files."""
    every = np.arange(len(tables))
    odds: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(tables)
    for fold in np.unique(folds) if np.ptp(folds) else ():
        without = fitted(every[folds != fold])
        for i in every[folds == fold]:
            odds[i] = without.log_odds(tables[i])
    return fitted(every), odds


def _blanked(tables: Sequence[Table], columns: Sequence[int]) -> Table:
    """All rows, with some columns the same everywhere: nothing can be told by them."""
    joined = np.concatenate(tables)
    joined[:, list(columns)] = 0.0
    return joined


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
    )
