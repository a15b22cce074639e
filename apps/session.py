"""One loaded model and all who ask it: a cache of the text for each, and turns at the model."""

import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from codebyte.apps.caches import Caches
from codebyte.apps.mixers import Mixers
from codebyte.apps.scheduler import MOST_CLIENTS, Queue, Turn, Turns
from codebyte.checkpoint import load
from codebyte.config import SamplingParams
from codebyte.megabyte import Megabyte
from codebyte.memory import give_back_now
from codebyte.mixing import Mixer
from codebyte.scoring import surprisal
from codebyte.tasks.completion import Completer, Completion, How, Piece
from codebyte.tasks.recalled import recalled

GATHERED = 0.01  # seconds of writing that go out as one piece, once there is a first one
Items = Generator[Piece | Completion, None, None]

_WARM_UP = b"def add(a, b):\n    return a + b\n\n\n" * 32  # more than is fed at once


class Session:
    """What the page and the API share; safe to use from many threads."""

    def __init__(self, checkpoint: str | PathLike[str] | None = None) -> None:
        self.checkpoint = checkpoint
        self.model = load(checkpoint)
        self.queue = Queue()
        self.caches = Caches(self.model)
        self._turns = Turns()
        self.mixers = Mixers(self._turns)
        self._newest: OrderedDict[str, threading.Event] = OrderedDict()  # cancel flags by client
        self._lock = threading.Lock()  # of the names
        self._scoring = threading.Lock()

    def warm_up(self) -> None:
        """Completes once, so that the first person to ask does not pay for what is set up late."""
        _warm_up(self.model)

    def use(self, model: Megabyte) -> None:
        """Answers with another model from now on; what is under way ends with the one it has.

        The old one's memory is free once nobody has it any more.
        """
        _warm_up(model)
        self.model, self.caches = model, Caches(model)
        give_back_now()

    def describe(self) -> str:
        """The model in a few words, for people."""
        count = self.model.num_parameters()
        size = f"{count / 1e6:.1f}M" if count >= 1_000_000 else f"{count / 1e3:.0f}k"
        return f"{size} parameters on {self.model.device.type.upper()}"

    def complete(
        self,
        client: str,
        prefix: bytes,
        suffix: bytes = b"",
        *,
        replaces: bool = True,
        repo: str | None = None,
        alone: bool = False,
        cancel: threading.Event,
        **how: Unpack[How],
    ) -> Items:
        """Streams a completion for an editor, of the length and shape that the code wants.

        Args:
            client: any name; clients take turns.
            prefix: the text before the caret.
            suffix: the text after it.
            replaces: whether it ends what is still under way for the same client.
            repo: the name of the file's repository, if it is known.
            alone: whether to leave the repository's other files out (see mixers.py).
            cancel: set it to stop between two bytes.
            **how: as for `Completer.stream`; the waiting is part of max_seconds.

        Returns:
            A generator of pieces, and last the Completion, unless cancelled.
        """
        if replaces:
            self._end_older(client, cancel)
        return self._stream(client, prefix, suffix, cancel, repo, alone, how)

    def generate(
        self,
        prefix: bytes,
        suffix: bytes,
        params: SamplingParams,
        *,
        client: str = "somebody",
        alone: bool = True,
        tries: int = 1,
        cancel: threading.Event,
    ) -> Items:
        """Streams what follows a prefix, with none of the rules there are for an editor.

        Args:
            prefix: the prompt.
            suffix: what should follow; may be empty.
            params: how to choose and when to stop.
            client: whose turn it takes.
            alone: whether to leave the served repository's files out.
            tries: as for `Completer.stream`.
            cancel: set it to stop between two bytes.

        Returns:
            A generator of pieces, and last the Completion, unless cancelled.
        """
        most = params.max_new_bytes
        how: How = {"max_new_bytes": most, "sampling": params, "raw": True, "tries": tries}
        return self._stream(client, prefix, suffix, cancel, None, alone, how)

    def alternatives(
        self,
        client: str,
        prefix: bytes,
        suffix: bytes = b"",
        *,
        path: str | None = None,
        repo: str | None = None,
        alone: bool = False,
        cancel: threading.Event,
    ) -> list[Completion]:
        """Several rests of a line, the best one first; the arguments are those of `complete`."""
        self._end_older(client, cancel)
        path = self.mixers.named(path, repo)
        with self._served(client, prefix, suffix, path, repo, alone, cancel) as served:
            found = served.completer.alternatives(
                prefix, suffix, path=path, cancel=served.cancelled, mixer=served.mixer
            )
            return [served.with_recalled(prefix, done) for done in found]

    def score(self, data: bytes) -> NDArray[np.float32]:
        """Bits per byte, (len(data),). One text at a time; completions go on meanwhile."""
        with self._scoring:
            return surprisal(self.model, data)

    def _stream(
        self,
        client: str,
        prefix: bytes,
        suffix: bytes,
        cancel: threading.Event,
        repo: str | None,
        alone: bool,
        how: How,
    ) -> Items:
        how["path"] = path = self.mixers.named(how.get("path"), repo)
        began = time.monotonic()
        with self._served(client, prefix, suffix, path, repo, alone, cancel) as served:
            if (most := how.get("max_seconds")) is not None:
                how["max_seconds"] = most - (time.monotonic() - began)
            stream = served.completer.stream(
                prefix, suffix, cancel=served.cancelled, mixer=served.mixer, **how
            )
            seconds = 0.0  # of the first byte nobody waits for another
            while served.turn.held and not cancel.is_set():
                items = _gathered(stream, seconds)
                if not items or cancel.is_set():
                    return
                if isinstance(last := items[-1], Completion):
                    items[-1] = served.with_recalled(prefix, last)
                served.turn.wrote()
                served.turn.pass_on()
                yield from items
                if isinstance(last, Completion):
                    return
                seconds = GATHERED
                served.turn.take()

    @contextmanager
    def _served(
        self,
        client: str,
        prefix: bytes,
        suffix: bytes,
        path: str | None,
        repo: str | None,
        alone: bool,
        cancel: threading.Event,
    ) -> Iterator["_Served"]:
        with (
            self.caches.taken(client, prefix, suffix, path, cancel) as cache,
            self.mixers.lent(path, repo, alone=alone) as mixer,
            self._turns.turn(client, cancel, cache.unread) as turn,
        ):
            yield _Served(cache.completer, mixer, turn, cancel)

    def _end_older(self, client: str, cancel: threading.Event) -> None:
        with self._lock:
            older = self._newest.pop(client, None)
            self._newest[client] = cancel
            if len(self._newest) > MOST_CLIENTS:
                self._newest.popitem(last=False)
        if older is not None:
            older.set()


def _warm_up(model: Megabyte) -> None:
    Completer(model).complete(_WARM_UP, b"\n", path="add.py", max_new_bytes=8)


@dataclass(frozen=True, slots=True)
class _Served:
    """What one request has while it is at the model."""

    completer: Completer
    mixer: Mixer | None
    turn: Turn
    cancel: threading.Event

    def cancelled(self) -> bool:
        """Asked between bytes; lets others go first, too."""
        self.turn.pause()
        return self.cancel.is_set()

    def with_recalled(self, prefix: bytes, done: Completion) -> Completion:
        """The completion with the lines of the repository that it repeats."""
        if self.mixer is None:
            return done
        return replace(done, recalled=tuple(recalled(self.mixer, prefix, done.text)))


def _gathered(stream: Iterator[Piece | Completion], seconds: float) -> list[Piece | Completion]:
    """What comes within so many seconds, at least one item; pieces joined to one."""
    pieces: list[Piece] = []
    end = time.perf_counter() + seconds
    for item in stream:
        if isinstance(item, Completion):
            return [*_joined(pieces), item]
        pieces.append(item)
        if time.perf_counter() >= end:
            break
    return _joined(pieces)


def _joined(pieces: list[Piece]) -> list[Piece | Completion]:
    if not pieces:
        return []
    text = b"".join(piece.text for piece in pieces)
    return [Piece(text, np.concatenate([piece.bits for piece in pieces]))]
