"""Ragged: lists of numbers of words, one after the other in one array."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]

SHIFT = 32  # a key is the number of a list, shifted, and that of a word
WORD = (1 << SHIFT) - 1


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of numbers of words, one after the other."""

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]  # one more than there are lists

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How long each list is."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> "Ragged":
        """Some of the lists, in the order asked for."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ragged(self.values[places], offsets)

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "Ragged":
        """From lists."""
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        values = np.fromiter(chain.from_iterable(lists), np.int32, lengths.sum())
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]))

    @classmethod
    def joined(cls, some: Sequence["Ragged"]) -> "Ragged":
        """The lists of several, one after the other."""
        lengths = np.concatenate([one.lengths for one in some])
        values = np.concatenate([one.values for one in some])
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]))

    def counted(self) -> tuple[Whole, Whole]:
        """Keys of the words of each list, rising, and how often each stands there."""
        lists = np.repeat(np.arange(len(self)), self.lengths)
        return np.unique(lists << SHIFT | self.values, return_counts=True)
