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
from codebyte.fewturns import turned
from codebyte.layers import Attention, Block, CausalConv, Stack

Array = NDArray[np.float32]
Accept = Callable[[int], None]  # lets the first so many of the places tried stay
_ZERO, _SMALLEST = np.array(0.0, np.float32), np.array(1e-6, np.float32)  # quicker than floats


def array(tensor: Tensor) -> NDArray[Any]:
    """A view of a tensor on the CPU."""
    return tensor.detach().numpy()


def products(weight: Array, x: Array) -> Array:
    """Weight @ x of each place by itself, (n, d) -> (n, outputs)."""
    if len(x) == 1:
        return weight.dot(x[0])[None]
    out = np.empty((len(x), len(weight)), np.float32)
    for place, own in zip(x, out, strict=True):
        np.dot(weight, place, out=own)
    return out


def scales(x: Array) -> list[float]:
    """What `layers.norm` multiplies each place by."""
    width = x.shape[1] ** 0.5
    return [width / max(math.sqrt(square), 1e-6) for square in np.vecdot(x, x).tolist()]


def times(x: Array, factors: list[float]) -> Array:
    """Each place times its factor."""
    return x * (factors[0] if len(x) == 1 else np.array(factors, np.float32)[:, None])


def normed(x: Array) -> Array:
    """As `layers.norm`, each place by itself."""
    return times(x, scales(x))


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
        hidden = products(self._up, normed(x))
        np.maximum(hidden, _ZERO, out=hidden)
        return x + products(self._down, hidden * hidden), accept


class _Conv:
    def __init__(self, conv: CausalConv) -> None:
        self._taps = array(conv.weight)[::-1]  # of the farthest place first
        self._dilation = conv.dilation

    def try_(self, x: Array, cache: Any, row: int) -> tuple[Array, Accept]:
        last, n = cache.view("last")[row], len(x)
        joined = np.concatenate([last, x])
        if n == 1:
            out = np.add.reduce(joined[:: self._dilation] * self._taps, axis=0, keepdims=True)
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
        # queries come to length 1: what scores are divided by is the length that keys have
        self._lengths = np.array([1.0, self._width**0.5], np.float32)[:, None]

    def try_(self, x: Array, cache: Any, row: int) -> tuple[Array, Accept]:
        n, heads, width = len(x), self._heads, self._width
        length = cache.view("length")
        place = int(length[row])
        start = place - int(cache.view("dropped")[row])
        if cache.keys is None or start + n > cache.keys.shape[2]:
            cache.reserve(n, torch.tensor([row]), torch.empty(1, heads, 1, width))
            start = place - int(cache.view("dropped")[row])
        keys, values = cache.view("keys")[row], cache.view("values")[row]
        qkv = products(self._to_qkv, x).reshape(n, 3, heads, width)
        both = qkv[:, :2]
        sizes: Array = np.maximum(np.sqrt(np.vecdot(both, both)), _SMALLEST)
        both = turned(both * (self._lengths / sizes)[..., None], place)
        keys[:, start : start + n] = both[:, 1].swapaxes(0, 1)
        values[:, start : start + n] = qkv[:, 2].swapaxes(0, 1)
        mixed = np.empty((n, heads * width), np.float32)
        for i, query in enumerate(both[:, 0]):
            end = start + i + 1
            if self._pattern.kind == "full":
                mixed[i] = _mixed(query, keys[:, :end], values[:, :end])
            else:
                mixed[i] = self._sparse(query, keys, values, place + i, end - 1)

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
    """Attention of one place: (h, c), (h, s, c), (h, s, c) -> (h c).

    Scores are at most the length of a key, so that their exponentials are finite as they are.
    """
    weights = np.exp(keys @ q[..., None])  # (h, s, 1)
    mixed = weights.swapaxes(1, 2) @ values
    mixed /= np.add.reduce(weights, axis=1, keepdims=True)
    return mixed.reshape(-1)
