"""One byte of one row in NumPy: what `ContextWiring.step` gives, several times as fast.

For a single byte the arithmetic is little and the calls are many, and a call of NumPy costs a third
of one of torch. Weights and state are read and written through views of the model's own tensors, so
a row may be fed by either, in turns. Tests hold the two to the same values.

Axes: m n-grams or matches, h heads, s places in a cache, c width of a head, d width.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor

from codebyte.inputs import FACTOR, MIX, ByteInputs, History
from codebyte.layers import TABLE, Attention, Block, KVCache, Stack, Tail, exact_turns, turns
from codebyte.patching import line_or_special_ends, word_characters
from codebyte.vocab import EOT

if TYPE_CHECKING:
    from codebyte.hierarchy import ContextState, ContextWiring, Level, LevelState

Array = NDArray[np.float32]
_MASK = (1 << 64) - 1


class OneByte:
    """The weights of a wiring as NumPy arrays, and the steps over them.

    Limits NumPy's OpenBLAS, in the whole process, to one thread: for a product this small, waking a
    second one costs more than the product (measured on 2 cores: 740 bytes/s with two, 1,150 with
    one).
    """

    def __init__(self, wiring: "ContextWiring") -> None:
        ThreadpoolController().select(internal_api="openblas").limit(limits=1)
        self._wiring = wiring
        self._seen = wiring.head.weight.data_ptr()
        self._inputs = _Inputs(wiring.inputs)
        self._levels = _Level(wiring.levels)
        self._head = _array(wiring.head.weight)
        self._word = word_characters().tolist()
        self._end = line_or_special_ends().tolist()

    def up_to_date(self) -> bool:
        """Whether the wiring still has the weights that these are views of."""
        return self._wiring.head.weight.data_ptr() == self._seen

    def step(self, new: int, state: "ContextState", row: int) -> Tensor:
        """Feeds one id to one row; gives the logits of the next, (1, 1, v)."""
        config, history = self._wiring.config, state.history
        place = int(history.length[row])
        last = place - 1 - int(history.dropped[row])
        before = min(int(history.ids[row, last]), 256) if place else EOT
        kind = min(new, 256)
        ended = (self._word[before] and not self._word[kind]) or self._end[kind]
        x = self._inputs.step(new, history, row, place)
        x = self._levels.step(x, state.level, row, config.patching == "word" and ended)
        logits = self._head @ _normed(x)
        if config.softcap:
            logits = config.softcap * np.tanh(logits / config.softcap)
        _array(state.logits)[row] = logits
        return torch.from_numpy(logits)[None, None]


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().numpy()


def _normed(x: Array) -> Array:
    return x * (len(x) ** 0.5 / max(math.sqrt(x.dot(x)), 1e-6))


class _Inputs:
    def __init__(self, inputs: ByteInputs) -> None:
        self._lengths, self._ngrams, self._keep = inputs.lengths, inputs.ngrams, inputs.keep
        self._buckets, self._none = inputs.buckets, inputs.vocab_size
        self._powers = [FACTOR**i & _MASK for i in range(inputs.reach + 1)]
        self._byte = _array(inputs.byte.weight)
        if inputs.ngrams:
            self._table = _array(inputs.table.weight)
            self._from_table = _array(inputs.from_table.weight)
        if inputs.matches:
            self._match = _array(inputs.match.weight)

    def step(self, new: int, history: History, row: int, place: int) -> Array:
        index = place - int(history.dropped[row])
        if index >= history.ids.shape[1]:
            history.make_room(1, torch.tensor([row]), self._keep)
            index = place - int(history.dropped[row])
        ids = _array(history.ids)[row]
        ids[index] = new
        history.length[row] = place + 1
        x: Array = self._byte[new]
        if not self._lengths:
            return x
        hashes = self._hashes(_array(history.recent)[row], new)
        if self._ngrams:
            found = hashes[: self._ngrams]
            rows = [value % self._buckets + i * self._buckets for i, value in enumerate(found)]
            x = x + self._from_table @ self._table[rows].sum(axis=0)
        if len(hashes) > self._ngrams:
            past = _array(history.hashes)[row]
            low = 0 if self._keep is None else max(0, index - self._keep)
            rows = []
            for i, value in enumerate(hashes[self._ngrams :]):
                followed = self._followed(past[i, low:], value, ids[low:], index - low)
                rows.append(followed + i * (self._none + 1))
            x = x + self._match[rows].sum(axis=0)
        return x

    def _hashes(self, recent: NDArray[np.int64], new: int) -> list[int]:
        """The hashes of `ngram_hashes` at the new id, which joins the recent ones."""
        total, totals = 0, []
        for power, past in zip(self._powers, [new, *recent.tolist()[::-1]], strict=True):
            total += (past + 1) * power
            totals.append(total)
        if len(recent):
            recent[:-1] = recent[1:]
            recent[-1] = new
        hashes = []
        for n in self._lengths:
            value = _signed(totals[n - 1])
            value = _signed((value ^ (value >> 29)) * MIX)
            hashes.append(value ^ (value >> 32))
        return hashes

    def _followed(
        self, past: NDArray[np.int64], value: int, ids: NDArray[np.int64], place: int
    ) -> int:
        """The id after the last place with this hash; keeps the hash for later."""
        past[place] = value
        same = past[:place] == value
        back = int(same[::-1].argmax()) if place else 0
        if place and same[place - 1 - back]:
            return int(ids[place - back])
        return self._none


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


class _Level:
    def __init__(self, level: "Level") -> None:
        self._encoder, self._decoder = _blocks(level.encoder), _blocks(level.decoder)
        self._above = _Level(level.above) if level.above is not None else None
        if level.above is not None:
            self._size = level.patch_size
            self._to_patch = _array(level.to_patch.weight)
            self._from_patch = _array(level.from_patch.weight)
            self._place = _array(level.place.weight)

    def step(self, x: Array, state: "LevelState", row: int, natural: bool) -> Array:
        for block, cache in zip(self._encoder, state.encoder, strict=True):
            x = block.step(x, cache, row)
        if self._above is not None:
            assert state.above is not None
            since = _array(state.since)
            distance = 0 if natural else int(since[row]) + 1
            since[row] = distance
            pooled, given = _array(state.pooled)[row], _array(state.given)[row]
            pooled += x
            if distance % self._size == 0:
                patch = self._to_patch @ np.concatenate([_normed(x), _normed(pooled)])
                above = self._above.step(patch, state.above, row, False)
                given[:] = self._from_patch @ _normed(above)
                pooled[:] = 0.0
            x = x + given + self._place[distance % self._size]
        for block, cache in zip(self._decoder, state.decoder, strict=True):
            x = block.step(x, cache, row)
        return x


def _blocks(stack: Stack) -> "list[_Block]":
    return [_Block(block) for block in stack.blocks if isinstance(block, Block)]


class _Block:
    def __init__(self, block: Block) -> None:
        mix = block.mix
        self._mix = _Attention(mix) if isinstance(mix, Attention) else _Conv(mix)
        self._up = _array(block.feed_forward.up.weight)
        self._down = _array(block.feed_forward.down.weight)

    def step(self, x: Array, cache: KVCache | Tail, row: int) -> Array:
        x = x + self._mix.step(_normed(x), cache, row)
        hidden = np.maximum(self._up @ _normed(x), 0.0)
        return x + self._down @ (hidden * hidden)


class _Conv:
    def __init__(self, conv: Any) -> None:
        self._taps = _array(conv.weight)[::-1]
        self._dilation, self._reach = conv.dilation, conv.reach

    def step(self, x: Array, cache: Any, row: int) -> Array:
        last = _array(cache.last)[row]
        out = (last[:: self._dilation] * self._taps[:-1]).sum(axis=0) + x * self._taps[-1]
        last[:-1] = last[1:]
        last[-1] = x
        return out


class _Attention:
    def __init__(self, attention: Attention) -> None:
        self._heads, self._pattern = attention.heads, attention.pattern
        self._plain = self._pattern.kind == "full"
        self._to_qkv = _array(attention.to_qkv.weight)
        self._to_out = _array(attention.to_out.weight)

    def step(self, x: Array, cache: Any, row: int) -> Array:
        qkv = (self._to_qkv @ x).reshape(3, self._heads, -1)
        width = qkv.shape[2]
        place = int(cache.length[row])
        sizes = np.sqrt(np.einsum("mhc,mhc->mh", qkv[:2], qkv[:2]))[..., None]
        q, k = _turned(qkv[:2] * (width**0.5 / np.maximum(sizes, 1e-6)), place)
        held = cache.append_one(torch.from_numpy(k), torch.from_numpy(qkv[2]), row)
        keys, values = _array(held[0]), _array(held[1])
        q = q * width**-0.5
        if self._plain:
            return self._to_out @ _mixed(q, keys, values).reshape(-1)
        dropped, sinks = int(cache.dropped[row]), self._pattern.sinks
        heads = []
        for head in range(self._heads):
            seen = [p if p < sinks else p - dropped for p in self._pattern.seen(place, head)]
            own = slice(head, head + 1)
            heads.append(_mixed(q[own], keys[own, seen], values[own, seen]))
        return self._to_out @ np.concatenate(heads, axis=None)


def _mixed(q: Array, keys: Array, values: Array) -> Array:
    """Attention of one place: (h, c), (h, s, c), (h, s, c) -> (h, 1, c)."""
    scores = keys @ q[..., None]  # (h, s, 1)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.transpose(0, 2, 1) @ values


def _turned(x: Array, place: int) -> Array:
    """As `layers.rotate` at one position, (..., c)."""
    half = x.shape[-1] // 2
    if place >= TABLE:
        cos, sin = _array(exact_turns(half, torch.tensor(place)))
    else:
        cos, sin = _array(turns(half, place + 1, torch.device("cpu")))[:, place]
    left, right = x[..., :half], x[..., half:]
    return np.concatenate([left * cos - right * sin, left * sin + right * cos], axis=-1)
