"""From a generator in a worker thread to server-sent events; whoever leaves stops the work."""

import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from codebyte.errors import CodebyteError

T = TypeVar("T")


@asynccontextmanager
async def watched(receive: Receive, cancel: threading.Event) -> AsyncIterator[None]:
    """Sets `cancel` as soon as the client has gone, and in any case at the end of the block."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            cancel.set()
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            yield
        except Exception as error:
            failure = error  # raised below, outside the group, which would wrap it
        finally:
            cancel.set()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


class EventStream(StreamingResponse):
    """Server-sent events that end with their reader."""

    def __init__(
        self, text: AsyncGenerator[str, None], *, cancel: threading.Event, done: Callable[[], None]
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(text, media_type="text/event-stream", headers=headers)
        self._text = text
        self._cancel = cancel
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        try:
            async with watched(receive, self._cancel):
                await self.stream_response(send)
        finally:
            # One that was cut off while it wrote has not ended its generators yet.
            await self._text.aclose()
            self._done()


async def in_thread(items: Generator[T, None, object]) -> AsyncGenerator[T, None]:
    """Takes each item in a worker thread, and closes the generator at the end."""
    end = object()
    try:
        while (item := await run_sync(next, items, end)) is not end:
            yield item  # type: ignore[misc]
    finally:
        items.close()


async def events(
    values: AsyncGenerator[Any, None], failed: Callable[[str], Any], *, end: str = ""
) -> AsyncGenerator[str, None]:
    """Writes values as server-sent events; an error of ours becomes the last of them."""
    try:
        async with aclosing(values):
            async for value in values:
                yield event(value)
    except CodebyteError as error:
        yield event(failed(str(error)))
    if end:
        yield end


def event(value: Any) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"
