"""Other uses of the same levels: from one text to another, and through a narrow code and back.

    Seq2Seq       source -> encoder -> memory, which the decoder's trunk has before its own patches;
                  its byte level sees what followed the same bytes in the source
    Autoencoder   patch of bytes -> a few numbers -> the patch again

Conditional generation without an encoder needs no class of its own: what is given goes first, as in
every prompt, and `Megabyte.loss(ids, mask)` leaves it out of the loss.

Axes: b batch, t ids, k patches, p bytes in a patch, d width, g width of the trunk, z numbers in a
code, v vocabulary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from codebyte.caches import KVCache, Tail
from codebyte.config import LevelConfig, ModelConfig, SamplingParams
from codebyte.decode import generate
from codebyte.errors import ConfigError, InputError
from codebyte.hierarchy import ContextState, ContextWiring
from codebyte.inputs import ByteInputs, History
from codebyte.layers import Stack, norm
from codebyte.megabyte import Megabyte
from codebyte.vocab import EOT, PAD

# Rows of a batch, (r,), and what stands before them, (r, n, ...). As many of them as have the same
# number of places before them go together: none is padded, so that no row depends on others.
Before = list[tuple[Tensor, Tensor]]


class Seq2Seq(nn.Module):
    """Writes a target for a source that it has read whole: documentation to code, bug to fix."""

    def __init__(self, config: ModelConfig) -> None:
        """Makes a model with random weights.

        Args:
            config: of encoder and decoder alike: wiring "context", two levels.

        Raises:
            ConfigError: for another wiring or number of levels.
        """
        super().__init__()
        if config.wiring != "context" or len(config.levels) != 2:
            raise ConfigError(
                f"wiring {config.wiring!r} with {len(config.levels)} levels cannot hold a memory; "
                "it takes wiring 'context' and 2 levels"
            )
        self.config = config
        self.encoder = ContextWiring(config)
        self.encoder.levels.decoder = Stack(config.levels[0], 0)  # what it reads it never spells
        del self.encoder.head
        self.to_memory = nn.Linear(config.levels[1].dim, config.levels[1].dim, bias=False)
        self.decoder = Megabyte(config)
        self._trunk = _WithMemory(config.levels[1])
        assert isinstance(self.decoder.wiring, ContextWiring)
        above = self.decoder.wiring.levels.above
        assert above is not None
        self._trunk.blocks = above.decoder.blocks
        above.decoder = self._trunk
        self._inputs = _AfterSource(config)
        self._inputs.load_state_dict(self.decoder.wiring.inputs.state_dict())
        self.decoder.wiring.inputs = self._inputs

    @contextmanager
    def _given(self, source: Tensor) -> Iterator[None]:
        """While the decoder has this source, (b, t) ids, before its target."""
        ended, length = self._ended(source)
        ends = self.encoder.patch_ends(ended)
        ends &= torch.arange(ends.shape[1], device=ends.device) <= length[:, None]  # not padding's
        self._inputs.source = _together(ended, length)
        self._trunk.memory = _together(self.memory(source), ends.sum(dim=1))
        try:
            yield
        finally:
            self._inputs.source = self._trunk.memory = None

    def memory(self, source: Tensor) -> Tensor:
        """What is kept of a source: (b, t) ids -> (b, k, g), a state for each patch.

        A row with fewer patches than others has states of no meaning after its own.
        """
        return self.to_memory(norm(self.encoder.patch_states(self._ended(source)[0])))

    def _ended(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """(b, t) -> (b, t + 1), each row ended by EOT, which ends its last patch; (b,) lengths."""
        source = source.to(self.decoder.device, torch.int64)
        length = (source != PAD).sum(dim=1)
        ended = F.pad(source, (0, 1), value=PAD).scatter(1, length[:, None], EOT)
        return ended, length + 1

    def loss(self, source: Tensor, target: Tensor) -> Tensor:
        """Mean surprise of the target's ids in nats, PAD left out.

        Args:
            source: (b, s), padded with PAD.
            target: (b, t), each row ended by EOT and padded with PAD.
        """
        with self._given(source):
            return self.decoder.loss(target)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits of the target's ids and the one after: (b, s), (b, t) -> (b, t + 1, v)."""
        with self._given(source):
            return self.decoder(target)

    @torch.inference_mode()
    def init_state(self, source: Tensor) -> ContextState:
        """The decoder's state before the first byte of the target."""
        with self._given(source):
            state = self.decoder.init_state(source.shape[0])
        assert isinstance(state, ContextState)
        return state

    def generate(self, source: bytes, params: SamplingParams) -> Iterator[bytes]:
        """Gives the target for a source, bytes as they come, as many as a context has room for.

        Raises:
            InputError: if the source leaves no room.
        """
        room = self.config.context - len(source) - 3  # the source's end, the start, one to come
        if room < 1:
            raise InputError(
                f"a source of {len(source)} bytes leaves no room in a context of "
                f"{self.config.context}"
            )
        params = replace(params, max_new_bytes=min(params.max_new_bytes, room))
        state = self.init_state(torch.tensor([list(source)], dtype=torch.int64))
        yield from generate(self.decoder, b"", params, state=state)


def _together(places: Tensor, counts: Tensor) -> Before:
    """The first places of each row, as many of (b, n, ...) as the (b,) counts say."""
    found = []
    for count in counts.unique().tolist():
        rows = (counts == count).nonzero()[:, 0]
        found.append((rows.cpu(), places[rows, :count]))
    return found


def _behind(function: Callable[[Tensor], Tensor], before: Before, x: Tensor) -> Tensor:
    """What a function of whole rows gives for (b, n, ...) places that stand behind others."""
    found = [
        function(torch.cat([first, x[rows]], dim=1))[:, first.shape[1] :] for rows, first in before
    ]
    return torch.cat(found)[torch.cat([rows for rows, _ in before]).argsort()]


class _WithMemory(Stack):
    """The trunk's blocks, with places before the first that are a memory's."""

    def __init__(self, config: LevelConfig) -> None:
        super().__init__(config, layers=0)
        self.memory: Before | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, g) -> (b, n, g)."""
        if self.memory is None:
            return super().forward(x)
        return _behind(super().forward, self.memory, x)

    def init_cache(self, batch: int) -> list[KVCache | Tail]:
        """Gives the caches of a sequence that holds the memory only."""
        caches = super().init_cache(batch)
        for rows, memory in self.memory or []:
            self.step(memory, caches, rows)
        return caches


class _AfterSource(ByteInputs):
    """A target's inputs, whose n-grams and matches reach back into a source."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.source: Before | None = None

    def rows(self, ids: Tensor) -> Tensor:
        """(b, t) -> (b, t, c)."""
        if self.source is None:
            return super().rows(ids)
        return _behind(super().rows, self.source, ids)

    def init_history(self, batch: int) -> History:
        """Gives the history of a target that has not begun."""
        history = super().init_history(batch)
        for rows, source in self.source or []:
            self.step(source, history, rows)
        return history


class Autoencoder(nn.Module):
    """Squeezes every patch of bytes into a few numbers from which it can be written again."""

    def __init__(self, config: LevelConfig, code: int, vocab_size: int = 256) -> None:
        """Makes a model with random weights.

        Args:
            config: of the blocks on either side; `patch_size` bytes make a code.
            code: numbers in a code, z.
            vocab_size: ids, from 0.
        """
        super().__init__()
        if code < 1:
            raise ConfigError(f"code {code} must be at least 1 number")
        self.patch_size = config.patch_size
        self.embed = nn.Embedding(vocab_size, config.dim)
        self.encoder = Stack(config, config.layers)
        self.to_code = nn.Linear(config.patch_size * config.dim, code)
        self.from_code = nn.Linear(code, config.patch_size * config.dim)
        self.decoder = Stack(config, config.layers)
        self.head = nn.Linear(config.dim, vocab_size, bias=False)
        for block in [*self.encoder.blocks, *self.decoder.blocks]:
            nn.init.zeros_(block.feed_forward.down.weight)

    def encode(self, ids: Tensor) -> Tensor:
        """(b, k p) ids -> (b, k, z) codes, each from -1 to 1."""
        ids = ids.to(self.embed.weight.device, torch.int64)
        patches = rearrange(ids, "b (k p) -> (b k) p", p=self.patch_size)
        states = self.encoder(self.embed(patches))
        codes = torch.tanh(self.to_code(rearrange(norm(states), "r p d -> r (p d)")))
        return rearrange(codes, "(b k) z -> b k z", b=ids.shape[0])

    def decode(self, codes: Tensor) -> Tensor:
        """(b, k, z) codes -> (b, k p, v) logits of the bytes."""
        places = rearrange(self.from_code(codes), "b k (p d) -> (b k) p d", p=self.patch_size)
        logits = self.head(norm(self.decoder(places)))
        return rearrange(logits, "(b k) p v -> b (k p) v", b=codes.shape[0])

    def loss(self, ids: Tensor) -> Tensor:
        """Mean surprise of the bytes given their patch's code, in nats."""
        logits = self.decode(self.encode(ids))
        return F.cross_entropy(logits.flatten(0, 1), ids.flatten().to(logits.device, torch.int64))

    @torch.inference_mode()
    def reconstruct(self, ids: Tensor) -> Tensor:
        """(b, k p) ids -> (b, k p), the likeliest bytes given the codes alone."""
        return self.decode(self.encode(ids)).argmax(dim=-1)
