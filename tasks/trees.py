"""Gradient-boosted trees and monotone tables as plain numbers: fitted elsewhere, applied here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 1024  # judged at once, so that their masks stay in the processor's cache

Values = NDArray[np.float32]
Masks = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees whose leaves add up to log odds; a place without children (-1) is a leaf."""

    base: float
    roots: NDArray[np.int32]  # (trees,)
    feature: NDArray[np.int32]  # (nodes,)
    threshold: Values  # (nodes,), at most: to the left
    left: NDArray[np.int32]  # (nodes,), -1 at a leaf
    right: NDArray[np.int32]
    value: Values  # (nodes,)
    _tests: "_Tests" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tests", _Tests(self))

    def log_odds(self, table: Values) -> Values:
        """(rows, features) -> (rows,)."""
        out = np.empty(len(table), np.float32)
        for i in range(0, len(table), ROWS):
            out[i : i + ROWS] = self.base + self._tests.values(table[i : i + ROWS]).sum(axis=1)
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Forest":
        """From what `as_dict` gave."""
        return cls(
            base=float(data["base"]),
            roots=np.array(data["roots"], np.int32),
            feature=np.array(data["feature"], np.int32),
            threshold=np.array(data["threshold"], np.float32),
            left=np.array(data["left"], np.int32),
            right=np.array(data["right"], np.int32),
            value=np.array(data["value"], np.float32),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "base": self.base,
            "roots": self.roots.tolist(),
            "feature": self.feature.tolist(),
            "threshold": [float(f"{t:.9g}") for t in self.threshold],
            "left": self.left.tolist(),
            "right": self.right.tolist(),
            "value": [float(f"{v:.4g}") for v in self.value],
        }


class _Tests:
    """All tests of all trees at once (QuickScorer, Lucchese et al. 2015).

    A tree's leaves are bits, the first the leftmost. A test that fails rules out the leaves to its
    left; the first leaf that no test rules out is the one that a walk from the root ends at. Which
    are ruled out by the tests of one feature depends only on how many of their thresholds the value
    is above: a table, from which a row takes one line for each feature.
    """

    def __init__(self, forest: Forest) -> None:
        leaves, tests = [], []
        for tree, root in enumerate(forest.roots.tolist()):
            own: list[int] = []
            tests += _ruled_out(forest, root, tree, own)
            leaves.append(own)
        most = max(map(len, leaves), default=1)
        self._dtype = np.dtype(f"u{next(size for size in (1, 2, 4, 8) if 8 * size >= most)}")
        self._values = np.zeros((len(leaves), most), np.float32)
        for tree, own in enumerate(leaves):
            self._values[tree, : len(own)] = forest.value[own]
        self._all = np.array([(1 << len(own)) - 1 for own in leaves], self._dtype)
        self._by_feature: list[tuple[int, Values, Masks]] = []
        for feature in sorted({feature for feature, *_ in tests}):
            some = sorted(test[1:] for test in tests if test[0] == feature)
            masks = np.tile(self._all, (len(some) + 1, 1))
            for i, (_, tree, out) in enumerate(some, 1):
                masks[i] = masks[i - 1]
                masks[i, tree] &= ~self._dtype.type(out)
            thresholds = np.array([threshold for threshold, *_ in some], np.float32)
            self._by_feature.append((feature, thresholds, masks))

    def values(self, table: Values) -> Values:
        """The value of each row's leaf in each tree, (rows, features) -> (rows, trees)."""
        left: Masks = np.tile(self._all, (len(table), 1))
        for feature, thresholds, masks in self._by_feature:
            above = np.searchsorted(thresholds, table[:, feature], side="left")
            left &= masks.take(above, axis=0)
        first = np.bitwise_count((left & (~left + self._dtype.type(1))) - self._dtype.type(1))
        return self._values[np.arange(len(self._values)), first]


def _ruled_out(
    forest: Forest, node: int, tree: int, leaves: list[int]
) -> list[tuple[int, float, int, int]]:
    """The tests of a tree below a node: feature, threshold, tree, and the leaves to its left.

    Args:
        forest: which.
        node: where to begin.
        tree: its number.
        leaves: of the tree, from the left, those that were met.
    """
    left, right = int(forest.left[node]), int(forest.right[node])
    if left < 0:
        leaves.append(node)
        return []
    before = len(leaves)
    found = _ruled_out(forest, left, tree, leaves)
    out = (1 << len(leaves)) - (1 << before)
    test = (int(forest.feature[node]), float(forest.threshold[node]), tree, out)
    return [test, *found, *_ruled_out(forest, right, tree, leaves)]


@dataclass(frozen=True, slots=True)
class Steps:
    """A rising function given by points, straight between them: log odds to probability."""

    x: Values
    y: Values

    def __call__(self, values: Values) -> Values:
        """Probabilities, of the same shape."""
        return np.interp(values, self.x, self.y).astype(np.float32)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Steps":
        """From what `as_dict` gave."""
        return cls(np.array(data["x"], np.float32), np.array(data["y"], np.float32))

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {
            "x": [float(f"{v:.6g}") for v in self.x],
            "y": [float(f"{v:.6g}") for v in self.y],
        }


@dataclass(frozen=True, slots=True)
class Linear:
    """Logistic regression on features whose large values are drawn in: sign(x) log(1 + |x|)."""

    base: float
    mean: Values  # (features,), of the drawn-in features
    weight: Values  # (features,), already over their deviations

    def log_odds(self, table: NDArray[np.floating[Any]]) -> Values:
        """(rows, features) -> (rows,)."""
        drawn = drawn_in(table.astype(np.float32, copy=False))
        odds: Values = ((drawn - self.mean) @ self.weight).astype(np.float32)
        return odds + np.float32(self.base)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Linear":
        """From what `as_dict` gave."""
        mean, weight = np.array(data["mean"], np.float32), np.array(data["weight"], np.float32)
        return cls(float(data["base"]), mean, weight)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "base": self.base,
            "mean": [float(f"{v:.5g}") for v in self.mean],
            "weight": [float(f"{v:.5g}") for v in self.weight],
        }


def drawn_in(table: Values) -> Values:
    """sign(x) log(1 + |x|)."""
    return np.sign(table) * np.log1p(np.abs(table))
