"""Gradient-boosted trees and monotone tables as plain numbers: fitted elsewhere, applied here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 4096  # judged at once

Values = NDArray[np.float32]


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
    depth: int

    def log_odds(self, table: Values) -> Values:
        """(rows, features) -> (rows,)."""
        out = np.empty(len(table), np.float32)
        for i in range(0, len(table), ROWS):
            out[i : i + ROWS] = self._log_odds(table[i : i + ROWS])
        return out

    def _log_odds(self, table: Values) -> Values:
        row = np.arange(len(table))[:, None]
        node = np.broadcast_to(self.roots, (len(table), len(self.roots)))
        for _ in range(self.depth):
            goes_left = table[row, self.feature[node]] <= self.threshold[node]
            below = np.where(goes_left, self.left[node], self.right[node])
            node = np.where(below < 0, node, below)
        return self.base + self.value[node].sum(axis=1)

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
            depth=int(data["depth"]),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "base": self.base,
            "depth": self.depth,
            "roots": self.roots.tolist(),
            "feature": self.feature.tolist(),
            "threshold": [float(f"{t:.9g}") for t in self.threshold],
            "left": self.left.tolist(),
            "right": self.right.tolist(),
            "value": [float(f"{v:.4g}") for v in self.value],
        }


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

    def log_odds(self, table: Values) -> Values:
        """(rows, features) -> (rows,)."""
        odds: Values = ((drawn_in(table) - self.mean) @ self.weight).astype(np.float32)
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
