"""One loaded model and all who ask it: a cache of the text for each, and turns at the model."""

import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import replace
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from codebyte.apps.caches import Caches
from codebyte.apps.mixers import Mixers
from codebyte.apps.scheduler import MOST_CLIENTS, Queue, Turns
from codebyte.checkpoint import load
from codebyte.config import SamplingParams
from codebyte.scoring import surprisal
from codebyte.tasks.completion import Completer, Completion, Piece
from codebyte.tasks.recalled import recalled

GATHERED = 0.01  # seconds of writing that go out as one piece, once there is a first one
Items = Generator[Piece | Completion, None, None]

_WARM_UP = b"def add(a, b):\n    return a + b\n\n\n" * 32  # more than is fed at once


class Session:
    """What the page and the API share; safe to use from many threads."""

    def __init__(self, checkpoint: str | PathLike[str] | None = None) -> None:
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
        Completer(self.model).complete(_WARM_UP, b"\n", path="add.py", max_new_bytes=8)

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
        path: str | None = None,
        max_new_bytes: int | None = None,
        multiline: bool | None = None,
        max_seconds: float | None = None,
        sampling: SamplingParams | None = None,
        replaces: bool = True,
        repo: str | None = None,
        alone: bool = False,
        cancel: threading.Event,
    ) -> Items:
        """Streams a completion for an editor, of the length and shape that the code wants.

        Args:
            client: any name; clients take turns.
            prefix: the text before the caret.
            suffix: the text after it.
            path: the file's name, which the model reads too.
            max_new_bytes: the longest completion.
            multiline: whether it may have several lines; None to decide by the code.
            max_seconds: ends it after this time, waiting included.
            sampling: temperature, top-k, top-p, seed and stop strings; None for greedy.
            replaces: whether it ends what is still under way for the same client.
            repo: the name of the file's repository, if it is known.
            alone: whether to leave the repository's other files out (see mixers.py).
            cancel: set it to stop between two bytes.

        Returns:
            A generator of pieces, and last the Completion, unless cancelled.
        """
        if replaces:
            self._end_older(client, cancel)
        return self._stream(
            client,
            prefix,
            suffix,
            cancel,
            path=path,
            max_new_bytes=max_new_bytes,
            multiline=multiline,
            max_seconds=max_seconds,
            sampling=sampling,
            repo=repo,
            alone=alone,
        )

    def generate(
        self,
        prefix: bytes,
        suffix: bytes,
        params: SamplingParams,
        *,
        client: str = "somebody",
        alone: bool = True,
        cancel: threading.Event,
    ) -> Items:
        """Streams what follows a prefix, with none of the rules there are for an editor.

        Args:
            prefix: the prompt.
            suffix: what should follow; may be empty.
            params: how to choose and when to stop.
            client: whose turn it takes.
            alone: whether to leave the served repository's files out.
            cancel: set it to stop between two bytes.

        Returns:
            A generator of pieces, and last the Completion, unless cancelled.
        """
        most = params.max_new_bytes
        return self._stream(
            client,
            prefix,
            suffix,
            cancel,
            max_new_bytes=most,
            sampling=params,
            raw=True,
            alone=alone,
        )

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
        with (
            self.caches.taken(client, prefix, suffix, path, cancel) as cache,
            self.mixers.lent(path, repo, alone=alone) as mixer,
            self._turns.turn(client, cancel, cache.unread) as turn,
        ):

            def cancelled() -> bool:
                turn.pause()  # asked between bytes
                return cancel.is_set()

            found = cache.completer.alternatives(
                prefix, suffix, path=path, cancel=cancelled, mixer=mixer
            )
            if mixer is None:
                return found
            return [
                replace(done, recalled=tuple(recalled(mixer, prefix, done.text))) for done in found
            ]

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
        *,
        path: str | None = None,
        max_new_bytes: int | None = None,
        multiline: bool | None = None,
        max_seconds: float | None = None,
        sampling: SamplingParams | None = None,
        raw: bool = False,
        repo: str | None = None,
        alone: bool = False,
    ) -> Items:
        path = self.mixers.named(path, repo)
        with (
            self.caches.taken(client, prefix, suffix, path, cancel) as cache,
            self.mixers.lent(path, repo, alone=alone) as mixer,
            self._turns.turn(client, cancel, cache.unread) as turn,
        ):

            def cancelled() -> bool:
                turn.pause()  # asked between bytes
                return cancel.is_set()

            stream = cache.completer.stream(
                prefix,
                suffix,
                path=path,
                max_new_bytes=max_new_bytes,
                multiline=multiline,
                cancel=cancelled,
                max_seconds=max_seconds,
                sampling=sampling,
                raw=raw,
                mixer=mixer,
            )
            seconds = 0.0  # of the first byte nobody waits for another
            while turn.held and not cancel.is_set():
                items = _gathered(stream, seconds)
                if not items or cancel.is_set():
                    return
                if mixer is not None and isinstance(items[-1], Completion):
                    found = recalled(mixer, prefix, items[-1].text)
                    items[-1] = replace(items[-1], recalled=tuple(found))
                turn.wrote()
                turn.pass_on()
                yield from items
                seconds = GATHERED
                turn.take()

    def _end_older(self, client: str, cancel: threading.Event) -> None:
        with self._lock:
            older = self._newest.pop(client, None)
            self._newest[client] = cancel
            if len(self._newest) > MOST_CLIENTS:
                self._newest.popitem(last=False)
        if older is not None:
            older.set()


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
