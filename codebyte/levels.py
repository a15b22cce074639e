"""Levels over levels: bytes below, patches above, each byte seeing all that came before it.

Unlike the paper's (see paper.py), the byte level here is not cut at patch borders: its layers run
over the whole row, a patch is read from the byte layers at its border, and its state is given to
every byte from that border until the next (SpaceByte, arXiv:2404.14408; H-Net, arXiv:2507.07955).

    places -> encoder -> borders -> the level above -> decoder -> places

Axes: b batch, r rows, n places, k patches, d width of this level, g width of the level above.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codebyte.caches import KVCache, Tail
from codebyte.config import LevelConfig
from codebyte.layers import Stack, norm
from codebyte.patching import Patches, borders, patches
from codebyte.views import Viewed


@dataclass
class LevelState(Viewed):
    """What a level must remember to go on, for each row of a batch."""

    encoder: list[KVCache | Tail]
    decoder: list[KVCache | Tail]
    since: Tensor  # (b,), places since the last natural border; -1 before the first place
    pooled: Tensor  # (b, d), sum over the places of the open patch
    given: Tensor  # (b, d), what the level above gave for the latest finished patch
    above: "LevelState | None"

    def snapshot(self) -> "LevelState":
        """Gives a copy that shares the keys and values of attention."""
        return LevelState(
            encoder=[cache.snapshot() for cache in self.encoder],
            decoder=[cache.snapshot() for cache in self.decoder],
            since=self.since.clone(),
            pooled=self.pooled.clone(),
            given=self.given.clone(),
            above=self.above.snapshot() if self.above else None,
        )


class Level(nn.Module):
    """One level and, inside it, all levels above."""

    def __init__(self, levels: tuple[LevelConfig, ...]) -> None:
        super().__init__()
        config = levels[0]
        self.dim, self.patch_size = config.dim, config.patch_size
        self.encoder = Stack(config, config.encoder_layers)
        self.decoder = Stack(config, config.layers, first=config.encoder_layers)
        self.above = Level(levels[1:]) if len(levels) > 1 else None
        if self.above is not None:
            self.to_patch = nn.Linear(2 * config.dim, self.above.dim, bias=False)
            self.from_patch = nn.Linear(self.above.dim, config.dim, bias=False)
            self.place = nn.Embedding(config.patch_size, config.dim)

    def layouts(self, natural: Tensor) -> list[Patches]:
        """How whole rows fall into patches, here and at each level above but the last.

        Args:
            natural: (b, n) bool, where patches of this level should end; those above it end every
            patch_size places.
        """
        if self.above is None:
            return []
        start = torch.full((len(natural),), -1, device=natural.device)
        layout = patches(*borders(natural, self.patch_size, start), self.patch_size)
        return [layout, *self.above.layouts(torch.zeros_like(layout.ends, dtype=torch.bool))]

    def patch_states(self, x: Tensor, layouts: Sequence[Patches]) -> Tensor:
        """The states of the level above for each patch, (b, k, g): what to pool embeddings of."""
        return self._above(self.encoder(x), layouts)[0]

    def forward(self, x: Tensor, layouts: Sequence[Patches] = ()) -> Tensor:
        """Runs whole rows, (b, n, d) -> (b, n, d), in patches as `layouts` says."""
        x = self.encoder(x)
        if self.above is not None:
            x = x + self._above(x, layouts)[1]
        return self.decoder(x)

    def _above(self, x: Tensor, layouts: Sequence[Patches]) -> tuple[Tensor, Tensor]:
        """The states of the level above, (b, k, g), and what they give each place, (b, n, d)."""
        assert self.above is not None
        (b, n, _), layout = x.shape, layouts[0]
        k = layout.ends.shape[1]
        row = torch.arange(b, device=x.device)[:, None]
        flat = x.reshape(b * n, -1)
        pooled = flat.new_zeros(b * (k + 1), flat.shape[1])
        pooled = pooled.index_add(0, (layout.own + row * (k + 1)).flatten(), flat)
        pooled = pooled.view(b, k + 1, -1)[:, :k]
        last = flat.index_select(0, (layout.ends + row * n).flatten()).view(b, k, -1)
        states = self.above(self._patch(last, pooled), layouts[1:])
        given = self.from_patch(norm(states)).reshape(b * k, -1)
        given = given.index_select(0, (layout.latest + row * k).flatten()).view(b, n, -1)
        return states, given + self.place(layout.place)

    def _patch(self, last: Tensor, pooled: Tensor) -> Tensor:
        return self.to_patch(torch.cat([norm(last), norm(pooled)], dim=-1))

    def init_state(self, batch: int) -> LevelState:
        """Gives the state of an empty sequence."""
        nothing = next(self.parameters()).detach().new_zeros(batch, self.dim)
        return LevelState(
            encoder=self.encoder.init_cache(batch),
            decoder=self.decoder.init_cache(batch),
            since=torch.full((batch,), -1, device=nothing.device),
            pooled=nothing,
            given=nothing.clone(),
            above=self.above.init_state(batch) if self.above is not None else None,
        )

    def step(
        self, x: Tensor, state: LevelState, rows: Tensor, natural: Tensor | None = None
    ) -> Tensor:
        """(r, n, d), places that follow the state of these rows -> (r, n, d)."""
        x = self.encoder.step(x, state.encoder, rows)
        if self.above is not None:
            if natural is None:
                natural = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
            border, distance = borders(natural, self.patch_size, state.since[rows])
            state.since[rows] = distance[:, -1]
            given = self._one_place if x.shape[1] == 1 else self._places
            x = x + given(x, state, rows, border) + self.place(distance % self.patch_size)
        return self.decoder.step(x, state.decoder, rows)

    def patch_step(
        self, x: Tensor, state: LevelState, rows: Tensor, natural: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """One row's new places, (1, n, d) -> (k,) where patches ended, (k, g) their states."""
        assert self.above is not None and state.above is not None
        x = self.encoder.step(x, state.encoder, rows)
        if natural is None:
            natural = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        border, distance = borders(natural, self.patch_size, state.since[rows])
        state.since[rows] = distance[:, -1]
        row = int(rows)
        patch, _ = self._ended(x[0], state.pooled, row, border[0])
        if not len(patch):
            return border[0].nonzero()[:, 0], patch.new_zeros(0, self.above.dim)
        states = self.above.step(patch[None], state.above, rows)
        return border[0].nonzero()[:, 0], states[0]

    def _one_place(self, x: Tensor, state: LevelState, rows: Tensor, border: Tensor) -> Tensor:
        """What the level above gives when each row is fed one place, (r, 1, d)."""
        assert self.above is not None and state.above is not None
        state.pooled[rows] += x[:, 0]
        done = border[:, 0]
        if done.any():
            ended = rows[done.to(rows.device)]
            patch = self._patch(x[done, 0], state.pooled[ended])
            states = self.above.step(patch[:, None], state.above, ended)
            state.given[ended] = self.from_patch(norm(states[:, 0]))
            state.pooled[ended] = 0.0
        return state.given[rows][:, None]

    def _places(self, x: Tensor, state: LevelState, rows: Tensor, border: Tensor) -> Tensor:
        """What the level above gives when each row is fed several places, (r, n, d)."""
        assert self.above is not None and state.above is not None
        out = torch.empty_like(x)
        for i, row in enumerate(rows.tolist()):
            patch, count = self._ended(x[i], state.pooled, row, border[i])
            given = state.given[row : row + 1]
            if len(patch):
                states = self.above.step(patch[None], state.above, rows[i : i + 1])
                given = torch.cat([given, self.from_patch(norm(states[0]))])
            out[i] = given[count]
            state.given[row] = given[-1]
        return out

    def _ended(self, x: Tensor, open_: Tensor, row: int, border: Tensor) -> tuple[Tensor, Tensor]:
        """The patches that end in new places of one row.

        Args:
            x: (n, d), new places.
            open_: (b, d), sums over the open patches; that of the row is brought up to date.
            row: the row.
            border: (n,) bool.

        Returns:
            (k, g), what the level above is told; (n,), how many have ended by each place.
        """
        count = border.cumsum(0)
        k = int(count[-1])
        pooled = x.new_zeros(k + 1, self.dim).index_add(0, count - border.long(), x)
        pooled[0] += open_[row]
        open_[row] = pooled[k]
        return self._patch(x[border], pooled[:k]), count
