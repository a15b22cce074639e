"""The inputs of a few bytes of one row in NumPy: see fewbytes.py.

Axes: n new places, m n-grams or matches, w places of a window, s places kept, d width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte.fewlayers import Accept, Array, array, products
from codebyte.hashing import MIX, WORD_WINDOW, inverse_powers, powers
from codebyte.inputs import ByteInputs, History
from codebyte.patching import SPECIAL, word_characters

_NOTHING = np.zeros(1, np.int64)
_MIX = np.int64(MIX)


class FewInputs:
    """What `ByteInputs.step` gives, in NumPy, for bytes that may be taken back."""

    def __init__(self, inputs: ByteInputs) -> None:
        self._ngrams, self._keep, self._words = inputs.ngrams, inputs.keep, inputs.words
        self._buckets, self._none = inputs.buckets, inputs.vocab_size
        self._matches, self._depth = inputs.matches, inputs.depth
        self._powers = np.array(powers(inputs.reach + 1), np.int64)
        self._inverse = np.array(inverse_powers(inputs.reach + 2), np.int64)
        characters = word_characters().numpy()
        self._word = np.append(characters, characters[SPECIAL])  # BEFORE is at -1
        self._wanted = np.array([n - 1 for n in inputs.lengths], np.int64)
        self._back = np.arange(inputs.reach, -1, -1)  # from a place's first id to the newest first
        self._byte = array(inputs.byte.weight)
        if inputs.ngrams:
            self._table = array(inputs.table.weight)
            self._tables = np.arange(inputs.ngrams) * inputs.buckets
            self._from_table = array(inputs.from_table.weight)
        if inputs.matches:
            self._match = array(inputs.match.weight)

    def try_(
        self, new: Sequence[int], history: History, row: int, place: int
    ) -> tuple[Array, Accept]:
        """Embeds ids that follow the history of a row, which holds `place` ids -> (n, d)."""
        n = len(new)
        index = place - int(history.dropped[row])
        if index + n > history.ids.shape[1]:
            history.make_room(n, torch.tensor([row]), self._keep)
            index = place - int(history.dropped[row])
        length, recent = array(history.length), array(history.recent)[row]
        ids = array(history.ids)[row]
        fed = np.array(new, np.int64)
        ids[index : index + n] = fed
        joined = np.concatenate([recent, fed])
        x: Array = self._byte[fed]
        if self._ngrams + self._matches:
            hashes = self._hashes(joined, n)
            if self._ngrams:
                rows = hashes[:, : self._ngrams] % self._buckets + self._tables
                x = x + products(self._from_table, _sums(self._table[rows]))
            if self._matches:
                past = array(history.hashes)[row]
                past[:, index : index + n] = hashes[:, self._ngrams :].T
                low = 0 if self._keep is None else max(0, index - self._keep)
                rows = self._followed(past[:, low : index + n], ids[low : index + n], n)
                x = x + _sums(self._match[rows])

        def accept(count: int) -> None:
            length[row] = place + count
            recent[:] = joined[count : count + len(recent)]

        return x, accept

    def _hashes(self, joined: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Those of `context_hashes` at the new places, (n, m)."""
        newest_first = joined[self._back + np.arange(n)[:, None]]
        sums = ((newest_first + 1) * self._powers).cumsum(axis=1)
        totals = sums[:, self._wanted]
        if self._words:
            totals = np.concatenate([totals, self._word_sums(newest_first, sums)], axis=1)
        mixed = (totals ^ (totals >> 29)) * _MIX
        return mixed ^ (mixed >> 32)

    def _word_sums(
        self, newest_first: NDArray[np.int64], sums: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(n, w) ids, (n, w) sums of the first of them -> (n, number of words)."""
        out = np.empty((len(sums), len(self._words)), np.int64)
        word = self._word[np.minimum(newest_first[:, :WORD_WINDOW], SPECIAL)].tolist()
        with np.errstate(over="ignore"):
            for i, row in enumerate(word):
                before = np.concatenate([_NOTHING, sums[i]])
                begin, key = 0, np.int64(0)
                for k in range(max(self._words) + 1):
                    end = _first(row, False, begin)
                    key = key * _MIX + (before[end] - before[begin]) * self._inverse[begin]
                    if k in self._words:
                        at = self._words.index(k)
                        out[i, at] = key if k else before[min(end + 1, WORD_WINDOW)]
                    begin = _first(row, True, end)
        return out

    def _followed(
        self, past: NDArray[np.int64], ids: NDArray[np.int64], n: int
    ) -> NDArray[np.int64]:
        """Rows of the match table for the last n places of (m, s) hashes, (n, depth * m)."""
        s = past.shape[1]
        rows = np.full((n, self._depth, len(past)), self._none)
        for j in range(n):
            place = s - n + j
            low = 0 if self._keep is None else max(0, place - self._keep)
            same = past[:, low:place] == past[:, place, None]
            for i, where in enumerate(same):
                found = where.nonzero()[0][: -self._depth - 1 : -1]  # the last first
                rows[j, : len(found), i] = ids[found + (low + 1)]
        flat = rows.reshape(n, -1)
        return flat + np.arange(flat.shape[1]) * (self._none + 1)


def _first(row: list[bool], wanted: bool, start: int) -> int:
    """The first place from `start` on that is as wanted; the end if there is none."""
    try:
        return row.index(wanted, start)
    except ValueError:
        return len(row)


def _sums(x: Array) -> Array:
    """Sums over the middle axis, one after the other, (n, m, d) -> (n, d)."""
    total: Array = np.add.reduce(x, axis=1)  # the last axis is the contiguous one: no pairing
    return total
