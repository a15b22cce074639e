"""Megabyte: the model, whichever its wiring, and what everything else asks of it.

Logits are counted like the ids they are of: `forward(ids)[:, i]` is the distribution of `ids[:, i]`
given the ids before it, and the last one, at i = t, of the id that would follow. The row start is
an implied EOT, so the first id has a trained distribution and the empty prompt is not special.

Axes: b batch, r rows, t and n ids, v vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codebyte.config import ModelConfig
from codebyte.errors import InputError
from codebyte.hierarchy import ContextState, ContextWiring
from codebyte.hub import HubMixin
from codebyte.layers import Attention, FeedForward
from codebyte.lucidrains import LucidrainsState, LucidrainsWiring
from codebyte.paper import PaperState, PaperWiring
from codebyte.vocab import PAD

State = ContextState | PaperState | LucidrainsState
_WIRINGS: dict[str, type[ContextWiring] | type[PaperWiring] | type[LucidrainsWiring]]
_WIRINGS = {"context": ContextWiring, "paper": PaperWiring, "lucidrains": LucidrainsWiring}


class Megabyte(nn.Module, HubMixin):
    """A hierarchical language model over bytes (Yu et al. 2023, arXiv:2305.07185)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.wiring: ContextWiring | PaperWiring | LucidrainsWiring
        self.wiring = _WIRINGS[config.wiring](config)
        self.apply(_initialise)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, ids: Tensor) -> Tensor:
        """Gives (b, t + 1, v) logits for (b, t) ids of any integer type.

        Raises:
            InputError: if ids is not two-dimensional.
        """
        return self.wiring(self._ids(ids))

    def loss(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean surprise in nats over all ids that are not PAD, the first included.

        Args:
            ids: (b, t).
            mask: (b, t) bool; where given, only its True places count.
        """
        return self.losses(ids, mask).sum() / self.counted(ids, mask).sum().clamp(min=1)

    def losses(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Surprise of each id in nats, (b, t) float32; 0 where it does not count."""
        ids = self._ids(ids)
        if isinstance(self.wiring, ContextWiring):
            return self.wiring.losses(ids) * self.counted(ids, mask)
        logits = self.wiring(ids, ahead=False)
        losses = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten(), reduction="none")
        return losses.view(ids.shape) * self.counted(ids, mask)

    @staticmethod
    def counted(ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Which ids count in the loss, (b, t) bool."""
        return ids != PAD if mask is None else (ids != PAD) & mask.to(ids.device)

    def patch_states(self, ids: Tensor) -> Tensor:
        """The states of the first level above the bytes, (b, k, g), without decoding to bytes."""
        return self.wiring.patch_states(self._ids(ids))

    def init_state(self, batch: int = 1) -> State:
        """Gives the state of `batch` rows in which nothing was fed."""
        return self.wiring.init_state(batch)

    def step(self, ids: Tensor, state: State, rows: Tensor | None = None) -> Tensor:
        """Feeds n more ids to each row, or to the rows named.

        Args:
            ids: (r, n), n at least 1.
            state: of `init_state`; changed in place.
            rows: (r,) int64 or None for all.

        Returns:
            (r, n, v) logits; [:, i] of the id after the i-th of these.
        """
        ids = self._ids(ids)
        if rows is None:
            rows = torch.arange(ids.shape[0])
        return self.wiring.step(ids, state, rows)  # type: ignore[arg-type]

    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters())

    def _ids(self, ids: Tensor) -> Tensor:
        if ids.ndim != 2 or ids.is_floating_point():
            raise InputError(
                f"ids of shape {tuple(ids.shape)} must be integers of shape (batch, length)"
            )
        return ids.to(device=self.device, dtype=torch.int64)


def _initialise(module: nn.Module) -> None:
    """Small random weights; what adds to the residual stream starts at nothing."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.5 / math.sqrt(module.in_features))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.1)
    if isinstance(module, FeedForward):
        nn.init.zeros_(module.down.weight)
    if isinstance(module, Attention):
        nn.init.zeros_(module.to_out.weight)
    if isinstance(module, ContextWiring) and hasattr(module.inputs, "table"):
        nn.init.zeros_(module.inputs.table.weight)
        nn.init.zeros_(module.inputs.match.weight) if hasattr(module.inputs, "match") else None
