"""POST /v1/completions: OpenAI's text completion, with `suffix`, for all that speaks it.

A token is a byte here. Clients size `max_tokens` for tokens of about four characters, so a limit of
n gives up to 4 n bytes; `usage` counts bytes.
"""

import codecs
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from codebyte.apps.completion_requests import Choice, CompletionsRequest, Job, job_of
from codebyte.apps.logprobs import logprobs_from, logprobs_of
from codebyte.apps.serving import Running, Serving, gone
from codebyte.apps.session import Items, Session
from codebyte.apps.tabby import tabby_answer
from codebyte.fim import fim_prompt
from codebyte.tasks.completion import TRIES, Completion, Piece

COMPARED = 256  # bytes asked for, up to which texts are compared: nothing is seen of them meanwhile
_REASONS = {"eot": "stop", "stop": "stop"}  # of all others it is "length"


def add_completions(app: FastAPI, serving: Serving) -> None:
    """Adds the route."""

    @app.post("/v1/completions", tags=["completion"])
    async def completions(asked: CompletionsRequest, request: Request) -> Response:
        """Continue a prompt, or fill in between `prompt` and `suffix`.

        With `segments`, in Tabby's form.
        """
        if asked.segments is not None:
            return await tabby_answer(serving, asked, asked.segments, request)
        job = job_of(asked)
        running = serving.begin(request, "/v1/completions", asked.user)
        if asked.stream:
            return running.stream(_stream(serving.session, job, running), end="data: [DONE]\n\n")
        answer = await running.whole(lambda: _whole(serving.session, job, running))
        return gone() if answer is None else JSONResponse(answer)


def _whole(session: Session, job: Job, running: Running) -> dict[str, Any] | None:
    """Runs a job to its end; in a worker thread."""
    choices, model = [], session.model  # which may be another one before the end
    for choice in job.choices:
        for item in running.follow(*_items(session, choice, running)):
            _note(choice, item)
        if running.cancel.is_set():
            return None
        shown = choice.prompt + choice.text if job.asked.echo else choice.text
        logprobs = None
        if job.asked.logprobs is not None:
            ids = [*fim_prompt(choice.prefix, choice.suffix), *choice.text]
            logprobs = logprobs_of(model, ids, shown, top=job.asked.logprobs)
        choices.append(choice.body(shown.decode("utf-8", "replace"), logprobs, choice.reason))
    return {**job.body(choices), "usage": job.usage()}


async def _stream(
    session: Session, job: Job, running: Running
) -> AsyncGenerator[dict[str, Any], None]:
    """The same in pieces; no delta ends inside a character."""
    for choice in job.choices:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        sent = 0
        if job.asked.echo:
            prompt = choice.prompt.decode("utf-8", "replace")
            sent = len(prompt)
            yield job.body([choice.body(prompt, None, None)])
        async with aclosing(running.pieces(*_items(session, choice, running))) as items:
            async for item in items:
                _note(choice, item)
                if isinstance(item, Completion):
                    continue
                logprobs = None
                if job.asked.logprobs is not None:
                    logprobs = logprobs_from(item.bits, item.text, sent)
                text = decoder.decode(item.text)
                sent += len(text)
                if text or logprobs:
                    yield job.body([choice.body(text, logprobs, None)])
        yield job.body([choice.body(decoder.decode(b"", True), None, choice.reason)])
    if (job.asked.stream_options or {}).get("include_usage"):
        yield {**job.body([]), "usage": job.usage()}


def _items(session: Session, choice: Choice, running: Running) -> tuple[Items, int]:
    """What a choice is made of, and how much is read for it."""
    # Between two texts an editor asks; elsewhere, and where bits are wanted, they are the model's.
    alone = not choice.between or choice.scored
    short = choice.params.max_new_bytes <= COMPARED
    items = session.generate(
        choice.prefix,
        choice.suffix,
        choice.params,
        client=running.client,
        alone=alone,
        tries=TRIES if short else 1,
        cancel=running.cancel,
    )
    return items, len(choice.prefix) + len(choice.suffix)


def _note(choice: Choice, item: Piece | Completion) -> None:
    """Keeps what came of a choice."""
    if isinstance(item, Completion):
        choice.text = item.text
        choice.reason = _REASONS.get(item.stop_reason, "length")
        choice.cached = item.cached
