"""What is usual in good code: signals of lines by kind and length, gains of edits by kind.

Tables are fitted on repositories of the training kind and shipped; a value is judged by how many
deviations it is above the mean of its like, and by where it stands in its own file.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

SHRUNK = 50.0  # observations that the mean of all counts for in a group
LENGTHS = (12, 24, 36, 48, 64, 80)  # bytes, where groups of lines by length end

Usual = dict[str, tuple[float, float]]  # group -> mean and deviation; "" for all


def group_of(kind: str, length: int) -> str:
    """The group of a line by its statement and its length without indent."""
    return f"{kind} {sum(length > end for end in LENGTHS)}"


def usual(pairs: Iterable[tuple[str, float]]) -> Usual:
    """Mean and deviation by group, drawn towards those of all where observations are few."""
    groups: dict[str, list[float]] = defaultdict(list)
    for group, value in pairs:
        groups[group].append(value)
    every = np.array([value for values in groups.values() for value in values] or [0.0])
    mean, variance = float(every.mean()), float(every.var())
    table = {"": (mean, max(math.sqrt(variance), 1e-3))}
    for group, listed in sorted(groups.items()):
        values, count = np.array(listed), len(listed)
        share = count / (count + SHRUNK)
        own = share * float(values.mean()) + (1 - share) * mean
        spread = share * float(values.var()) + (1 - share) * variance
        table[group] = (own, max(math.sqrt(spread), 1e-3))
    return table


def deviations(
    table: Mapping[str, tuple[float, float]], groups: Sequence[str], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How many deviations each value is above the mean of its group, (n,)."""
    known = [table.get(group, table.get("", (0.0, 1.0))) for group in groups]
    means = np.array(known, np.float32).reshape(-1, 2)
    return (values - means[:, 0]) / means[:, 1]


def within(values: NDArray[np.float32], counted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Where each value stands in its own file: over the median, by the median deviation.

    Args:
        values: (n, signals).
        counted: (n,), the lines that medians are of.
    """
    if not counted.any():
        return np.zeros_like(values)
    middle = np.median(values[counted], axis=0)
    spread = np.median(np.abs(values[counted] - middle), axis=0)
    return ((values - middle) / np.maximum(spread, 1e-2)).clip(-20, 20).astype(np.float32)
