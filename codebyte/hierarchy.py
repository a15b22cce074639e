"""The hierarchy from ids to logits: what a byte is known by, levels over levels, and a head.

    ids -> ByteInputs -> Level -> logits

Axes: b batch, r rows, t and n places, k patches, d width of the byte level, g width of the level
above, v vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codebyte.config import ModelConfig
from codebyte.fewbytes import MOST, FewBytes, Tried
from codebyte.inputs import ByteInputs, History
from codebyte.layers import in_pieces, norm
from codebyte.levels import Level, LevelState
from codebyte.patching import Patches, borders, previous, word_ends
from codebyte.views import Viewed
from codebyte.vocab import EOT


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

    def _natural(self, ids: Tensor, before: Tensor) -> Tensor:
        if self.config.patching == "word":
            return word_ends(ids, before)
        return torch.zeros_like(ids, dtype=torch.bool)

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
        return self._logits(self._states(*self.laid_out(ids, ahead)))

    def losses(self, ids: Tensor) -> Tensor:
        """Surprise of each id in nats, (b, t) float32; with `recompute` in little memory."""
        return self.losses_laid_out(*self.laid_out(ids, False), ids)

    def losses_laid_out(self, rows: Tensor, layouts: Sequence[Patches], ids: Tensor) -> Tensor:
        """As `losses`, of ids that were laid out: all of it can be one compiled graph."""
        states = self._states(rows, layouts)
        if self.recompute and torch.is_grad_enabled():
            return in_pieces(self._surprise, states, ids)
        return self._surprise(states, ids)

    def _surprise(self, states: Tensor, ids: Tensor) -> Tensor:
        logits = self._logits(states).flatten(0, 1).float()
        return F.cross_entropy(logits, ids.flatten(), reduction="none").view(ids.shape)

    @torch.no_grad()
    def laid_out(self, ids: Tensor, ahead: bool) -> tuple[Tensor, list[Patches]]:
        """What can be told of ids without any weight: rows of the tables, and the patches."""
        ids = _started(ids if ahead else ids[:, :-1])
        return self.inputs.rows(ids), self.levels.layouts(self._natural(ids, previous(ids, EOT)))

    def _states(self, rows: Tensor, layouts: Sequence[Patches]) -> Tensor:
        """The bytes' last states, (b, t, d)."""
        return self.levels(self.inputs.embed(rows), layouts)

    def patch_states(self, ids: Tensor) -> Tensor:
        """The states of the first level above the bytes, (b, k, g), without decoding to bytes."""
        rows, layouts = self.laid_out(ids, True)
        return self.levels.patch_states(self.inputs.embed(rows), layouts)

    def patch_ends(self, ids: Tensor) -> Tensor:
        """Tells with which ids a patch ends, (b, t + 1) bool, the implied start first."""
        ids = _started(ids)
        natural = self._natural(ids, previous(ids, EOT))
        return borders(natural, self.levels.patch_size, ids.new_full((len(ids),), -1))[0]

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


def _started(ids: Tensor) -> Tensor:
    """(b, t) -> (b, t + 1), with the implied start."""
    return F.pad(ids, (1, 0), value=EOT)
