"""What the routes share: a place in the queue, an end when the client leaves, the counting."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from codebyte.apps.guard import error_body, is_loopback
from codebyte.apps.metrics import Meter, Metrics
from codebyte.apps.scheduler import BusyError, Cancel
from codebyte.apps.session import Items, Session
from codebyte.apps.streams import EventStream, events, in_thread, watched
from codebyte.tasks.completion import Completion, Piece

T = TypeVar("T")


class Serving:
    """One session and its counters, for all routes."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.metrics = Metrics(lambda: session.queue.inside, lambda: len(session.caches))

    def begin(self, request: Request, route: str, user: str | None = None) -> "Running":
        """Lets a request in.

        Args:
            request: as it came.
            route: the name that it is counted under.
            user: a name the client gives itself, if any.

        Raises:
            BusyError: if there are too many.
        """
        client = client_of(request, user)
        try:
            place = self.session.queue.enter(client)
        except BusyError:
            self.metrics.requests.labels(route, "refused").inc()
            raise
        return Running(request, client, Meter(self.metrics, route), place.leave)


class Running:
    """One request that was let in; it ends with `whole` or with the stream."""

    def __init__(
        self, request: Request, client: str, meter: Meter, leave: Callable[[], None]
    ) -> None:
        self.client = client
        self.cancel = Cancel()
        self._request, self._meter, self._leave = request, meter, leave
        self._finished = False

    async def whole(self, function: Callable[[], T]) -> T | None:
        """Runs a function in a worker thread; None if the client left, which sets `cancel`."""
        found = None  # so it stays where the client left before the thread began
        try:
            async with watched(self._request.receive, self.cancel):
                found = await run_sync(function)
                self._finished = not self.cancel.is_set()
            return found
        except BaseException:
            self._meter.outcome = "failed"
            raise
        finally:
            self._end()

    def stream(self, values: AsyncGenerator[Any, None], *, end: str = "") -> EventStream:
        """Sends values as server-sent events."""
        text = events(self._until_end(values), error_body, end=end)
        return EventStream(text, cancel=self.cancel, done=self._end)

    def follow(self, items: Items, read: int) -> Items:
        """Passes on what a session gives, and counts it."""
        return self._meter.follow(items, read)

    async def pieces(self, items: Items, read: int) -> AsyncGenerator[Piece | Completion, None]:
        """The same, from worker threads."""
        async with aclosing(in_thread(self.follow(items, read))) as found:
            async for item in found:
                yield item

    async def _until_end(self, values: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        try:
            async with aclosing(values):
                async for value in values:
                    yield value
            self._finished = not self.cancel.is_set()
        except Exception:
            self._meter.outcome = "failed"
            raise

    def _end(self) -> None:
        if not self._finished and self._meter.outcome == "done":
            self._meter.outcome = "cancelled"
        self._meter.end()
        self._leave()


def client_of(request: Request, user: str | None) -> str:
    """The name under which a request takes its turns: who it says it is, or where it is from.

    Programs on this machine are told apart by their connections, other machines by their address.
    """
    if user:
        return f"user {user[:64]}"
    if request.client is None:
        return "somebody"
    host, port = request.client
    return f"{host}:{port}" if is_loopback(host) else host


def gone() -> Response:
    """What a client that left is answered; 499 is what proxies log, and nobody reads it."""
    return Response(status_code=499)
