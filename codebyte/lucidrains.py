"""The wiring of MEGABYTE-pytorch 0.3.6, so that weights trained with it give the same logits here.

It differs from the paper's: every level starts each of its rows with a learned token and then sees
its own ids unshifted, so the first id of a patch is predicted from states that know all ids but
those of the patch before it only through the level below.

    bytes      a b c d | e f g h         patches of four, two levels
    level 1    * abcd efgh               place k knows the patches before k
    level 0    * a b c d | * e f g h     plus a slice of level 1's place k, from the second place on
    predicts   a b c d e | e f g h i     the last of a row is the next patch's first

Modules are named as there, and a state dict of 0.3.6 loads as it is. It is kept for what was
trained elsewhere: decoding computes everything anew at each step.

Axes: b batch, r rows, t ids, n places, p places in a patch, d width, h heads, v vocabulary.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import InputError

ROPE_THETA = 10000.0


@dataclass
class LucidrainsState:
    """The ids fed so far and the logits of the next, for each row of a batch."""

    length: Tensor  # (b,)
    ids: list[Tensor]  # of each row, (length,)
    logits: Tensor  # (b, v)

    def snapshot(self) -> "LucidrainsState":
        """Gives a copy to go back to."""
        return LucidrainsState(self.length.clone(), list(self.ids), self.logits.clone())


class LucidrainsWiring(nn.Module):
    """The hierarchy from ids to logits; levels here go from the coarsest to the finest."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        levels = config.levels[::-1]
        fine = levels[-1].dim
        sizes = [-(-config.context // math.prod(level.patch_size for level in levels[1:]))]
        sizes += [level.patch_size for level in levels[1:]]
        self.sizes = sizes  # places in a row of each level
        self.start_tokens = nn.ParameterList(nn.Parameter(torch.randn(x.dim)) for x in levels)
        if "learned" in config.positions:
            self.pos_embs = nn.ModuleList(
                nn.Embedding(size, level.dim) for size, level in zip(sizes, levels, strict=True)
            )
        self.token_embs = nn.ModuleList([nn.Embedding(config.vocab_size, fine)])
        place = 1
        for level, inner in zip(levels[-2::-1], levels[:0:-1], strict=True):
            place *= inner.patch_size
            self.token_embs.append(_PatchEmbedding(config.vocab_size, fine, place, level.dim))
        self.transformers = nn.ModuleList(
            _Transformer(level, rotary="rotary" in config.positions) for level in levels
        )
        self.to_next_transformer_projections = nn.ModuleList(
            nn.Sequential(nn.Identity(), nn.Linear(level.dim, below.dim * below.patch_size))
            for level, below in pairwise(levels)
        )
        self.to_logits = nn.Linear(fine, config.vocab_size)

    def forward(self, ids: Tensor, *, ahead: bool = True) -> Tensor:
        """Gives the logits of each id and, if `ahead`, of the one that would follow.

        Args:
            ids: (b, t) int64, t at most the context.

        Returns:
            (b, t + 1, v), or (b, t, v) without `ahead`.

        Raises:
            InputError: for more ids than the context.
        """
        wanted = ids.shape[1] + ahead
        if ids.shape[1] > self.config.context:
            raise InputError(
                f"{ids.shape[1]} ids are more than the context {self.config.context} of this wiring"
            )
        unit = math.prod(self.sizes[1:])
        patches = max(1, -(-ids.shape[1] // unit))
        rows = F.pad(ids, (0, patches * unit - ids.shape[1]))  # what is padded is seen by no answer
        given: Tensor | None = None
        for i, start in enumerate(self.start_tokens):
            places = self._places(i, rows, start, given)
            states = self.transformers[i](places)
            if i + 1 < len(self.sizes):
                given = self._given(i, states)
        logits = self.to_logits(states)  # (b k) (p + 1) v
        rest = rearrange(logits[:, 1:], "(b k) p v -> b (k p) v", b=ids.shape[0])
        first = rearrange(logits, "(b k) p v -> b k p v", b=ids.shape[0])[:, 0, :1]
        return torch.cat([first, rest], dim=1)[:, :wanted]

    def patch_states(self, ids: Tensor) -> Tensor:
        """Not offered: import weights to score and generate with."""
        raise InputError("this wiring has no patch states; take wiring 'context' or 'paper'")

    def _places(self, i: int, rows: Tensor, start: Tensor, given: Tensor | None) -> Tensor:
        """What level i works on: its learned start, its ids, and what came from above."""
        size = math.prod(self.sizes[i + 1 :])  # ids in one place
        x = self.token_embs[len(self.sizes) - 1 - i](_cut(rows, size))  # (b, n, d)
        if i:
            x = rearrange(x, "b (k p) d -> (b k) p d", p=self.sizes[i])
        if "learned" in self.config.positions:
            places = self.pos_embs[i]
            assert isinstance(places, nn.Embedding)
            x = x + places.weight[: x.shape[1]]
        x = torch.cat([start.expand(x.shape[0], 1, -1), x], dim=1)
        return x if given is None else x + F.pad(given, (0, 0, 1, 0))

    def _given(self, i: int, states: Tensor) -> Tensor:
        """What the states of level i, (r, n + 1, d), give to the rows of the level below."""
        slices = self.to_next_transformer_projections[i](states[:, :-1])
        return rearrange(slices, "r n (p d) -> (r n) p d", p=self.sizes[i + 1])

    def init_state(self, batch: int) -> LucidrainsState:
        """Gives the state in which nothing was fed."""
        empty = torch.zeros(batch, 0, dtype=torch.int64, device=self.to_logits.weight.device)
        logits = self(empty)[:, 0]
        return LucidrainsState(
            length=torch.zeros(batch, dtype=torch.int64), ids=list(empty), logits=logits
        )

    def step(self, ids: Tensor, state: LucidrainsState, rows: Tensor) -> Tensor:
        """(r, n) ids that follow those of these rows -> (r, n, v), each of the id after."""
        found = []
        for row, new in zip(rows.tolist(), ids, strict=True):
            state.ids[row] = torch.cat([state.ids[row], new])
            logits = self(state.ids[row][None])[0, -len(new) :]
            state.logits[row] = logits[-1]
            found.append(logits)
        state.length[rows] += ids.shape[1]
        return torch.stack(found)


def _cut(rows: Tensor, size: int) -> Tensor:
    return rows if size == 1 else rearrange(rows, "b (n s) -> b n s", s=size)


class _PatchEmbedding(nn.Sequential):
    """(b, n, s) ids -> (b, n, d)."""

    def __init__(self, vocab_size: int, fine: int, place: int, dim: int) -> None:
        super().__init__(
            nn.Embedding(vocab_size, fine),
            nn.Flatten(-2),
            nn.LayerNorm(place * fine),
            nn.Linear(place * fine, dim),
            nn.LayerNorm(dim),
        )


class _Norm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        size = x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5
        return x / size.clamp(min=1e-8) * self.g


class _Transformer(nn.Module):
    """Attention and feed-forward in turn, each over tokens half of which are shifted by one."""

    def __init__(self, config: LevelConfig, *, rotary: bool) -> None:
        super().__init__()
        self.rotary_emb = _Rotary(config.head_dim) if rotary else None
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    _Attention(config),
                    nn.Sequential(
                        _Norm(config.dim),
                        nn.Linear(config.dim, config.dim * config.ff_mult),
                        nn.GELU(),
                        nn.Dropout(config.ff_dropout),
                        nn.Linear(config.dim * config.ff_mult, config.dim),
                    ),
                ]
            )
            for _ in range(config.layers)
        )
        self.norm = _Norm(config.dim)

    def forward(self, x: Tensor) -> Tensor:
        angles = None if self.rotary_emb is None else self.rotary_emb(x.shape[1])
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            x = layer[0](_shifted(x), angles) + x
            x = layer[1](_shifted(x)) + x
        return self.norm(x)


class _Rotary(nn.Module):
    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        exponents = torch.arange(0, head_dim, 2).float() / head_dim
        self.register_buffer("inv_freq", 1.0 / ROPE_THETA**exponents)

    def forward(self, length: int) -> Tensor:
        """Angles, (length, c)."""
        places = torch.arange(length, device=self.inv_freq.device)
        angles = places[:, None].float() * self.inv_freq.float()
        return torch.cat([angles, angles], dim=-1)


class _Attention(nn.Module):
    def __init__(self, config: LevelConfig) -> None:
        super().__init__()
        self.heads = config.heads or config.dim // config.head_dim
        self.dropout = config.attn_dropout
        inner = self.heads * config.head_dim
        self.norm = _Norm(config.dim)
        self.to_q = nn.Linear(config.dim, inner, bias=False)
        self.to_kv = nn.Linear(config.dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim, bias=False)

    def forward(self, x: Tensor, angles: Tensor | None) -> Tensor:
        x = self.norm(x)
        parts = (self.to_q(x), *self.to_kv(x).chunk(2, dim=-1))
        q, k, v = (rearrange(part, "r n (h c) -> r h n c", h=self.heads) for part in parts)
        if angles is not None:
            q, k = _turned(q, angles), _turned(k, angles)
        rate = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=rate)
        return self.to_out(rearrange(out, "r h n c -> r n (h c)"))


def _shifted(x: Tensor) -> Tensor:
    """The second half of every place's values comes from the place before."""
    own, before = x.chunk(2, dim=-1)
    return torch.cat([own, F.pad(before, (0, 0, 1, -1))], dim=-1)


def _turned(x: Tensor, angles: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat([-right, left], dim=-1) * angles.sin()
