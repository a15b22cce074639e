"""What Tabby's editor plugins ask: completions by `segments`, and what the server is."""

import os
import platform
import secrets
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

import codebyte
from codebyte.apps.completion_requests import MODEL, CompletionsRequest, Segments, seed_of, steady
from codebyte.apps.context import with_context
from codebyte.apps.lines import encoded
from codebyte.apps.serving import Running, Serving, gone
from codebyte.config import SamplingParams
from codebyte.tasks.completion import FEW_TRIES, Completion


def add_tabby(app: FastAPI, serving: Serving) -> None:
    """Adds the routes beside /v1/completions."""

    @app.post("/v1/health", tags=["tabby"])
    @app.get("/v1/health", tags=["tabby"])
    async def health() -> dict[str, Any]:
        """What the server is, for Tabby's clients."""
        version = codebyte.__version__
        return {
            "status": "ok",
            "model": MODEL,
            "device": serving.session.model.device.type,
            "arch": platform.machine(),
            "cpu_info": platform.processor() or platform.machine(),
            "cpu_count": os.cpu_count() or 1,
            "cuda_devices": [],
            "version": {
                "build_date": "",
                "build_timestamp": "",
                "git_sha": "",
                "git_describe": f"codebyte {version}",
            },
        }

    @app.get("/v1beta/server_setting", tags=["tabby"])
    async def server_setting() -> dict[str, Any]:
        """Tabby's clients ask whether they may send telemetry: they may not."""
        return {"disable_client_side_telemetry": True}

    @app.post("/v1/events", tags=["tabby"])
    async def events() -> Response:
        """Taken, so that Tabby's clients are content, and thrown away."""
        return JSONResponse({})


async def tabby_answer(
    serving: Serving, asked: CompletionsRequest, segments: Segments, request: Request
) -> Response:
    """Answers a completion by segments: as an editor wants it, cut where the code ends."""
    running = serving.begin(request, "/v1/completions (segments)", asked.user)
    text = await running.whole(lambda: _text(serving, asked, segments, running))
    if text is None:
        return gone()
    return JSONResponse(
        {"id": f"cmpl-{secrets.token_hex(12)}", "choices": [{"index": 0, "text": text}]}
    )


def _text(
    serving: Serving, asked: CompletionsRequest, segments: Segments, running: Running
) -> str | None:
    """The completion; None if the client left."""
    context = serving.session.model.config.context
    others = [
        (snippet.filepath, snippet.body)
        for snippet in (
            *(segments.declarations or ()),
            *(segments.relevant_snippets_from_changed_files or ()),
        )
    ]
    prefix = with_context(encoded(segments.prefix), others, context)
    suffix = encoded(segments.suffix or "")
    items = serving.session.complete(
        running.client,
        prefix,
        suffix,
        path=segments.filepath,
        sampling=_sampling(asked),
        tries=FEW_TRIES,
        replaces=False,
        cancel=running.cancel,
    )
    for item in running.follow(items, len(prefix) + len(suffix)):
        if isinstance(item, Completion):
            return item.text.decode("utf-8", "replace")
    return None


def _sampling(asked: CompletionsRequest) -> SamplingParams:
    """Greedy, unless the client names a temperature."""
    return SamplingParams(temperature=steady(asked.temperature or 0.0), seed=seed_of(asked.seed))
