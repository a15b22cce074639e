"""The inputs of a few bytes of one row in NumPy: see fewbytes.py.

Axes: n new places, m n-grams or matches, d width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte.fewhashes import FewHashes
from codebyte.fewlayers import Accept, Array, array, products
from codebyte.followed import Followed
from codebyte.inputs import ByteInputs, History


class FewInputs:
    """What `ByteInputs.step` gives, in NumPy, for bytes that may be taken back.

    Args:
        inputs: whose weights these are views of.
        most: bytes.
    """

    def __init__(self, inputs: ByteInputs, most: int) -> None:
        self._ngrams, self._matches = inputs.ngrams, inputs.matches
        self._depth, self._none = inputs.depth, inputs.vocab_size
        self._buckets, self._keep = inputs.buckets, inputs.keep
        self._hashes = FewHashes(inputs.lengths, inputs.words, most)
        self._byte = array(inputs.byte.weight)
        if inputs.ngrams:
            self._ngram_rows = _Rows(inputs.table.weight, inputs.ngrams)
            self._from_table = array(inputs.from_table.weight)
        if inputs.matches:
            self._match_rows = _Rows(inputs.match.weight, inputs.matches * inputs.depth)

    def try_(
        self, new: Sequence[int], history: History, row: int, place: int
    ) -> tuple[Array, Accept]:
        """Embeds ids that follow the history of a row, which holds `place` ids -> (n, d)."""
        n = len(new)
        index = place - int(history.view("dropped")[row])
        if index + n > history.ids.shape[1]:
            history.make_room(n, torch.tensor([row]), self._keep)
            index = place - int(history.view("dropped")[row])
        length, recent = history.view("length"), history.view("recent")[row]
        ids = history.view("ids")[row]
        fed = np.array(new, np.int64)
        joined = np.concatenate([recent, fed])
        x: Array = self._byte.take(fed, axis=0)
        if self._ngrams + self._matches:
            hashes = self._hashes(joined, n)
            if self._ngrams:
                sums = self._ngram_rows.sums(hashes[:, : self._ngrams] % self._buckets)
                x = x + products(self._from_table, sums)
            if self._matches:
                own = hashes[:, self._ngrams :]
                x = x + self._match_rows.sums(self._followed(new, own, history, row, index))
        ids[index : index + n] = fed

        def accept(count: int) -> None:
            length[row] = place + count
            recent[:] = joined[count : count + len(recent)]

        return x, accept

    def _followed(
        self, new: Sequence[int], hashes: NDArray[np.int64], history: History, row: int, index: int
    ) -> NDArray[np.int64]:
        """What followed the contexts of new ids before, (n, m) -> (n, depth * m)."""
        known = history.followed.get(row)
        if known is None:
            known = history.followed[row] = Followed(self._matches, self._depth, self._none)
        past = history.view("hashes")[row]
        known.forget(index, past)
        if len(known) < index:
            told = slice(len(known), index)
            known.add(history.view("ids")[row, told], past[:, told])
        past[:, index : index + len(new)] = hashes.T
        found = []
        for here, (one, own) in enumerate(zip(new, hashes.tolist(), strict=True), index):
            found.append(known.look_up(one, own, max(0, here - (self._keep or here))))
        return np.array(found)


class _Rows:
    """Tables of the same size, one below the other, of each of which a row is wanted."""

    def __init__(self, weight: torch.Tensor, count: int) -> None:
        self._weight = array(weight)
        self._starts = np.arange(count) * (len(weight) // count)
        self._ones = np.ones(count, np.float32)

    def sums(self, rows: NDArray[np.int64]) -> Array:
        """The sums of the rows named, each place by itself: (n, m) -> (n, d)."""
        return self._ones @ self._weight.take(rows + self._starts, axis=0)
