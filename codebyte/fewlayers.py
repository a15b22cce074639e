"""A few places through one layer in NumPy, to be kept or taken back; see fewbytes.py.

Axes: n new places, h heads, s places in a cache, c width of a head, d width.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codebyte.caches import KVCache, Tail
from codebyte.layers import Attention, Block, CausalConv, Stack
from codebyte.rotary import TABLE, exact_turns, turns

Array = NDArray[np.float32]
Accept = Callable[[int], None]  # lets the first so many of the places tried stay
_CPU = torch.device("cpu")


def array(tensor: Tensor) -> NDArray[Any]:
    """A view of a tensor on the CPU."""
    return tensor.detach().numpy()


def products(weight: Array, x: Array) -> Array:
    """Weight @ x of each place by itself, (n, d) -> (n, outputs)."""
    if len(x) == 1:
        return (weight @ x[0])[None]
    out = np.empty((len(x), len(weight)), np.float32)
    for place, own in zip(x, out, strict=True):
        np.dot(weight, place, out=own)
    return out


def normed(x: Array) -> Array:
    """As `layers.norm`, each place by itself."""
    width = x.shape[1] ** 0.5
    scales = [width / max(math.sqrt(place.dot(place)), 1e-6) for place in x]
    return x * (scales[0] if len(x) == 1 else np.array(scales, np.float32)[:, None])


def few_blocks(stack: Stack) -> "list[FewBlock]":
    """The blocks of a stack."""
    return [FewBlock(block) for block in stack.blocks if isinstance(block, Block)]


class FewBlock:
    """The weights of a block as NumPy arrays."""

    def __init__(self, block: Block) -> None:
        mix = block.mix
        self._mix = _Attention(mix) if isinstance(mix, Attention) else _Conv(mix)
        self._up = array(block.feed_forward.up.weight)
        self._down = array(block.feed_forward.down.weight)

    def try_(self, x: Array, cache: KVCache | Tail, row: int) -> tuple[Array, Accept]:
        """(n, d), places that follow what the cache of this row holds -> (n, d)."""
        mixed, accept = self._mix.try_(normed(x), cache, row)
        x = x + mixed
        hidden = np.maximum(products(self._up, normed(x)), 0.0)
        return x + products(self._down, hidden * hidden), accept


class _Conv:
    def __init__(self, conv: CausalConv) -> None:
        self._taps = np.ascontiguousarray(array(conv.weight)[::-1])  # of the farthest place first
        self._dilation = conv.dilation

    def try_(self, x: Array, cache: Any, row: int) -> tuple[Array, Accept]:
        last, n = array(cache.last)[row], len(x)
        joined = np.concatenate([last, x])
        if n == 1:
            out = (joined[:: self._dilation] * self._taps).sum(axis=0)[None]
        else:
            out = joined[:n] * self._taps[0]
            for i in range(1, len(self._taps)):
                start = i * self._dilation
                out += joined[start : start + n] * self._taps[i]

        def accept(count: int) -> None:
            last[:] = joined[count : count + len(last)]

        return out, accept


class _Attention:
    def __init__(self, attention: Attention) -> None:
        self._heads, self._pattern = attention.heads, attention.pattern
        self._to_qkv = array(attention.to_qkv.weight)
        self._to_out = array(attention.to_out.weight)
        self._width = len(self._to_qkv) // (3 * self._heads)

    def try_(self, x: Array, cache: Any, row: int) -> tuple[Array, Accept]:
        n, width = len(x), self._width
        length = array(cache.length)
        place = int(length[row])
        start = place - int(cache.dropped[row])
        if cache.keys is None or start + n > cache.keys.shape[2]:
            cache.reserve(n, torch.tensor([row]), torch.empty(1, self._heads, 1, width))
            start = place - int(cache.dropped[row])
        keys, values = array(cache.keys)[row], array(cache.values)[row]
        qkv = products(self._to_qkv, x).reshape(n, 3, self._heads, width)
        both = qkv[:, :2]
        sizes = np.sqrt((both * both).sum(axis=-1, keepdims=True))
        both = _turned(both * (width**0.5 / np.maximum(sizes, 1e-6)), place)
        queries = both[:, 0] * width**-0.5
        mixed = np.empty((n, self._heads * width), np.float32)
        for i in range(n):
            end = start + i + 1
            keys[:, end - 1], values[:, end - 1] = both[i, 1], qkv[i, 2]
            if self._pattern.kind == "full":
                mixed[i] = _mixed(queries[i], keys[:, :end], values[:, :end])
            else:
                mixed[i] = self._sparse(queries[i], keys, values, place + i, end - 1)

        def accept(count: int) -> None:
            length[row] = place + count

        return products(self._to_out, mixed), accept

    def _sparse(self, q: Array, keys: Array, values: Array, place: int, index: int) -> Array:
        """Attention of a place to those of its pattern; `index` is where the cache holds it."""
        dropped, sinks = place - index, self._pattern.sinks
        heads = []
        for head in range(self._heads):
            seen = [p if p < sinks else p - dropped for p in self._pattern.seen(place, head)]
            own = slice(head, head + 1)
            heads.append(_mixed(q[own], keys[own, seen], values[own, seen]))
        return np.concatenate(heads)


def _mixed(q: Array, keys: Array, values: Array) -> Array:
    """Attention of one place: (h, c), (h, s, c), (h, s, c) -> (h c)."""
    scores = keys @ q[..., None]  # (h, s, 1)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights.transpose(0, 2, 1) @ values).reshape(-1)


def _turned(x: Array, place: int) -> Array:
    """As `layers.rotate` at positions from `place` on, (n, ..., c)."""
    half, end = x.shape[-1] // 2, place + len(x)
    if end > TABLE:
        table = array(exact_turns(half, torch.arange(place, end)))
    else:
        table = array(turns(half, end, _CPU))[:, place:end]
    cos, sin = table[:, :, None, None]
    left, right = x[..., :half], x[..., half:]
    return np.concatenate([left * cos - right * sin, left * sin + right * cos], axis=-1)
