"""The parts that every level is made of: blocks of attention or convolution, and their caches.

Each part has `forward(x)` for a whole sequence and `step(x, cache, rows)` for n more places of some
rows of a batch; fed the same sequence, in any portions, the two give the same values.

Axes: b batch, r rows of a batch, n places, d width, h heads, c width of a head, s places in a
cache.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from codebyte.config import LevelConfig

ROPE_THETA = 10000.0
CONV_WIDTH = 4
CONV_DILATIONS = (1, 4)  # taken in turn by a level's blocks


def norm(x: Tensor) -> Tensor:
    """Gives x with root mean square 1 along its last axis (no learned gain)."""
    if torch.is_grad_enabled() and x.requires_grad:
        return _Norm.apply(x)
    return x * _norm_scale(x)


def _norm_scale(x: Tensor) -> Tensor:
    return x.shape[-1] ** 0.5 / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-6)


class _Norm(torch.autograd.Function):
    """As F.rms_norm, whose CPU kernels are several passes over memory each way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scale = _norm_scale(x)
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        along = (grad * y).mean(dim=-1, keepdim=True)
        return torch.addcmul(grad, y, along, value=-1).mul_(scale)


def rotate(x: Tensor, positions: Tensor, end: int | None = None) -> Tensor:
    """Turns pairs of a head's values by angles that grow with the position (arXiv:2104.09864).

    The turn is in float32 whatever x is, so that neighbouring positions never fall together.

    Args:
        x: (..., r, h, n, c).
        positions: (r, n) or (n,), integers.
        end: above every position; None to look.
    """
    end = int(positions.max()) + 1 if end is None else end
    table = turns(x.shape[-1] // 2, end, x.device)
    cos, sin = table[:, :end][:, positions]
    if positions.ndim == 2:
        cos, sin = cos[:, None], sin[:, None]
    left, right = x.float().chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1).to(x.dtype)


def turns(half: int, end: int, device: torch.device) -> Tensor:
    """Cosines and sines of the angles at positions below `end` or more, (2, length, half)."""
    return _turns(half, max(256, 1 << (end - 1).bit_length()), device)


@lru_cache(maxsize=16)
def _turns(half: int, length: int, device: torch.device) -> Tensor:
    """Cosines and sines for positions up to `length`, (2, length, half), from float64 angles."""
    with torch.inference_mode(False):
        frequencies = ROPE_THETA ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
        return torch.stack([angles.cos(), angles.sin()]).float().to(device)


class KVCache:
    """Keys and values of the places seen so far; grows by doubling.

    Copies made by `snapshot` share the storage: a place once written is only overwritten after
    going back to before it.
    """

    def __init__(self, batch: int) -> None:
        self.keys: Tensor | None = None  # (b, h, s, c)
        self.values: Tensor | None = None
        self.length = torch.zeros(batch, dtype=torch.int64)

    def append(self, keys: Tensor, values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Adds n places to the given rows; gives all that these rows hold, (r, h, s, c)."""
        n = keys.shape[2]
        start = self.length[rows]
        longest = int(start.max()) + n
        self.keys = _grown(self.keys, keys, self.length.shape[0], longest)
        self.values = _grown(self.values, values, self.length.shape[0], longest)
        if rows.shape[0] == 1:  # views, no copies: the common case of one stream
            row, first = int(rows[0]), int(start[0])
            self.keys[row, :, first : first + n] = keys[0]
            self.values[row, :, first : first + n] = values[0]
            self.length[row] = longest
            return self.keys[row : row + 1, :, :longest], self.values[row : row + 1, :, :longest]
        places = start[:, None] + torch.arange(n)
        self.keys[rows[:, None], :, places] = rearrange(keys, "r h n c -> r n h c")
        self.values[rows[:, None], :, places] = rearrange(values, "r h n c -> r n h c")
        self.length[rows] = start + n
        return self.keys[rows, :, :longest], self.values[rows, :, :longest]

    def snapshot(self) -> "KVCache":
        """Gives a copy at this length that shares the storage."""
        copy = KVCache(0)
        copy.keys, copy.values, copy.length = self.keys, self.values, self.length.clone()
        return copy


def more_places(cache: KVCache, length: int, heads: int, width: int) -> None:
    """Makes room for `length` places of one more row in the cache of float32 on the CPU."""
    if cache.keys is None or cache.keys.shape[2] < length:
        like, batch = torch.empty(1, heads, 1, width), cache.length.shape[0]
        cache.keys = _grown(cache.keys, like, batch, length)
        cache.values = _grown(cache.values, like, batch, length)


def _grown(store: Tensor | None, like: Tensor, batch: int, length: int) -> Tensor:
    if store is not None and store.shape[2] >= length:
        return store
    new = like.new_zeros(batch, like.shape[1], max(64, 2 * length), like.shape[3])
    if store is not None:
        new[:, :, : store.shape[2]] = store
    return new


class Attention(nn.Module):
    """Causal self-attention with normalised queries and keys and rotary positions."""

    def __init__(self, config: LevelConfig) -> None:
        super().__init__()
        self.heads = config.heads or config.dim // config.head_dim
        self.window = config.window if config.pattern == "window" else None
        self.dropout = config.attn_dropout
        inner = self.heads * config.head_dim
        self.to_qkv = nn.Linear(config.dim, 3 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim, bias=False)

    def _qkv(self, x: Tensor, positions: Tensor, end: int) -> tuple[Tensor, Tensor, Tensor]:
        qkv = rearrange(self.to_qkv(x), "b n (m h c) -> m b h n c", m=3, h=self.heads)
        q, k = rotate(norm(qkv[:2]), positions, end)
        return q, k, qkv[2]

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        n = x.shape[1]
        q, k, v = self._qkv(x, torch.arange(n, device=x.device), n)
        dropout = self.dropout if self.training else 0.0
        if self.window is None or self.window >= n:
            out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        else:
            out = window_attention(q, k, v, self.window, dropout)
        return self.to_out(rearrange(out, "b h n c -> b n (h c)"))

    def step(self, x: Tensor, cache: KVCache, rows: Tensor) -> Tensor:
        """(r, n, d), places that follow what the cache of these rows holds -> (r, n, d)."""
        n = x.shape[1]
        positions = cache.length[rows][:, None] + torch.arange(n)
        q, k, v = self._qkv(x, positions.to(x.device), int(positions[:, -1].max()) + 1)
        keys, values = cache.append(k, v, rows)
        mask = None
        if n > 1 or rows.shape[0] > 1 or self.window is not None:
            offset = positions[:, :, None] - torch.arange(keys.shape[2])  # (r, n, s)
            seen = offset >= 0 if self.window is None else (offset >= 0) & (offset < self.window)
            mask = seen[:, None].to(x.device)
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return self.to_out(rearrange(out, "r h n c -> r n (h c)"))


def window_attention(q: Tensor, k: Tensor, v: Tensor, window: int, dropout: float = 0.0) -> Tensor:
    """Attention of each place to the last `window` places, in time and memory linear in n.

    The sequence is cut into blocks of `window` places; each block looks at itself and the block
    before.

    Args:
        q, k, v: (b, h, n, c).
    """
    n = q.shape[2]
    pad = -n % window
    blocks = [
        rearrange(F.pad(t, (0, 0, 0, pad)), "b h (m w) c -> b h m w c", w=window) for t in (q, k, v)
    ]
    q, k, v = blocks
    k, v = (torch.cat([F.pad(t, (0, 0, 0, 0, 1, 0))[:, :, :-1], t], dim=3) for t in (k, v))
    own = torch.arange(window, device=q.device)[:, None] + window
    other = torch.arange(2 * window, device=q.device)
    seen = (other <= own) & (other > own - window)  # (w, 2w)
    first = seen & (other >= window)  # the first block has none before it
    mask = seen.expand(q.shape[2], -1, -1).clone()
    mask[0] = first
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return rearrange(out, "b h m w c -> b h (m w) c")[:, :, :n]


class Tail:
    """The last inputs of a convolution, for each row of a batch."""

    def __init__(self, last: Tensor) -> None:
        self.last = last  # (b, length, d)

    def snapshot(self) -> "Tail":
        """Gives an independent copy."""
        return Tail(self.last.clone())


class CausalConv(nn.Module):
    """A depthwise convolution over the own and earlier places, as shifted multiply-adds."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.reach = (CONV_WIDTH - 1) * dilation
        self.weight = nn.Parameter(torch.zeros(CONV_WIDTH, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        return self._convolve(F.pad(x, (0, 0, self.reach, 0)), x.shape[1])

    def step(self, x: Tensor, cache: Tail, rows: Tensor) -> Tensor:
        """(r, n, d), places that follow the tail -> (r, n, d)."""
        joined = torch.cat([cache.last[rows], x], dim=1)
        cache.last[rows] = joined[:, joined.shape[1] - self.reach :]
        if x.shape[1] == 1:
            return (joined[:, :: self.dilation] * self.weight.flip(0)).sum(dim=1, keepdim=True)
        return self._convolve(joined, x.shape[1])

    def _convolve(self, padded: Tensor, n: int) -> Tensor:
        out = padded[:, self.reach :] * self.weight[0]
        for i in range(1, CONV_WIDTH):
            start = self.reach - i * self.dilation
            out = torch.addcmul(out, padded[:, start : start + n], self.weight[i])
        return out


class FeedForward(nn.Module):
    """Two matrices with a squared ReLU between them (arXiv:2109.08668)."""

    def __init__(self, dim: int, mult: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.up = nn.Linear(dim, mult * dim, bias=False)
        self.down = nn.Linear(mult * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        hidden = squared_relu(self.up(x))
        if self.training and self.dropout:
            hidden = F.dropout(hidden, self.dropout)
        return self.down(hidden)


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2."""
    if torch.is_grad_enabled():
        return _SquaredReLU.apply(x)
    positive = F.relu(x)
    return positive * positive


class _SquaredReLU(torch.autograd.Function):
    """relu(x)^2, with little kept and passed: on a CPU memory traffic is what costs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return torch.mul(grad, positive).mul_(2)


class Block(nn.Module):
    """One layer: mixes places, then works on each place; both are added to what came in."""

    def __init__(self, config: LevelConfig, index: int) -> None:
        super().__init__()
        self.mix: Attention | CausalConv
        if config.mixing == "attention":
            self.mix = Attention(config)
        else:
            self.mix = CausalConv(config.dim, CONV_DILATIONS[index % len(CONV_DILATIONS)])
        self.feed_forward = FeedForward(config.dim, config.ff_mult, config.ff_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        x = x + self.mix(norm(x))
        return x + self.feed_forward(norm(x))

    def init_cache(self, batch: int) -> KVCache | Tail:
        """Gives the cache of an empty sequence."""
        if isinstance(self.mix, Attention):
            return KVCache(batch)
        weight = self.mix.weight
        return Tail(weight.detach().new_zeros(batch, self.mix.reach, weight.shape[1]))

    def step(self, x: Tensor, cache: KVCache | Tail, rows: Tensor) -> Tensor:
        """(r, n, d), places that follow what the cache holds -> (r, n, d)."""
        x = x + self.mix.step(norm(x), cache, rows)  # type: ignore[arg-type]
        return x + self.feed_forward(norm(x))


class Stack(nn.Module):
    """Blocks one above the other."""

    def __init__(self, config: LevelConfig, layers: int, first: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config, first + i) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        for block in self.blocks:
            x = block(x)
        return x

    def init_cache(self, batch: int) -> list[KVCache | Tail]:
        """Gives the caches of an empty sequence."""
        return [block.init_cache(batch) for block in self.blocks]  # type: ignore[operator]

    def step(self, x: Tensor, caches: Sequence[KVCache | Tail], rows: Tensor) -> Tensor:
        """(r, n, d), places that follow what the caches hold -> (r, n, d)."""
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block.step(x, cache, rows)  # type: ignore[operator]
        return x
