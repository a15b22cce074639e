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

MOST_INSIDE = 32  # requests under way or waiting; well under the 40 worker threads there are
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


class Cancel(threading.Event):
    """A flag that ends a request, and at once where it only waits for its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: threading.Event | None = None

    def set(self) -> None:
        """Raises the flag."""
        super().set()
        waiting = self.waiting
        if waiting is not None:
            waiting.set()


class Turns:
    """A lock held for a short while at a time, given to the clients who wait one after another."""

    def __init__(self, quantum: float = QUANTUM) -> None:
        self.quantum = quantum
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._taken = False

    @contextmanager
    def turn(self, client: str, cancel: threading.Event) -> Iterator["Turn"]:
        """Waits for a turn, and passes it on at the end.

        Args:
            client: who asks.
            cancel: where it is set meanwhile, no turn is waited for; a Cancel ends the waiting.
        """
        turn = Turn(self, client, cancel)
        turn.take()
        try:
            yield turn
        finally:
            turn.pass_on()

    @property
    def wanted(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def take(self, client: str, cancel: threading.Event) -> bool:
        """Waits for the lock; False if cancelled."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            mine = _Waiter()
            self._waiting.setdefault(client, deque()).append(mine)
        if isinstance(cancel, Cancel):
            cancel.waiting = mine.woken
            if cancel.is_set():
                mine.woken.set()
        mine.woken.wait()
        with self._lock:
            if not mine.given:
                requests = self._waiting[client]
                requests.remove(mine)
                if not requests:
                    del self._waiting[client]
            return mine.given

    def pass_on(self) -> None:
        """Gives the lock to the next."""
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
            following.given = True
        following.woken.set()


class Turn:
    """A turn of one request."""

    def __init__(self, turns: Turns, client: str, cancel: threading.Event) -> None:
        self.held = False
        self._turns, self._client, self._cancel = turns, client, cancel
        self._since = 0.0

    def take(self) -> None:
        """Waits for it; it is not held where the request was cancelled meanwhile."""
        self.held = self._turns.take(self._client, self._cancel)
        self._since = time.perf_counter()

    def pause(self) -> None:
        """To be called often: lets others go first if the turn has lasted long enough."""
        late = time.perf_counter() - self._since > self._turns.quantum
        if self.held and late and self._turns.wanted:
            self.pass_on()
            self.take()

    def pass_on(self) -> None:
        """Ends it."""
        if self.held:
            self.held = False
            self._turns.pass_on()


class _Waiter:
    """A place in the line."""

    __slots__ = ("given", "woken")

    def __init__(self) -> None:
        self.given = False
        self.woken = threading.Event()
