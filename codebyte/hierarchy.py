"""Levels over levels: bytes below, patches above, each byte seeing all that came before it.

Unlike the paper's (see paper.py), the byte level here is not cut at patch borders: its layers run
over the whole row, a patch is read from the byte layers at its border, and its state is given to
every byte from that border until the next (SpaceByte, arXiv:2404.14408; H-Net, arXiv:2507.07955).

    ids -> ByteInputs -> encoder -> borders -> the level above -> decoder -> logits

Axes: b batch, r rows, n places, k patches, d width of this level, g width of the level above, v
vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codebyte.caches import KVCache, Tail
from codebyte.config import LevelConfig, ModelConfig
from codebyte.fewbytes import MOST, FewBytes, Tried
from codebyte.inputs import ByteInputs, History
from codebyte.layers import Stack, in_pieces, norm
from codebyte.patching import borders, patches, previous, word_ends
from codebyte.views import Viewed
from codebyte.vocab import EOT


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

    def patch_states(self, x: Tensor, natural: Tensor | None = None) -> Tensor:
        """The states of the level above for each patch, (b, k, g): what to pool embeddings of."""
        return self._above(self.encoder(x), natural)[0]

    def forward(self, x: Tensor, natural: Tensor | None = None) -> Tensor:
        """Runs whole rows.

        Args:
            x: (b, n, d).
            natural: (b, n) bool, where patches should end; None lets them end every patch_size
            places.
        """
        x = self.encoder(x)
        if self.above is not None:
            x = x + self._above(x, natural)[1]
        return self.decoder(x)

    def _above(self, x: Tensor, natural: Tensor | None) -> tuple[Tensor, Tensor]:
        """The states of the level above, (b, k, g), and what they give each place, (b, n, d)."""
        assert self.above is not None
        b, n, _ = x.shape
        if natural is None:
            natural = torch.zeros(b, n, dtype=torch.bool, device=x.device)
        start = torch.full((b,), -1, device=x.device)
        border, distance = borders(natural, self.patch_size, start)
        layout = patches(border, distance, self.patch_size)
        k = layout.ends.shape[1]
        row = torch.arange(b, device=x.device)[:, None]
        flat = x.reshape(b * n, -1)
        pooled = flat.new_zeros(b * (k + 1), flat.shape[1])
        pooled = pooled.index_add(0, (layout.own + row * (k + 1)).flatten(), flat)
        pooled = pooled.view(b, k + 1, -1)[:, :k]
        last = flat.index_select(0, (layout.ends + row * n).flatten()).view(b, k, -1)
        states = self.above(self._patch(last, pooled))
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


@dataclass
class ContextState(Viewed):
    """What the whole model must remember to go on."""

    history: History
    level: LevelState
    logits: Tensor  # (b, v), of the next id of each row

    @property
    def length(self) -> Tensor:
        """(b,), ids fed so far."""
        return self.history.length - 1  # the implied start is not counted

    def snapshot(self) -> "ContextState":
        """Gives a copy to go back to; it shares the big caches.

        Going back makes snapshots taken later unusable, since their caches are written over.
        """
        return ContextState(self.history.snapshot(), self.level.snapshot(), self.logits.clone())


class ContextWiring(nn.Module):
    """The hierarchy from ids to logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = ByteInputs(config)
        self.levels = Level(config.levels)
        self.head = nn.Linear(config.levels[0].dim, config.vocab_size, bias=False)
        self.recompute = False  # see `layers.set_recompute`
        self._few_bytes: FewBytes | None = None

    def _plain(self) -> bool:
        """Whether NumPy can stand in for torch: float32 on the CPU, and no gradient wanted."""
        weight = self.head.weight
        plain = weight.dtype == torch.float32 and weight.device.type == "cpu"
        return plain and not torch.is_grad_enabled()

    def _natural(self, ids: Tensor, before: Tensor) -> Tensor | None:
        return word_ends(ids, before) if self.config.patching == "word" else None

    def _logits(self, x: Tensor) -> Tensor:
        logits = self.head(norm(x))
        cap = self.config.softcap
        return cap * torch.tanh(logits / cap) if cap else logits

    def forward(self, ids: Tensor, *, ahead: bool = True) -> Tensor:
        """Gives the logits of each id and, if `ahead`, of the one that would follow.

        Args:
            ids: (b, t) int64.

        Returns:
            (b, t + 1, v), or (b, t, v) without `ahead`.
        """
        return self._logits(self._states(ids, ahead))

    def losses(self, ids: Tensor) -> Tensor:
        """Surprise of each id in nats, (b, t) float32; with `recompute` in little memory."""
        if self.recompute and torch.is_grad_enabled():
            return in_pieces(self._surprise, self._states(ids, False), ids)
        return self._surprise(self._states(ids, False), ids)

    def _surprise(self, states: Tensor, ids: Tensor) -> Tensor:
        logits = self._logits(states).flatten(0, 1).float()
        return F.cross_entropy(logits, ids.flatten(), reduction="none").view(ids.shape)

    def _states(self, ids: Tensor, ahead: bool) -> Tensor:
        """The bytes' last states, (b, t + 1, d), or (b, t, d) without `ahead`."""
        ids = torch.cat(
            [ids.new_full((ids.shape[0], 1), EOT), ids if ahead else ids[:, :-1]], dim=1
        )
        return self.levels(self.inputs(ids), self._natural(ids, previous(ids, EOT)))

    def patch_states(self, ids: Tensor) -> Tensor:
        """The states of the first level above the bytes, (b, k, g), without decoding to bytes."""
        ids = torch.cat([ids.new_full((ids.shape[0], 1), EOT), ids], dim=1)
        return self.levels.patch_states(self.inputs(ids), self._natural(ids, previous(ids, EOT)))

    def init_state(self, batch: int) -> ContextState:
        """Gives the state in which nothing was fed but the implied start."""
        state = ContextState(
            self.inputs.init_history(batch),
            self.levels.init_state(batch),
            torch.zeros(batch, self.config.vocab_size, device=self.head.weight.device),
        )
        start = torch.full((batch, 1), EOT, device=self.head.weight.device)
        self.step(start, state, torch.arange(batch))
        return state

    def step(self, ids: Tensor, state: ContextState, rows: Tensor) -> Tensor:
        """(r, n) ids that follow the state of these rows -> (r, n, v), of the id after each."""
        if ids.shape[0] == 1 and 0 < ids.shape[1] <= MOST and self._plain():
            return self._few().step(ids[0].tolist(), state, int(rows))
        natural = self._natural(ids, previous(ids, self._last(state, rows)))
        x = self.levels.step(self.inputs.step(ids, state.history, rows), state.level, rows, natural)
        logits = self._logits(x)
        state.logits[rows] = logits[:, -1].float()
        return logits

    def try_(self, ids: Sequence[int], state: ContextState, row: int = 0) -> Tried | None:
        """Feeds a few ids to one row that may be taken back; None where torch has to do it."""
        if not 0 < len(ids) <= MOST or not self._plain():
            return None
        return self._few().try_(ids, state, row)

    def _few(self) -> FewBytes:
        if self._few_bytes is None or not self._few_bytes.up_to_date():
            self._few_bytes = FewBytes(self)
        return self._few_bytes

    def patch_step(self, ids: Tensor, state: ContextState) -> tuple[Tensor, Tensor]:
        """Feeds a state of one row without decoding to bytes; for a state fed by nothing else.

        Args:
            ids: (1, n) that follow.
            state: changed in place; its logits are of no use.

        Returns:
            (k,) places among the n where patches ended, and their states, (k, g).
        """
        rows = torch.zeros(1, dtype=torch.int64)
        natural = self._natural(ids, previous(ids, self._last(state, rows)))
        x = self.inputs.step(ids, state.history, rows)
        return self.levels.patch_step(x, state.level, rows, natural)

    def _last(self, state: ContextState, rows: Tensor) -> Tensor:
        """The last id of each row, (r,); EOT before the first."""
        history = state.history
        if not history.ids.shape[1]:
            return history.ids.new_full((len(rows),), EOT)
        length = history.length[rows]
        last = history.ids[rows, (length - history.dropped[rows] - 1).clamp(min=0)]
        return torch.where((length > 0).to(last.device), last, EOT)
