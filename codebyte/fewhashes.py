"""Hashes of the contexts of a few places in NumPy: what hashing.py gives; see fewbytes.py.

Axes: n new places, m hashes, w places of a window, the newest first.
"""

import numpy as np
from numpy.typing import NDArray

from codebyte.hashing import MIX, WORD_WINDOW, inverse_powers, powers, reach_of, signed
from codebyte.patching import SPECIAL, word_characters

_MIX = np.int64(MIX)


class FewHashes:
    """As `hashing.context_hashes`, for the last few places of one row.

    Args:
        lengths: as there.
        words: as there.
        most: places.
    """

    def __init__(self, lengths: tuple[int, ...], words: tuple[int, ...], most: int) -> None:
        window = reach_of(lengths, words) + 1
        self._lengths, self._words = len(lengths), words
        self._powers = np.array(powers(window), np.int64)
        self._inverse = inverse_powers(window + 1)
        self._wanted = np.array([n - 1 for n in lengths], np.int64)
        self._windows = np.arange(window)[::-1] + np.arange(most)[:, None]
        characters = word_characters().numpy()
        self._is_word = np.append(characters, characters[SPECIAL])  # BEFORE is at -1

    def __call__(self, ids: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """(w - 1 + n) ids, the oldest first -> (n, m)."""
        digits = (ids + 1).take(self._windows[:n])
        sums = np.add.accumulate(digits * self._powers, axis=1)  # wraps
        totals = np.empty((n, self._lengths + len(self._words)), np.int64)
        totals[:, : self._lengths] = sums.take(self._wanted, axis=1)
        if self._words:
            flags = self._is_word.take(np.minimum(ids, SPECIAL))[::-1].tobytes()
            for i in range(n):
                own = flags[n - 1 - i :]
                totals[i, self._lengths :] = self._of_words([0, *sums[i].tolist()], own)
        mixed = (totals ^ (totals >> 29)) * _MIX
        return mixed ^ (mixed >> 32)

    def _of_words(self, sums: list[int], flags: bytes) -> list[int]:
        """Totals of the words that a window ends with, in integers that do not wrap.

        Args:
            sums: (1 + w), of no id, of the first, and so on.
            flags: (w or more), whether an id is part of a word.
        """
        begin, key, found = 0, 0, []
        for k in range(max(self._words) + 1):
            end = _first(flags, b"\0", begin)
            key = key * MIX + (sums[end] - sums[begin]) * self._inverse[begin]
            found.append(signed(key) if k else sums[min(end + 1, WORD_WINDOW)])
            begin = _first(flags, b"\1", end)
        return [found[k] for k in self._words]


def _first(flags: bytes, wanted: bytes, start: int) -> int:
    """The first place of a window from `start` on that is as wanted; its end if there is none."""
    found = flags.find(wanted, start, WORD_WINDOW)
    return found if found >= 0 else WORD_WINDOW
