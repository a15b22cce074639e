"""The HTTP API: the routes of OpenAI's, Tabby's and llama.cpp's clients, and the page's own."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

import codebyte
from codebyte.apps.completion_requests import MODEL
from codebyte.apps.completions import add_completions
from codebyte.apps.docs_page import add_docs
from codebyte.apps.embeddings import add_embeddings
from codebyte.apps.guard import error_body
from codebyte.apps.infill import add_infill
from codebyte.apps.lines import encoded
from codebyte.apps.scheduler import BusyError
from codebyte.apps.serving import Running, Serving, gone
from codebyte.apps.session import Session
from codebyte.apps.tabby import add_tabby
from codebyte.errors import CodebyteError
from codebyte.tasks.completion import Completion

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_ABOUT = """\
A byte-level code model. One byte is one token; clients size `max_tokens` for words, so it is taken
times 4. Errors have OpenAI's form. Where the server has a token, send it as
`Authorization: Bearer TOKEN`."""


class CompleteRequest(BaseModel):
    """What the page sends at a caret."""

    prefix: str = ""
    suffix: str = ""
    path: str | None = Field(None, max_length=4096)
    multiline: bool | None = None
    max_new_bytes: int | None = Field(None, ge=1, le=1 << 14)
    session: str = Field("page", max_length=64)
    repo: str | None = Field(None, max_length=4096)
    alone: bool = False


def create_api(session: Session) -> FastAPI:
    """Builds the application with all routes but the page."""
    app = FastAPI(
        title="codebyte",
        version=codebyte.__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(CodebyteError, _codebyte_error)
    app.add_exception_handler(BusyError, _busy)
    serving = Serving(session)
    created = int(time.time())

    @app.get("/health", tags=["server"])
    async def health() -> dict[str, Any]:
        """Whether it runs, and how many requests are under way."""
        return {"status": "ok", "requests": session.queue.inside}

    @app.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(serving.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/v1/models", tags=["server"])
    async def models() -> dict[str, Any]:
        """The one model there is."""
        return {"object": "list", "data": [_model(created)]}

    @app.get("/v1/models/{name}", tags=["server"])
    async def model(name: str) -> dict[str, Any]:
        """The model of that name."""
        if name != MODEL:
            raise HTTPException(404, f"there is no model {name!r} here, only {MODEL!r}")
        return _model(created)

    @app.post("/v1/complete", include_in_schema=False)
    async def complete(asked: CompleteRequest, request: Request) -> Response:
        running = serving.begin(request, "/v1/complete", asked.session)
        return running.stream(_page_events(session, asked, running))

    @app.post("/v1/alternatives", include_in_schema=False)
    async def alternatives(asked: CompleteRequest, request: Request) -> Response:
        running = serving.begin(request, "/v1/alternatives", asked.session)
        found = await running.whole(lambda: _alternatives(session, asked, running))
        return gone() if found is None else JSONResponse({"alternatives": found})

    add_completions(app, serving)
    add_infill(app, serving)
    add_embeddings(app, serving)
    add_tabby(app, serving)
    add_docs(app)

    @app.api_route("/v1/{rest:path}", methods=_METHODS, include_in_schema=False)
    async def unknown(rest: str, request: Request) -> Response:
        # The page, mounted at /, would answer in a shape of its own.
        asked = f"{request.method} /v1/{rest}"
        matches = [it for it in app.routes if isinstance(it, APIRoute) and it.endpoint != unknown]
        known = [it for it in matches if it.path_regex.match(request.url.path)]
        if known:
            allowed = sorted({method for it in known for method in it.methods or ()})
            headers = {"Allow": ", ".join(allowed)}
            raise HTTPException(405, f"{asked} is not allowed: see /docs", headers=headers)
        raise HTTPException(404, f"there is no {asked} here: see /docs")

    return app


async def _page_events(
    session: Session, asked: CompleteRequest, running: Running
) -> AsyncGenerator[dict[str, Any], None]:
    """The pieces as they come, and last what they cost."""
    began = time.perf_counter()
    first = 0.0
    count = early = 0  # bytes, and how many of them came first
    prefix, suffix = encoded(asked.prefix), encoded(asked.suffix)
    items = session.complete(
        f"page {asked.session}",
        prefix,
        suffix,
        path=asked.path,
        max_new_bytes=asked.max_new_bytes,
        multiline=asked.multiline,
        repo=asked.repo,
        alone=asked.alone,
        cancel=running.cancel,
    )
    async with aclosing(running.pieces(items, len(prefix) + len(suffix))) as pieces:
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
                    "repository": session.mixers.about(asked.path, asked.repo),
                    "recalled": [asdict(it) for it in piece.recalled],
                }
            else:
                first, early = first or now, early or len(piece.text)
                count += len(piece.text)
                bits = [round(float(value), 2) for value in piece.bits]
                yield {"text": piece.text.decode("utf-8", "replace"), "bits": bits, "done": False}


def _alternatives(
    session: Session, asked: CompleteRequest, running: Running
) -> list[dict[str, Any]]:
    """Other rests of the line, for the page."""
    found = session.alternatives(
        f"page {asked.session}",
        encoded(asked.prefix),
        encoded(asked.suffix),
        path=asked.path,
        repo=asked.repo,
        alone=asked.alone,
        cancel=running.cancel,
    )
    return [
        {
            "text": done.text.decode("utf-8", "replace"),
            "bits": [round(float(value), 2) for value in done.bits],
            "replace_suffix_bytes": done.replace_suffix_bytes,
            "recalled": [asdict(it) for it in done.recalled],
        }
        for done in found
    ]


def _model(created: int) -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": created, "owned_by": "codebyte"}


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = error_body(str(error.detail), code="not_found" if error.status_code == 404 else None)
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _busy(request: Request, error: Exception) -> Response:
    assert isinstance(error, BusyError)
    body = error_body(str(error), code="rate_limit_exceeded")
    return JSONResponse(body, 429, headers={"Retry-After": str(error.seconds)})


async def _codebyte_error(request: Request, error: Exception) -> Response:
    return JSONResponse(error_body(str(error)), 400)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if problems[0]["type"] == "json_invalid":
        reason = problems[0].get("ctx", {}).get("error", "it cannot be read")
        message = f"the body is no JSON: {reason} at character {problems[0]['loc'][-1]}"
        return JSONResponse(error_body(message), 400)
    places = [part for part in problems[0]["loc"] if part != "body"]
    name = str(places[0]) if places else None
    # A value that may be of several types is refused once for each; say all of it.
    about = dict.fromkeys(it["msg"] for it in problems if places and places[0] in it["loc"])
    message = f"{name}: {'; or '.join(about)}" if name and about else str(problems[0]["msg"])
    return JSONResponse(error_body(message, param=name), 400)
