"""The HTTP API: /v1/complete for the page, /v1/completions and /v1/models for OpenAI's clients."""

import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

import codebyte
from codebyte.apps.completions import MODEL, add_completions
from codebyte.apps.guard import error_body
from codebyte.apps.lines import encoded
from codebyte.apps.session import Session
from codebyte.apps.streams import EventStream, Gate, events, in_thread
from codebyte.errors import CodebyteError
from codebyte.tasks.completion import Completion


class CompleteRequest(BaseModel):
    """What the page sends at a caret."""

    prefix: str = ""
    suffix: str = ""
    path: str | None = Field(None, max_length=4096)
    multiline: bool | None = None
    max_new_bytes: int | None = Field(None, ge=1, le=1 << 14)
    session: str = Field("page", max_length=64)


def create_api(session: Session) -> FastAPI:
    """Builds the application with all routes but the page."""
    app = FastAPI(title="codebyte", version=codebyte.__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(CodebyteError, _codebyte_error)
    gate = Gate()
    created = int(time.time())

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "requests": gate.inside}

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(created)]}

    @app.get("/v1/models/{name}")
    def model(name: str) -> dict[str, Any]:
        if name != MODEL:
            raise HTTPException(404, f"there is no model {name!r} here, only {MODEL!r}")
        return _model(created)

    @app.post("/v1/complete", include_in_schema=False)
    async def complete(asked: CompleteRequest) -> Response:
        gate.enter()
        cancel = threading.Event()
        values = _page_events(session, asked, cancel)
        return EventStream(events(values, error_body), cancel=cancel, done=gate.leave)

    add_completions(app, session, gate)
    return app


async def _page_events(
    session: Session, asked: CompleteRequest, cancel: threading.Event
) -> AsyncGenerator[dict[str, Any], None]:
    """The pieces as they come, and last what they cost."""
    began = time.perf_counter()
    first = 0.0
    count = early = 0  # bytes, and how many of them came first
    items = session.complete(
        asked.session,
        encoded(asked.prefix),
        encoded(asked.suffix),
        path=asked.path,
        max_new_bytes=asked.max_new_bytes,
        multiline=asked.multiline,
        cancel=cancel,
    )
    async with aclosing(in_thread(items)) as pieces:
        async for piece in pieces:
            now = time.perf_counter() - began
            if isinstance(piece, Completion):
                yield {
                    "text": "",
                    "bits": [],
                    "done": True,
                    "stop_reason": piece.stop_reason,
                    "replace_suffix_bytes": piece.replace_suffix_bytes,
                    "ttfb_ms": round(first * 1000, 1) if count else None,
                    "bytes_per_s": round((count - early) / (now - first))
                    if count > early
                    else None,
                    "cached_bytes": piece.cached,
                }
            else:
                first, early = first or now, early or len(piece.text)
                count += len(piece.text)
                bits = [round(float(value), 2) for value in piece.bits]
                yield {"text": piece.text.decode("utf-8", "replace"), "bits": bits, "done": False}


def _model(created: int) -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": created, "owned_by": "codebyte"}


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = error_body(str(error.detail), code="not_found" if error.status_code == 404 else None)
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _codebyte_error(request: Request, error: Exception) -> Response:
    return JSONResponse(error_body(str(error)), 400)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    places = [part for part in problems[0]["loc"] if part != "body"]
    name = str(places[0]) if places else None
    # A value that may be of several types is refused once for each; say all of it.
    about = dict.fromkeys(it["msg"] for it in problems if places and places[0] in it["loc"])
    message = f"{name}: {'; or '.join(about)}" if name and about else str(problems[0]["msg"])
    return JSONResponse(error_body(message, param=name), 400)
