"""The parts that every level is made of: blocks of attention or convolution, and their caches.

Each part has `forward(x)` for a whole sequence and `step(x, cache, rows)` for n more places of some
rows of a batch; fed the same sequence, in any portions, the two give the same values.

Axes: b batch, r rows of a batch, n places, d width, h heads, c width of a head, s places in a
cache.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from codebyte.caches import KVCache, Tail
from codebyte.config import LevelConfig
from codebyte.rotary import rotate
from codebyte.sparse import Pattern, attend

PIECE = 16384  # places that are worked on at once where memory is to be saved
BLOCKS = 1 << 18  # scores, above which a step cuts a sparse pattern into blocks
CONV_WIDTH = 4
CONV_DILATIONS = (1, 4)  # taken in turn by a level's blocks


def norm(x: Tensor) -> Tensor:
    """Gives x with root mean square 1 along its last axis (no learned gain)."""
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
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


class Attention(nn.Module):
    """Causal self-attention with normalised queries and keys and rotary positions."""

    def __init__(self, config: LevelConfig, index: int = 0) -> None:
        super().__init__()
        self.heads = config.heads or config.dim // config.head_dim
        self.pattern = Pattern.of(config, index)
        self.dropout = config.attn_dropout
        self.head_dim = config.head_dim
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
        out = attend(q, k, v, self.pattern, dropout=self.dropout if self.training else 0.0)
        return self.to_out(rearrange(out, "b h n c -> b n (h c)"))

    def init_cache(self, batch: int) -> KVCache:
        """Gives the cache of an empty sequence, which holds no more than the pattern needs."""
        return KVCache(batch, self.pattern.keep, self.pattern.sinks)

    def step(self, x: Tensor, cache: KVCache, rows: Tensor) -> Tensor:
        """(r, n, d), places that follow what the cache of these rows holds -> (r, n, d)."""
        n = x.shape[1]
        positions = cache.length[rows][:, None] + torch.arange(n)
        q, k, v = self._qkv(x, positions.to(x.device), int(positions[:, -1].max()) + 1)
        keys, values = cache.append(k, v, rows)
        s, kind = keys.shape[2], self.pattern.kind
        if rows.shape[0] == 1 and kind != "full" and n * s > BLOCKS:
            first = int(cache.dropped[rows])
            out = attend(q, keys, values, self.pattern, first=first)
            return self.to_out(rearrange(out, "r h n c -> r n (h c)"))
        mask = None
        if n > 1 or rows.shape[0] > 1 or kind != "full":
            mask = self.pattern.counts(positions, cache.places(rows, s), self.heads).to(x.device)
            mask = mask.to(x.dtype).log() if kind == "dilated" else mask
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return self.to_out(rearrange(out, "r h n c -> r n (h c)"))


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
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
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
            self.mix = Attention(config, index)
        else:
            self.mix = CausalConv(config.dim, CONV_DILATIONS[index % len(CONV_DILATIONS)])
        self.feed_forward = FeedForward(config.dim, config.ff_mult, config.ff_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        return self._fed(self._mixed(x))

    def _fed(self, x: Tensor) -> Tensor:
        return x + self.feed_forward(norm(x))

    def thrifty(self, x: Tensor) -> Tensor:
        """As forward, keeping no more than the input for the backward pass, but twice the work."""
        if isinstance(self.mix, CausalConv):
            return in_pieces(self._fed, in_pieces(self._mixed, x, reach=self.mix.reach))
        return in_pieces(self._fed, checkpoint(self._mixed, x, use_reentrant=False))

    def _mixed(self, x: Tensor) -> Tensor:
        return x + self.mix(norm(x))

    def init_cache(self, batch: int) -> KVCache | Tail:
        """Gives the cache of an empty sequence."""
        if isinstance(self.mix, Attention):
            return self.mix.init_cache(batch)
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
        self.recompute = False  # see `set_recompute`
        self.blocks = nn.ModuleList(Block(config, first + i) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        thrifty = self.recompute and torch.is_grad_enabled()
        for block in self.blocks:
            x = block.thrifty(x) if thrifty else block(x)  # type: ignore[operator]
        return x

    def init_cache(self, batch: int) -> list[KVCache | Tail]:
        """Gives the caches of an empty sequence."""
        return [block.init_cache(batch) for block in self.blocks]  # type: ignore[operator]

    def step(self, x: Tensor, caches: Sequence[KVCache | Tail], rows: Tensor) -> Tensor:
        """(r, n, d), places that follow what the caches hold -> (r, n, d)."""
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block.step(x, cache, rows)  # type: ignore[operator]
        return x


def set_recompute(module: nn.Module, on: bool) -> None:
    """Lets blocks compute their insides again in the backward pass instead of keeping them.

    Memory in training then grows by some vectors a place instead of some dozens, and a step takes
    about a third longer.
    """
    for part in module.modules():
        if hasattr(part, "recompute"):
            part.__dict__["recompute"] = on


def in_pieces(function: Callable[..., Tensor], *inputs: Tensor, reach: int = 0) -> Tensor:
    """What a function of places gives, computed piece by piece, forward and again backward.

    Args:
        function: of tensors (b, n, ...), that gives as many places.
        inputs: (b, n, ...).
        reach: how many places before its own the function looks at.
    """
    out = []
    for start in range(0, inputs[0].shape[1], PIECE):
        first = max(0, start - reach)
        piece = [x[:, first : start + PIECE] for x in inputs]
        made = checkpoint(function, *piece, use_reentrant=False)
        out.append(made[:, start - first :] if first < start else made)
    return out[0] if len(out) == 1 else torch.cat(out, dim=1)
