"""One model, many who ask: how many may wait, and whose turn it is.

A request is let in or turned away at once (Queue). Those inside take turns at the model (Turns),
a few milliseconds each: somebody's ghost text never waits for the end of a long request, and a
client with ten requests gets no more of the model than one with a single request.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from codebyte.errors import CodebyteError

MOST_INSIDE = 32  # requests under way or waiting; well under the 40 worker threads there are
MOST_OF_ONE = 16  # of them, of one client
QUANTUM = 0.005  # seconds at the model, after which others who wait may come first
PATIENCE = 0.25  # seconds that a client who has a byte waits for more before it is late
SECONDS_PER_BYTE = 0.0002  # that reading may take: twice what it does on one core
FORGOTTEN = 2.0  # seconds without a request after which a client begins to wait anew
MOST_CLIENTS = 64  # whose waiting is known


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
    """A lock held for a short while at a time; of those who wait, the one due first is next.

    Who has no byte yet is due once its client has waited in proportion to what is to be read: a key
    in a known text goes before a new file, but not for ever. The wait for requests that the client
    gave up counts, so that fast typing sends nobody back to the end. Who writes already is due
    PATIENCE after its client's last turn: first bytes come first, then the clients one by one.
    """

    def __init__(self, quantum: float = QUANTUM) -> None:
        self.quantum = quantum
        self._lock = threading.Lock()
        self._waiting: list[_Waiter] = []
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._taken = False

    @contextmanager
    def turn(self, client: str, cancel: threading.Event, to_read: int = 0) -> Iterator["Turn"]:
        """The turns of a request, the first of which is waited for.

        Args:
            client: who asks.
            cancel: where it is set meanwhile, no turn is waited for; a Cancel ends the waiting.
            to_read: bytes to be read before the first one can be written.
        """
        with self._lock:
            asking = self._clients.setdefault(client, _Client())
            self._clients.move_to_end(client)
            if len(self._clients) > MOST_CLIENTS:
                self._clients.popitem(last=False)
            asking.begin(time.perf_counter())
        turn = Turn(self, asking, cancel, SECONDS_PER_BYTE * to_read)
        turn.take()
        try:
            yield turn
        except BaseException:
            turn.end(answered=False)
            raise
        turn.end(answered=not cancel.is_set())

    @property
    def wanted(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def take(self, turn: "Turn", cancel: threading.Event) -> bool:
        """Waits for the lock; False if cancelled."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            mine = _Waiter(turn)
            self._waiting.append(mine)
        if isinstance(cancel, Cancel):
            cancel.waiting = mine.woken
            if cancel.is_set():
                mine.woken.set()
        mine.woken.wait()
        with self._lock:
            if not mine.given:
                self._waiting.remove(mine)
            return mine.given

    def pass_on(self) -> None:
        """Gives the lock to the next."""
        with self._lock:
            if not self._waiting:
                self._taken = False
                return
            following = min(self._waiting, key=lambda waiter: waiter.turn.due)
            self._waiting.remove(following)
            following.given = True
        following.woken.set()

    def is_due(self, due: float) -> bool:
        """Whether anybody waits who is due before then."""
        with self._lock:
            return any(waiter.turn.due < due for waiter in self._waiting)


class Turn:
    """The turns of one request: it has the model, or waits for it, or does something else."""

    def __init__(
        self, turns: Turns, client: "_Client", cancel: threading.Event, allowance: float
    ) -> None:
        self.held = False
        self._turns, self._client, self._cancel = turns, client, cancel
        self._allowance = allowance  # seconds that reading may take before it is late
        self._since = 0.0
        self._wrote = self._ended = False

    @property
    def due(self) -> float:
        """When it should have its next turn."""
        if self._wrote:
            return self._client.served + PATIENCE
        return self._client.since + self._allowance

    def take(self) -> None:
        """Waits for it; it is not held where the request was cancelled meanwhile."""
        self.held = self._turns.take(self, self._cancel)
        self._since = time.perf_counter()

    def pause(self) -> None:
        """To be called often: lets others go first if the turn has lasted long enough."""
        now = time.perf_counter()
        if not self.held or now - self._since <= self._turns.quantum or not self._turns.wanted:
            return
        if self._turns.is_due(now + PATIENCE if self._wrote else self.due):
            self.pass_on()
            self.take()

    def pass_on(self) -> None:
        """Gives it to another; `take` waits for the next one."""
        if self.held:
            self.held = False
            self._client.served = time.perf_counter()
            self._turns.pass_on()

    def wrote(self) -> None:
        """Says that there is a first byte."""
        if not self._wrote:
            self._wrote = True
            self._client.answered(time.perf_counter())

    def end(self, *, answered: bool) -> None:
        """Says that the request is over, with all its bytes or given up."""
        if self._ended:
            return
        self._ended = True
        if answered:
            self.wrote()
        elif not self._wrote:
            self._client.gave_up(time.perf_counter())
        self.pass_on()


class _Client:
    """What is known of one who asks."""

    __slots__ = ("asking", "left", "served", "since")

    def __init__(self) -> None:
        self.since = 0.0  # when it began to wait for a byte
        self.served = 0.0  # end of its last turn
        self.left = 0.0  # when it gave up a request that had no byte yet
        self.asking = 0  # requests without a byte

    def begin(self, now: float) -> None:
        if not self.asking and now - self.left > FORGOTTEN:
            self.since = now
        self.asking += 1

    def answered(self, now: float) -> None:
        self.asking -= 1
        self.since, self.left = now, 0.0

    def gave_up(self, now: float) -> None:
        self.asking -= 1
        self.left = now


class _Waiter:
    """A place in the line."""

    __slots__ = ("given", "turn", "woken")

    def __init__(self, turn: Turn) -> None:
        self.given = False
        self.turn = turn
        self.woken = threading.Event()
