"""One loaded model and all who ask it: a cache of the text for each, and turns at the model.

Output is decoded piece by piece; between two pieces the turn passes to whoever has waited longest,
so that a long request does not hold up somebody's ghost text.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from codebyte.checkpoint import load
from codebyte.config import SamplingParams
from codebyte.scoring import surprisal
from codebyte.tasks.completion import Completer, Completion, Piece

MOST_CLIENTS = 16  # editors whose caches are kept; the one unused for longest goes first
MOST_IDLE = 4  # caches kept for requests that name no editor
Items = Generator[Piece | Completion, None, None]

_WARM_UP = b"def add(a, b):\n    return "


class Session:
    """What the page and the API share; safe to use from many threads."""

    def __init__(self, checkpoint: str | PathLike[str] | None = None) -> None:
        self.model = load(checkpoint)
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._idle: list[Completer] = []
        self._lock = threading.Lock()  # of the two above
        self._turns = _Turns()
        self._scoring = threading.Lock()

    def warm_up(self) -> None:
        """Completes once, so that the first person to ask does not pay for what is set up late."""
        Completer(self.model).complete(_WARM_UP, max_new_bytes=8)

    def describe(self) -> str:
        """The model in a few words, for people."""
        count = self.model.num_parameters()
        size = f"{count / 1e6:.1f}M" if count >= 100_000 else f"{count / 1e3:.0f}k"
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
        cancel: threading.Event,
    ) -> Items:
        """Streams a completion; a newer one of the same client ends this one.

        Args:
            client: any name; requests under one name share a cache.
            prefix: the text before the caret.
            suffix: the text after it.
            path: the file's name, which the model reads too.
            max_new_bytes: the longest completion.
            multiline: whether it may have several lines; None to decide by the code.
            cancel: set it to stop between two bytes.

        Returns:
            A generator of pieces, and last the Completion, unless cancelled.
        """
        mine = self._newest(client, cancel)

        def pieces() -> Items:
            # An older request of this client ends within a byte and lets go of the completer.
            with mine.busy:
                stream = mine.completer.stream(
                    prefix,
                    suffix,
                    path=path,
                    max_new_bytes=max_new_bytes,
                    multiline=multiline,
                    cancel=cancel.is_set,
                )
                yield from self._in_turns(stream, cancel)

        return pieces()

    def generate(
        self, prefix: bytes, suffix: bytes, params: SamplingParams, *, cancel: threading.Event
    ) -> Items:
        """Streams what follows a prefix, with none of the rules there are for an editor.

        Args:
            prefix: the prompt.
            suffix: what should follow; may be empty.
            params: how to choose and when to stop.
            cancel: set it to stop between two bytes.

        Yields:
            Pieces, and last the Completion, unless cancelled.
        """
        with self._lock:
            completer = self._idle.pop() if self._idle else Completer(self.model)
        try:
            stream = completer.stream(
                prefix,
                suffix,
                max_new_bytes=params.max_new_bytes,
                sampling=params,
                raw=True,
                cancel=cancel.is_set,
            )
            yield from self._in_turns(stream, cancel)
        finally:
            with self._lock:
                self._idle = [*self._idle, completer][-MOST_IDLE:]

    def score(self, data: bytes) -> NDArray[np.float32]:
        """Bits per byte, (len(data),). One text at a time; completions go on meanwhile."""
        with self._scoring:
            return surprisal(self.model, data)

    def _in_turns(
        self, stream: Generator[Piece | Completion, None, object], cancel: threading.Event
    ) -> Items:
        while not cancel.is_set():
            with self._turns.turn():
                item = next(stream, None)
            if item is None:
                return
            yield item

    def _newest(self, name: str, cancel: threading.Event) -> "_Client":
        """The client of that name, whose earlier request is told to end."""
        with self._lock:
            client = self._clients.pop(name, None) or _Client(Completer(self.model))
            self._clients[name] = client
            if len(self._clients) > MOST_CLIENTS:
                self._clients.popitem(last=False)
            client.newest.set()
            client.newest = cancel
            return client


class _Client:
    """One editor: its completer, with what it remembers of the text, and its newest request."""

    def __init__(self, completer: Completer) -> None:
        self.completer = completer
        self.busy = threading.Lock()
        self.newest = threading.Event()  # the cancel flag of the newest request


class _Turns:
    """A lock that is given to those who wait in the order they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for the turn, and passes it on at the end."""
        mine = threading.Event()
        with self._lock:
            if self._taken:
                self._waiting.append(mine)
            else:
                self._taken = True
                mine.set()
        mine.wait()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._taken = False
