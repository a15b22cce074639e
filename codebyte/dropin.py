"""MEGABYTE and TerraByte as their READMEs use them: this package's model in the paper's wiring.

Sequences given per level (dim, depth, max_seq_len) go from the coarsest to the finest, as in both
READMEs and unlike `ModelConfig`. Unlike in the packages of those names, the first id of a patch is
predicted from all ids before it, the empty prompt has the distribution that was trained, and
generating goes through caches.

Axes: b batch, t ids, n p ... shape of a full input (`max_seq_len`), v vocabulary.
"""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codebyte.caches import KVCache, Tail
from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import ConfigError
from codebyte.layers import Stack
from codebyte.megabyte import Megabyte
from codebyte.paper import PaperLevel, PaperWiring


class DropInError(ConfigError, ValueError):
    """A setting or an input that `MEGABYTE` cannot work with."""


class MEGABYTE(nn.Module):
    """A language model over ids of any kind, in patches of fixed size.

    `model` inside is a `Megabyte`. A state dict of MEGABYTE-pytorch does not fit it: read one with
    `codebyte.lucidrains_weights.from_lucidrains`.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        dim: int | Sequence[int],
        depth: Sequence[int],
        max_seq_len: Sequence[int],
        dim_head: int = 64,
        heads: int = 8,
        attn_dropout: float = 0.0,
        ff_mult: int = 4,
        ff_dropout: float = 0.0,
        pad_id: int = 0,
        rel_pos: bool = False,
        pos_emb: bool = False,
        flash_attn: bool = False,
    ) -> None:
        """Makes a model with random weights.

        Args:
            num_tokens: ids go from 0 to this, exclusive.
            dim: width of each level, or of all.
            depth: blocks of each level.
            max_seq_len: patches in the longest input, then places in a patch of each level below.
            dim_head: width of an attention head; even.
            heads: attention heads; together they may be wider or narrower than the level.
            attn_dropout: share of attention weights left out in training.
            ff_mult: hidden width of the feed-forward layers over dim.
            ff_dropout: share of their hidden values left out in training.
            pad_id: an id that does not count in the loss; may lie outside the vocabulary.
            rel_pos: no choice: positions are always rotary.
            pos_emb: adds learned positions.
            flash_attn: no choice: attention always takes the fastest kernel that fits.

        Raises:
            DropInError: a ValueError, for settings that do not go together or are out of range.
        """
        super().__init__()
        dims = (dim,) * len(depth) if isinstance(dim, int) else tuple(dim)
        if not len(dims) == len(depth) == len(max_seq_len) >= 1:
            raise DropInError(
                f"dim {dim}, depth {depth} and max_seq_len {max_seq_len} must be of one length, "
                "with one entry for each level"
            )
        self.stages = len(depth)
        self.max_seq_len = tuple(max_seq_len)
        self.pad_id = pad_id
        if min(self.max_seq_len) < 1:
            raise DropInError(f"max_seq_len {max_seq_len} must be at least 1 at every level")
        try:
            levels = [
                LevelConfig(
                    dim=width,
                    layers=layers,
                    head_dim=dim_head,
                    heads=heads,
                    ff_mult=ff_mult,
                    attn_dropout=attn_dropout,
                    ff_dropout=ff_dropout,
                    patch_size=places,
                )
                for width, layers, places in zip(dims, depth, self.max_seq_len, strict=True)
            ]
            config = ModelConfig(
                levels=tuple(reversed(levels)),
                wiring="paper",
                patching="fixed",
                context=math.prod(self.max_seq_len),
                vocab_size=num_tokens,
                softcap=0.0,
            )
        except ConfigError as error:
            raise DropInError(str(error)) from error
        self.model = Megabyte(config)
        if pos_emb:
            self._add_positions()

    def _add_positions(self) -> None:
        patches, *inner = self.max_seq_len
        sizes = [*reversed(inner), patches + 1]  # one more: what follows a full input
        assert isinstance(self.model.wiring, PaperWiring)
        for level, config, places in zip(
            self.model.wiring.levels, self.model.config.levels, sizes, strict=True
        ):
            assert isinstance(level, PaperLevel)
            level.stack = _PositionedStack(level.stack, config, places)

    def forward(self, ids: Tensor, return_loss: bool = False) -> Tensor:
        """Gives the logits of the ids that follow each, or the mean loss.

        Args:
            ids: (b, t) or (b, n, p, ...) integers of any type. All but the first dimension of the
                second form must be those of `max_seq_len`.
            return_loss: gives the mean over all ids but `pad_id`, the first of each row included,
                in nats; 0 if there is none.

        Returns:
            (b, t, v) or (b, n, p, ..., v), each entry of the id after; (b, 1, v) for empty rows; or
            a scalar.

        Raises:
            DropInError: for ids of another shape or type, or longer than `max_seq_len` allows.
        """
        flat = self._flat(ids)
        if return_loss:
            logits = self.model.wiring(self._known(flat), ahead=False)
            total = F.cross_entropy(
                logits.flatten(0, 1).float(),
                flat.flatten(),
                ignore_index=self.pad_id,
                reduction="sum",
            )
            return total / (flat != self.pad_id).sum().clamp(min=1)
        if not flat.shape[1]:
            return self.forward_empty(flat.shape[0])
        logits = self.model(self._known(flat))[:, 1:]
        return logits.reshape(*ids.shape, logits.shape[-1])

    def forward_empty(self, batch_size: int) -> Tensor:
        """Gives the logits of the first id, (b, 1, v): those the loss trains."""
        empty = torch.zeros(batch_size, 0, dtype=torch.int64)
        logits: Tensor = self.model(empty)
        return logits

    @torch.no_grad()
    def generate(
        self,
        prime: Tensor | None = None,
        filter_thres: float = 0.9,
        temperature: float = 1.0,
        default_batch_size: int = 1,
        *,
        progress: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Samples ids until the input is full; dropout is off meanwhile.

        Args:
            prime: ids to start from, in either form of `forward`; None starts empty.
            filter_thres: share of the vocabulary, the least likely ids, that is never sampled.
            temperature: divides the logits; 0 always takes the likeliest id.
            default_batch_size: rows without a prime.
            progress: shows a progress bar.
            generator: what to draw from; None draws from torch's own.

        Returns:
            (b, *max_seq_len) int64, starting with the prime.

        Raises:
            DropInError: for a prime that `forward` refuses, or settings out of range.
        """
        if not 0.0 <= filter_thres <= 1.0:
            raise DropInError(f"filter_thres {filter_thres} must be from 0 to 1")
        if not temperature >= 0.0:
            raise DropInError(f"temperature {temperature} must not be negative")
        if prime is None:
            prime = torch.zeros(default_batch_size, 0, dtype=torch.int64)
        flat = self._flat(prime)
        batch, start = flat.shape
        ids = flat.new_zeros(batch, math.prod(self.max_seq_len))
        ids[:, :start] = flat
        kept = max(int((1 - filter_thres) * self.model.config.vocab_size), 1)
        training = self.training
        self.eval()
        try:
            state = self.model.init_state(batch)
            if start:
                self.model.step(self._known(flat), state)
            for i in _counted(range(start, ids.shape[1]), progress):
                ids[:, i] = _sample(state.logits, kept, temperature, generator)
                if i + 1 < ids.shape[1]:
                    self.model.step(ids[:, i : i + 1], state)
        finally:
            self.train(training)
        return ids.reshape(batch, *self.max_seq_len)

    def _flat(self, ids: Tensor) -> Tensor:
        """The ids as (b, t) int64, on the model's device."""
        shape, full = tuple(ids.shape), self.max_seq_len
        if ids.is_floating_point() or ids.ndim not in (2, self.stages + 1):
            raise DropInError(
                f"ids of type {ids.dtype} and shape {shape} must be integers of shape "
                f"(batch, length) or (batch, {', '.join(map(str, full))})"
            )
        if ids.ndim > 2 and (shape[1] > full[0] or shape[2:] != full[1:]):
            raise DropInError(f"ids of shape {shape} must fit max_seq_len {full} after the batch")
        if ids[:1].numel() > math.prod(full):
            raise DropInError(
                f"ids of length {shape[1]} must not be longer than max_seq_len {full} allows, "
                f"which is {math.prod(full)}"
            )
        return ids.flatten(1).to(self.model.device, torch.int64)

    def _known(self, flat: Tensor) -> Tensor:
        """The ids with a padding that has no embedding taken for id 0."""
        if 0 <= self.pad_id < self.model.config.vocab_size:
            return flat
        return flat.masked_fill(flat == self.pad_id, 0)


TerraByte = MEGABYTE


class _PositionedStack(Stack):
    """Blocks whose input is told its place by a learned vector."""

    def __init__(self, stack: Stack, config: LevelConfig, places: int) -> None:
        super().__init__(config, layers=0)
        self.blocks = stack.blocks
        self.position = nn.Embedding(places, config.dim)
        nn.init.normal_(self.position.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        return super().forward(x + self.position.weight[: x.shape[1]])

    def step(self, x: Tensor, caches: Sequence[KVCache | Tail], rows: Tensor) -> Tensor:
        """(r, n, d), places that follow what the caches hold -> (r, n, d)."""
        cache = caches[0]
        assert isinstance(cache, KVCache)
        places = cache.length[rows][:, None] + torch.arange(x.shape[1])
        return super().step(x + self.position(places.to(x.device)), caches, rows)


def _sample(
    logits: Tensor, kept: int, temperature: float, generator: torch.Generator | None
) -> Tensor:
    """One id for each row of logits, (b, v) -> (b,), from the `kept` likeliest."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    values, ids = logits.topk(kept)
    chances = (values / temperature).softmax(dim=-1)
    chosen = torch.multinomial(chances, 1, generator=generator)
    return ids.gather(1, chosen)[:, 0]


def _counted(steps: range, progress: bool) -> Iterable[int]:
    if not progress:
        return steps
    from tqdm import tqdm

    counted: Iterable[int] = tqdm(steps)
    return counted
