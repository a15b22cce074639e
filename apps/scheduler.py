"""One model, many who ask: how many may wait, and whose turn it is.

A request is let in or turned away at once (Queue). Those inside take turns at the model (Turns),
a few milliseconds each, client after client: somebody's ghost text never waits for the end of a
long request, and a client with ten requests gets no more of the model than one with a single
request.
"""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from codebyte.errors import CodebyteError

MOST_INSIDE = 24  # requests under way or waiting; well under the 40 worker threads there are
MOST_OF_ONE = 16  # of them, of one client
QUANTUM = 0.005  # seconds at the model, after which others who wait come first


class BusyError(CodebyteError):
    """Too many requests are under way; `seconds` says when to ask again."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class Queue:
    """Counts requests under way, and turns one too many away at once rather than let it wait."""

    def __init__(self, most: int = MOST_INSIDE, of_one: int = MOST_OF_ONE) -> None:
        self._most, self._of_one = most, of_one
        self._lock = threading.Lock()
        self._inside: dict[str, int] = {}
        self._usual = 0.1  # seconds that a request takes, a running mean

    @property
    def inside(self) -> int:
        """How many are under way."""
        with self._lock:
            return sum(self._inside.values())

    def enter(self, client: str) -> "Place":
        """Lets a request in.

        Raises:
            BusyError: if as many as may be are inside, of all or of this client.
        """
        with self._lock:
            count, mine = sum(self._inside.values()), self._inside.get(client, 0)
            if count >= self._most or mine >= self._of_one:
                seconds = max(1, min(60, math.ceil(count * self._usual)))
                whose = "requests" if count >= self._most else "requests of this client"
                raise BusyError(
                    f"{count if count >= self._most else mine} {whose} are under way; "
                    f"ask again in {seconds} s",
                    seconds,
                )
            self._inside[client] = mine + 1
        return Place(self, client)

    def left(self, client: str, seconds: float) -> None:
        """Takes one of this client out, who was inside for so long."""
        with self._lock:
            self._usual += 0.1 * (seconds - self._usual)
            self._inside[client] -= 1
            if not self._inside[client]:
                del self._inside[client]


class Place:
    """One request inside a queue; leaving twice is leaving once."""

    def __init__(self, queue: Queue, client: str) -> None:
        self.client = client
        self._queue: Queue | None = queue
        self._since = time.monotonic()

    def leave(self) -> None:
        """Makes room for another."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.left(self.client, time.monotonic() - self._since)

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()


class Turns:
    """A lock held for a short while at a time, given to the clients who wait one after another."""

    def __init__(self, quantum: float = QUANTUM) -> None:
        self._quantum = quantum
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()
        self._taken = False
        self._since = 0.0

    @contextmanager
    def turn(self, client: str) -> Iterator[None]:
        """Waits for a turn, and passes it on at the end."""
        self._take(client)
        try:
            yield
        finally:
            self._pass_on()

    def pause(self, client: str) -> None:
        """To be called during a turn, often: lets others go first if it has lasted long enough."""
        if self._waiting and time.perf_counter() - self._since > self._quantum:
            self._pass_on()
            self._take(client)

    def _take(self, client: str) -> None:
        mine = None
        with self._lock:
            if self._taken:
                mine = threading.Event()
                self._waiting.setdefault(client, deque()).append(mine)
            self._taken = True
        if mine is not None:
            mine.wait()
        self._since = time.perf_counter()

    def _pass_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._taken = False
                return
            client, requests = next(iter(self._waiting.items()))
            following = requests.popleft()
            if requests:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
        following.set()
