"""Which earlier places attention looks at, and attention that computes no others.

    full      all of them
    window    the last `window`, and the first `sinks` of the row (arXiv:2309.17453)
    strided   `window` places, `stride` apart, back from the own one; layers of it in turn with
              "window" are the strided attention of Sparse Transformers (arXiv:1904.10509)
    dilated   LongNet's mix (arXiv:2307.02486): for each rate r the row is cut into segments of
              r * window places, of which a head sees every r-th, those at its own number modulo r,
              and only from such places. One softmax goes over all rates; what is seen at two rates
              counts twice.

`Pattern.counts` says it densely; `attend` computes the same in time and memory that grow with n and
not with n^2, by cutting the row into blocks. FlexAttention would do it on a GPU in one kernel, but
has no backward pass on a CPU, so blocks are used everywhere.

Axes: b batch, h heads, n queries, s keys (the queries' places are the last n of them), c width of a
head, m blocks, w places in a block, r rate, i and j places of a rate in a segment.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from codebyte import kernels
from codebyte.config import LevelConfig

_DENSE = 1 << 18  # scores, up to which a mask over all of them is quicker than blocks


@dataclass(frozen=True, slots=True)
class Pattern:
    """What one layer of attention looks at."""

    kind: str = "full"
    window: int = 64
    sinks: int = 0
    stride: int = 8
    rates: tuple[int, ...] = (1,)

    @classmethod
    def of(cls, config: LevelConfig, index: int = 0) -> "Pattern":
        """The pattern of the layer of that index, the encoder's layers counted first."""
        kind = config.patterns[index % len(config.patterns)]
        sinks = config.sinks if kind == "window" else 0
        return cls(kind, config.window, sinks, config.stride, config.dilations)

    @property
    def keep(self) -> int | None:
        """How many of the last places later ones may still look at; None: all of them."""
        if self.kind == "full":
            return None
        step = {"window": 1, "strided": self.stride, "dilated": max(self.rates)}[self.kind]
        return self.window * step

    def places_seen(self, length: float) -> float:
        """How many places one of a row of `length` places sees, on average."""
        if self.kind == "full":
            return length / 2
        if self.kind == "dilated":  # a segment is half full on average
            return sum(min(length, self.window * r) / (2 * r * r) for r in self.rates)
        step = self.stride if self.kind == "strided" else 1
        return min(length / (2 * step), self.window) + min(self.sinks, length)

    def counts(self, queries: Tensor, keys: Tensor, heads: int) -> Tensor:
        """How often each query sees each key: the reference for everything else.

        Args:
            queries: (..., n) places.
            keys: (..., s) places.
            heads: h.

        Returns:
            (..., 1, n, s) bool; with "dilated" (..., h, n, s) integers.
        """
        query, key = queries[..., None, :, None], keys[..., None, None, :]
        distance = query - key
        past = distance >= 0
        if self.kind == "window":
            return past & ((distance < self.window) | (key < self.sinks))
        if self.kind == "strided":
            near = distance < self.window * self.stride
            return past & near & (distance % self.stride == 0)
        if self.kind == "dilated":
            own = torch.arange(heads, device=keys.device)[:, None, None]
            total = torch.zeros_like(past, dtype=torch.int64)
            for rate in self.rates:
                size = self.window * rate
                same = past & (query // size == key // size)
                total = total + (same & ((query - own) % rate == 0) & (distance % rate == 0))
            return total
        return past

    def seen(self, place: int, head: int) -> list[int]:
        """The places that one place sees, as often as it does; for patterns other than full."""
        if self.kind == "window":
            first = max(0, place + 1 - self.window)
            return [*range(min(self.sinks, first)), *range(first, place + 1)]
        if self.kind == "strided":
            first = max(place % self.stride, place - (self.window - 1) * self.stride)
            return list(range(first, place + 1, self.stride))
        seen: list[int] = []
        for rate in self.rates:
            if (place - head) % rate == 0:
                start = place - place % (self.window * rate)
                seen += range(start + head % rate, place + 1, rate)
        return seen


def attend(
    q: Tensor, k: Tensor, v: Tensor, pattern: Pattern, *, first: int = 0, dropout: float = 0.0
) -> Tensor:
    """Attention under a pattern.

    Args:
        q: (b, h, n, c).
        k: (b, h, s, c), all that the pattern needs, in order and without gaps but after the sinks.
        v: (b, h, s, c).
        pattern: what each query sees.
        first: place of the first key in its row, which only "dilated" needs to know.
        dropout: share of the weights left out.

    Returns:
        (b, h, n, c).
    """
    n, s = q.shape[2], k.shape[2]
    window, step = pattern.window, pattern.stride
    if n == s and (pattern.kind == "full" or (pattern.kind == "window" and s <= window)):
        if n <= kernels.LONGEST and not dropout and kernels.wanted(q):
            return kernels.patch_attention(q, k, v)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
    if pattern.kind == "full" or n * s <= _DENSE:
        start = first if pattern.kind == "dilated" else 0
        places = torch.arange(start, start + s, device=k.device)
        counts = pattern.counts(places[s - n :], places, q.shape[1])
        mask = counts.to(q.dtype).log() if pattern.kind == "dilated" else counts
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    q = F.pad(q, (0, 0, s - n, 0))  # the keys' places ask too, and are not answered
    if pattern.kind == "dilated":
        out = dilated_attention(q, k, v, window, pattern.rates, first, dropout)
    elif pattern.kind == "strided":
        q, k, v = (
            rearrange(F.pad(t, (0, 0, 0, -s % step)), "b h (m r) c -> (b r) h m c", r=step)
            for t in (q, k, v)
        )
        out = window_attention(q, k, v, window, dropout=dropout)
        out = rearrange(out, "(b r) h m c -> b h (m r) c", r=step)
    else:
        out = window_attention(q, k, v, window, pattern.sinks, dropout=dropout)
    return out[:, :, s - n : s]


def window_attention(
    q: Tensor, k: Tensor, v: Tensor, window: int, sinks: int = 0, *, dropout: float = 0.0
) -> Tensor:
    """Attention of each place to the last `window` places and the first `sinks` ones.

    The row is cut into blocks of `window` places; each block looks at itself, the block before and
    the sinks. The first blocks, which can see sinks inside their window, are done at once.

    Args:
        q, k, v: (b, h, n, c).
        window: places, the own one included.
        sinks: places.
        dropout: share of the weights left out.
    """
    b, _, n, _ = q.shape
    w, head = window, window * (1 + -(-sinks // window))
    place = torch.arange(min(n, head), device=q.device)
    seen = Pattern("window", window, sinks).counts(place, place, 1)[0]
    start = F.scaled_dot_product_attention(
        q[:, :, :head], k[:, :, :head], v[:, :, :head], attn_mask=seen, dropout_p=dropout
    )
    if n <= head:
        return start
    pad, first = -n % w, head - w  # the block before the first of the others
    blocks = [
        rearrange(F.pad(t[:, :, first:], (0, 0, 0, pad)), "b h (m w) c -> b m h w c", w=w)
        for t in (q, k, v)
    ]
    pairs = [torch.cat([t[:, :-1], t[:, 1:]], dim=3) for t in blocks[1:]]
    if sinks:
        m = pairs[0].shape[1]
        fixed = [t[:, None, :, :sinks].expand(-1, m, -1, -1, -1) for t in (k, v)]
        pairs = [torch.cat(parts, dim=3) for parts in zip(fixed, pairs, strict=True)]
    own = torch.arange(w, device=q.device)[:, None] + w
    other = torch.arange(-sinks, 2 * w, device=q.device)
    seen = (other < 0) | ((other <= own) & (other > own - w))  # (w, sinks + 2w)
    q, k, v = (rearrange(t, "b m h w c -> (b m) h w c") for t in (blocks[0][:, 1:], *pairs))
    rest = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)
    rest = rearrange(rest, "(b m) h w c -> b h (m w) c", b=b)
    return torch.cat([start, rest[:, :, : n - head]], dim=2)


def dilated_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    window: int,
    rates: tuple[int, ...],
    first: int = 0,
    dropout: float = 0.0,
) -> Tensor:
    """LongNet's mix of dilated attentions over segments.

    Args:
        q, k, v: (b, h, n, c).
        window: places that a segment shows at each rate.
        rates: the first must be 1.
        first: place of the first one in its row, which segments are counted from.
        dropout: share of the weights left out.
    """
    n = q.shape[2]
    outs, sums = [], []
    for rate in rates:
        out, total = _at_rate(q, k, v, window, rate, first % (window * rate), dropout)
        outs.append(out[:, :, :n])
        sums.append(total[:, :, :n])
    if len(rates) == 1:
        return outs[0]
    shares = torch.stack(sums).softmax(dim=0).to(q.dtype)  # of the rates in the one softmax
    mixed = outs[0] * shares[0, ..., None]
    for out, share in zip(outs[1:], shares[1:], strict=True):
        mixed = torch.addcmul(mixed, out, share[..., None])
    return mixed


def _at_rate(
    q: Tensor, k: Tensor, v: Tensor, window: int, rate: int, before: int, dropout: float
) -> tuple[Tensor, Tensor]:
    """One rate: the outputs, (b, h, n, c), and the logarithms of the sums of weights, (b, h, n).

    Zero and minus infinity where a place is not of its head's own. May go on past n.
    """
    heads, pad = torch.arange(q.shape[1], device=q.device), -(before + q.shape[2]) % (window * rate)
    own = heads % rate
    # in a segment place i r + x is the i-th of residue x
    parts = [
        rearrange(F.pad(t, (0, 0, before, pad)), "b h (m i r) c -> b m i r h c", i=window, r=rate)
        for t in (q, k, v)
    ]
    q, k, v = (rearrange(t[:, :, :, own, heads], "b m i h c -> b m h i c") for t in parts)
    scores = (q @ k.mT).float() * q.shape[-1] ** -0.5
    later = torch.ones(window, window, dtype=torch.bool, device=q.device).triu(1)
    scores = scores.masked_fill(later, -torch.inf)
    total = scores.logsumexp(dim=-1, keepdim=True)
    weights = (scores - total).exp().to(q.dtype)
    out = (F.dropout(weights, dropout) if dropout else weights) @ v
    if rate == 1:
        placed = [rearrange(t, "b m h i c -> b h (m i) c") for t in (out, total)]
    else:
        placed = []
        for t, empty in ((out, 0.0), (total, -torch.inf)):
            whole = t.new_full((*t.shape[:2], window, rate, len(heads), t.shape[-1]), empty)
            whole[:, :, :, own, heads] = rearrange(t, "b m h i c -> b m i h c")
            placed.append(rearrange(whole, "b m i r h c -> b h (m i r) c"))
    return placed[0][:, :, before:], placed[1][:, :, before:, 0]
