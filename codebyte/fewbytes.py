"""A few bytes of one row in NumPy: what `ContextWiring.step` gives, several times as fast.

For so few bytes the arithmetic is little and the calls are many, and a call of NumPy costs a third
of one of torch. Weights and state are read and written through views of the model's own tensors, so
a row may be fed by either, in turns. Tests hold the two to the same values.

What is fed is only tried at first: `Tried` holds the logits after each byte, and `accept` says how
many of the bytes stay. A byte's logits are the same to the last bit however many are tried with it,
since every product and every sum goes over one place alone. So a draft can be read in one go, and
what is wrong in it be forgotten, and nobody can tell.

Axes: n new places, m n-grams or matches, h heads, s places in a cache, c width of a head, d width,
v vocabulary, k patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from codebyte.fewinputs import FewInputs
from codebyte.fewlayers import Accept, Array, array, few_blocks, normed, products
from codebyte.patching import line_or_special_ends, word_characters
from codebyte.vocab import EOT

if TYPE_CHECKING:
    from codebyte.hierarchy import ContextState, ContextWiring
    from codebyte.levels import Level, LevelState

MOST = 32  # bytes, above which torch is quicker


@dataclass(frozen=True, slots=True)
class Tried:
    """Bytes that were fed but may still be taken back; none of them is part of the state yet."""

    logits: Array  # (n, v), after each
    accept: Accept  # may be called again with a larger number


class FewBytes:
    """The weights of a wiring as NumPy arrays, and the steps over them.

    Limits NumPy's OpenBLAS, in the whole process, to one thread: for a product this small, waking a
    second one costs more than the product (measured on 2 cores: 740 bytes/s with two, 1,150 with
    one).
    """

    def __init__(self, wiring: "ContextWiring") -> None:
        ThreadpoolController().select(internal_api="openblas").limit(limits=1)
        self._wiring = wiring
        self._seen = wiring.head.weight.data_ptr()
        self._inputs = FewInputs(wiring.inputs, MOST)
        self._levels = _Level(wiring.levels)
        self._head = array(wiring.head.weight)
        self._softcap = wiring.config.softcap
        self._by_word = wiring.config.patching == "word"
        self._word = word_characters().tolist()
        self._end = line_or_special_ends().tolist()

    def up_to_date(self) -> bool:
        """Whether the wiring still has the weights that these are views of."""
        return self._wiring.head.weight.data_ptr() == self._seen

    def step(self, ids: Sequence[int], state: "ContextState", row: int) -> Tensor:
        """Feeds ids to one row; gives the logits after each, (1, n, v)."""
        tried = self.try_(ids, state, row)
        tried.accept(len(ids))
        return torch.from_numpy(tried.logits)[None]

    def try_(self, ids: Sequence[int], state: "ContextState", row: int) -> Tried:
        """Feeds ids to one row for now; the next use of the state needs `accept` before it."""
        history = state.history
        place = int(history.view("length")[row])
        last = place - 1 - int(history.view("dropped")[row])
        before = int(history.view("ids")[row, last]) if place else EOT
        natural = self._borders(before, ids) if self._by_word else [False] * len(ids)
        x, read = self._inputs.try_(ids, history, row, place)
        x, moved = self._levels.try_(x, state.level, row, natural)
        logits = products(self._head, normed(x))
        if self._softcap:
            logits = self._softcap * np.tanh(logits / self._softcap)
        latest = state.view("logits")[row]

        def accept(count: int) -> None:
            read(count)
            moved(count)
            latest[:] = logits[count - 1]

        return Tried(logits, accept)

    def _borders(self, before: int, ids: Sequence[int]) -> list[bool]:
        """As `patching.word_ends`."""
        kinds = [min(new, 256) for new in (before, *ids)]
        word, end = self._word, self._end
        return [(word[one] and not word[new]) or end[new] for one, new in pairwise(kinds)]


class _Level:
    def __init__(self, level: "Level") -> None:
        self._encoder, self._decoder = few_blocks(level.encoder), few_blocks(level.decoder)
        self._above = _Level(level.above) if level.above is not None else None
        if level.above is not None:
            self._size = level.patch_size
            self._to_patch = array(level.to_patch.weight)
            self._from_patch = array(level.from_patch.weight)
            self._place = array(level.place.weight)

    def try_(
        self, x: Array, state: "LevelState", row: int, natural: Sequence[bool]
    ) -> tuple[Array, Accept]:
        accepts: list[Accept] = []
        for block, cache in zip(self._encoder, state.encoder, strict=True):
            x, accept = block.try_(x, cache, row)
            accepts.append(accept)
        if self._above is not None:
            x, accept = self._given(x, state, row, natural)
            accepts.append(accept)
        for block, cache in zip(self._decoder, state.decoder, strict=True):
            x, accept = block.try_(x, cache, row)
            accepts.append(accept)

        def accept_all(count: int) -> None:
            for accept in accepts:
                accept(count)

        return x, accept_all

    def _given(
        self, x: Array, state: "LevelState", row: int, natural: Sequence[bool]
    ) -> tuple[Array, Accept]:
        """The places with what the level above gives them."""
        assert self._above is not None and state.above is not None
        since, pooled, given = state.view("since"), state.view("pooled"), state.view("given")
        distances, ended, counts, sums = [], [], [], []
        distance, total = int(since[row]), pooled[row]
        patches = []  # the sums of the patches that end
        for i, border in enumerate(natural):
            distance = 0 if border else distance + 1
            total = total + x[i]
            if distance % self._size == 0:
                ended.append(i)
                patches.append(total)
                total = np.zeros_like(total)
            distances.append(distance)
            counts.append(len(ended))
            sums.append(total)
        states = given[row : row + 1]
        above: Accept | None = None
        if ended:
            parts = [normed(x[ended]), normed(np.stack(patches))]
            patch = products(self._to_patch, np.concatenate(parts, axis=1))
            told, above = self._above.try_(patch, state.above, row, [False] * len(ended))
            states = np.concatenate([states, products(self._from_patch, normed(told))])
        places = [distance % self._size for distance in distances]
        out = x + states.take(counts, axis=0) + self._place.take(places, axis=0)

        def accept(count: int) -> None:
            since[row], pooled[row] = distances[count - 1], sums[count - 1]
            if above is not None and counts[count - 1]:
                above(counts[count - 1])
                given[row] = states[counts[count - 1]]

        return out, accept
