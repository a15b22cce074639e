"""POST /v1/completions: OpenAI's text completion, with `suffix`, for all that speaks it.

A token is a byte here. Clients size `max_tokens` for tokens of about four characters, so a limit of
n gives up to 4 n bytes; `usage` counts bytes.
"""

import codecs
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from codebyte.apps.guard import error_body
from codebyte.apps.lines import encoded
from codebyte.apps.logprobs import logprobs_from, logprobs_of
from codebyte.apps.session import Session
from codebyte.apps.streams import EventStream, Gate, events, in_thread, watched
from codebyte.config import SamplingParams
from codebyte.errors import InputError
from codebyte.fim import fim_prompt
from codebyte.tasks.completion import Completion, Piece

MODEL = "codebyte"
BYTES_PER_TOKEN = 4  # bytes that one of a client's tokens stands for in max_tokens
LONGEST = 1 << 14  # bytes of one completion, whatever max_tokens says
MOST_CHOICES = 16  # prompts times n of one request

_REASONS = {"eot": "stop", "stop": "stop"}  # of all others it is "length"
Byte = Annotated[int, Field(ge=0, le=255)]


class CompletionsRequest(BaseModel):
    """What OpenAI's clients send; fields not here are ignored, as other servers do."""

    model: str = MODEL
    prompt: str | list[str] | list[Byte] | list[list[Byte]] = ""
    suffix: str | None = None
    max_tokens: int | None = Field(16, ge=0)
    temperature: float | None = Field(1.0, ge=0, le=2)
    top_p: float | None = Field(1.0, gt=0, le=1)
    n: int | None = Field(1, ge=1)
    best_of: int | None = Field(None, ge=1)
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = False
    stop: str | list[str] | None = None
    seed: int | None = None


@dataclass(kw_only=True, slots=True)
class _Choice:
    """One of the completions asked for, and how far it is."""

    index: int
    prompt: bytes
    suffix: bytes
    params: SamplingParams
    text: bytes = b""
    reason: str | None = None
    cached: int = 0


@dataclass(kw_only=True, slots=True)
class _Job:
    """One request, checked."""

    asked: CompletionsRequest
    choices: list[_Choice]
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def body(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": MODEL,
            "choices": choices,
        }

    def usage(self) -> dict[str, Any]:
        first = self.choices[:: self.asked.n or 1]  # of each prompt
        read = sum(len(choice.prompt) + len(choice.suffix) for choice in first)
        written = sum(len(choice.text) for choice in self.choices)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": sum(choice.cached for choice in first)},
        }


def add_completions(app: FastAPI, session: Session, gate: Gate) -> None:
    """Adds the route."""

    @app.post("/v1/completions")
    async def completions(asked: CompletionsRequest, request: Request) -> Response:
        job = _job(asked)
        cancel = threading.Event()
        gate.enter()
        if asked.stream:
            values = _stream(session, job, cancel)
            text = events(values, error_body, end="data: [DONE]\n\n")
            return EventStream(text, cancel=cancel, done=gate.leave)
        answer = None
        try:
            async with watched(request.receive, cancel):
                answer = await run_sync(_whole, session, job, cancel)
        finally:
            gate.leave()
        # 499 is what proxies log for a client that left; nobody reads it.
        return Response(status_code=499) if answer is None else JSONResponse(answer)


def _job(asked: CompletionsRequest) -> _Job:
    """Checks what a type cannot, and prepares the prompts.

    Raises:
        InputError: if settings exclude each other or are too many.
    """
    if asked.echo and asked.suffix:
        raise InputError("echo and suffix exclude each other: send one of them")
    if asked.best_of is not None and asked.best_of > (asked.n or 1):
        raise InputError(f"best_of {asked.best_of} must not be more than n {asked.n or 1}")
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    if len(stops) > 4 or not all(stops):
        raise InputError(f"stop {stops!r} must be at most 4 texts, none of them empty")
    prompts = _prompts(asked.prompt)
    times = asked.n or 1
    if not 1 <= len(prompts) * times <= MOST_CHOICES:
        raise InputError(
            f"{len(prompts)} prompts times n {times} must be from 1 to {MOST_CHOICES} completions"
        )
    tokens = 16 if asked.max_tokens is None else asked.max_tokens
    most = min(tokens * BYTES_PER_TOKEN, LONGEST)
    suffix = encoded(asked.suffix or "")
    choices: list[_Choice] = []
    for prompt in prompts:
        for _ in range(times):
            params = SamplingParams(
                max_new_bytes=most,
                temperature=1.0 if asked.temperature is None else asked.temperature,
                top_p=1.0 if asked.top_p is None else asked.top_p,
                seed=None if asked.seed is None else asked.seed + len(choices),
                stop=tuple(encoded(stop) for stop in stops),
            )
            choices.append(_Choice(index=len(choices), prompt=prompt, suffix=suffix, params=params))
    return _Job(asked=asked, choices=choices)


def _whole(session: Session, job: _Job, cancel: threading.Event) -> dict[str, Any]:
    """Runs a job to its end; in a worker thread."""
    choices = []
    for choice in job.choices:
        for _ in _pieces(session, choice, cancel):
            pass
        shown = choice.prompt + choice.text if job.asked.echo else choice.text
        logprobs = None
        if job.asked.logprobs is not None and not cancel.is_set():
            ids = [*fim_prompt(choice.prompt, choice.suffix), *choice.text]
            logprobs = logprobs_of(session.model, ids, shown, top=job.asked.logprobs)
        text = shown.decode("utf-8", "replace")
        choices.append(_choice_body(choice.index, text, logprobs, choice.reason))
    return {**job.body(choices), "usage": job.usage()}


async def _stream(
    session: Session, job: _Job, cancel: threading.Event
) -> AsyncGenerator[dict[str, Any], None]:
    """The same in pieces; no delta ends inside a character."""
    for choice in job.choices:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        sent = 0
        if job.asked.echo:
            prompt = choice.prompt.decode("utf-8", "replace")
            sent = len(prompt)
            yield job.body([_choice_body(choice.index, prompt, None, None)])
        async with aclosing(in_thread(_pieces(session, choice, cancel))) as pieces:
            async for piece in pieces:
                logprobs = None
                if job.asked.logprobs is not None:
                    logprobs = logprobs_from(piece.bits, piece.text, sent)
                text = decoder.decode(piece.text)
                sent += len(text)
                if text or logprobs:
                    yield job.body([_choice_body(choice.index, text, logprobs, None)])
        yield job.body([_choice_body(choice.index, decoder.decode(b"", True), None, choice.reason)])
    if (job.asked.stream_options or {}).get("include_usage"):
        yield {**job.body([]), "usage": job.usage()}


def _pieces(
    session: Session, choice: _Choice, cancel: threading.Event
) -> Generator[Piece, None, None]:
    """Decodes one choice and notes in it what came of it."""
    for piece in session.generate(choice.prompt, choice.suffix, choice.params, cancel=cancel):
        if isinstance(piece, Completion):
            choice.text = piece.text
            choice.reason = _REASONS.get(piece.stop_reason, "length")
            choice.cached = piece.cached
        else:
            yield piece


def _choice_body(
    index: int, text: str, logprobs: dict[str, Any] | None, reason: str | None
) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _prompts(prompt: str | list[Any]) -> list[bytes]:
    if isinstance(prompt, str):
        return [encoded(prompt)]
    if prompt and isinstance(prompt[0], int):
        return [bytes(prompt)]
    return [encoded(part) if isinstance(part, str) else bytes(part) for part in prompt]
