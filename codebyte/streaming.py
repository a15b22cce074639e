"""Reading and writing without end: a model over a stream of any length in constant memory.

A model all of whose attention is sparse and whose matches reach back a limited way (see `bounded`)
keeps one state for ever: what it holds stops growing, and positions are exact at any length.
Another model is one of rows of at most its context, and reads a stream as `surprisal` reads a file,
by windows: when its state is full, a new one reads the last half again.

    pipe -> chunks -> Stream.read -> bits of each byte
                      Stream.write -> what may follow
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from codebyte.config import ModelConfig, SamplingParams
from codebyte.decoder import Cancel
from codebyte.errors import InputError
from codebyte.hierarchy import ContextState, ContextWiring
from codebyte.megabyte import Megabyte, State
from codebyte.sampling import Sampler, until_stop
from codebyte.scoring import Buffer
from codebyte.vocab import EOT

PORTION = 8192  # bytes fed at once; by twice as many memory grows with some texts, a tenth sooner
T = TypeVar("T")


def bounded(config: ModelConfig) -> bool:
    """Whether such a model looks back a limited way only, and so needs no windows."""
    attending = [level for level in config.levels if level.mixing == "attention"]
    sparse = all("full" not in level.patterns for level in attending)
    near = config.match_reach > 0 or not (config.matches or config.match_words)
    return config.wiring == "context" and sparse and near


def stream_surprisal(model: Megabyte, chunks: Iterable[Buffer]) -> Iterator[NDArray[np.float32]]:
    """Gives -log2 p of each byte of a stream, as one array for each chunk.

    The values are those of `surprisal` for the whole stream, or, if the model is `bounded`, those
    of one forward pass over it.

    Args:
        model: any Megabyte.
        chunks: consecutive bytes of the stream, in pieces of any size.
    """
    stream = Stream(model)
    for chunk in chunks:
        yield stream.read(chunk)


def stream_states(
    model: Megabyte, chunks: Iterable[Buffer]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Gives for each chunk the patches that ended in it: what to pool embeddings of.

    Args:
        model: a Megabyte of the "context" wiring with at least two levels.
        chunks: consecutive bytes of the stream, in pieces of any size.

    Yields:
        (k,) the place in the stream of each patch's last byte; (k, g) the patch's state.

    Raises:
        InputError: if the model has no patches to stream.
    """
    if model.config.wiring != "context" or len(model.config.levels) == 1:
        raise InputError("patch states can be streamed from wiring 'context' of two levels or more")
    reader = _Reader(model, _patches)
    for chunk in chunks:
        places = [np.empty(0, np.int64)]
        states = [np.empty((0, model.config.levels[1].dim), np.float32)]
        for start, (ended, found) in reader.feed(chunk):
            places.append(start + ended)
            states.append(found)
        yield np.concatenate(places), np.concatenate(states)


class Stream:
    """One stream and a model's state behind what was read or written of it."""

    def __init__(self, model: Megabyte) -> None:
        self._model = model
        self._reader = _Reader(model, _bits)

    @property
    def position(self) -> int:
        """Bytes so far."""
        return self._reader.position

    def read(self, data: Buffer) -> NDArray[np.float32]:
        """Goes on with these bytes; gives -log2 p of each, (len(data),)."""
        bits = [found for _, found in self._reader.feed(data)]
        return np.concatenate([np.empty(0, np.float32), *bits])

    def write(self, params: SamplingParams, *, cancel: Cancel | None = None) -> Iterator[bytes]:
        """Gives what follows, which becomes part of the stream byte by byte.

        Args:
            params: how to choose and when to stop; bytes of a stop string are part of the stream.
            cancel: asked between bytes; True ends the output.
        """
        return until_stop(self._written(params, cancel), params.stop)

    def _written(self, params: SamplingParams, cancel: Cancel | None) -> Iterator[int]:
        choose = Sampler(params)
        for _ in range(params.max_new_bytes):
            if cancel is not None and cancel():
                return
            byte = choose(self._reader.logits())
            if byte == EOT:
                return
            self.read(bytes((byte,)))
            yield byte


class _Reader(Generic[T]):
    """Feeds a state portion by portion; where the model is not bounded, window by window."""

    def __init__(self, model: Megabyte, step: Callable[[Megabyte, Tensor, Any], T]) -> None:
        self.position = 0
        self._model, self._step = model, step
        self._window = None if bounded(model.config) else model.config.context
        self._recent = b""  # what a next window reads again
        self._begin()

    def feed(self, data: Buffer) -> Iterator[tuple[int, T]]:
        """Gives where each portion of the data starts and what the model makes of it."""
        view = memoryview(data).cast("B")
        start = 0
        while start < len(view):
            room = PORTION
            if self._window is not None:
                if self._fed == self._window:
                    self._begin()
                    if self._recent:
                        self._made(self._recent)
                room = min(room, self._window - self._fed)
            part = bytes(view[start : start + room])
            made = self._made(part)
            if self._window is not None:
                self._recent = (self._recent + part)[-(self._window // 2) :]
            start += len(part)
            self.position += len(part)
            yield self.position - len(part), made

    def logits(self) -> NDArray[np.float32]:
        """Of the next id, (v,)."""
        logits: NDArray[np.float32] = self._state.logits[0].float().cpu().numpy()
        return logits

    @torch.inference_mode()
    def _begin(self) -> None:
        self._state: State = self._model.init_state()
        self._fed = 0

    @torch.inference_mode()
    def _made(self, part: bytes) -> T:
        self._fed += len(part)
        ids = torch.frombuffer(bytearray(part), dtype=torch.uint8)[None]
        return self._step(self._model, ids.to(self._model.device, torch.int64), self._state)


def _bits(model: Megabyte, ids: Tensor, state: State) -> NDArray[np.float32]:
    first = state.logits.to(ids.device, copy=True)
    logits = torch.cat([first, model.step(ids, state)[0, :-1].float()])
    losses = F.cross_entropy(logits, ids[0], reduction="none") / math.log(2)
    bits: NDArray[np.float32] = losses.cpu().numpy()
    return bits


def _patches(
    model: Megabyte, ids: Tensor, state: State
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    assert isinstance(model.wiring, ContextWiring) and isinstance(state, ContextState)
    places, states = model.wiring.patch_step(ids, state)
    return places.cpu().numpy(), states.float().cpu().numpy()
