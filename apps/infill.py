"""POST /infill: llama.cpp's fill-in-the-middle, as llama.vim and llama.vscode ask for it.

Answers are cut as for an editor: at the end of the line or the block, without what the suffix says
already. `n_predict` counts tokens of four bytes, all other counts are bytes.
"""

import codecs
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from codebyte.apps.completion_requests import BYTES_PER_TOKEN, LONGEST, MODEL, seed_of, steady
from codebyte.apps.context import with_context
from codebyte.apps.held_back import IndentedLines, UnclosedText
from codebyte.apps.lines import encoded
from codebyte.apps.serving import Running, Serving, gone
from codebyte.apps.streams import in_thread
from codebyte.config import SamplingParams
from codebyte.errors import InputError
from codebyte.tasks.completion import FEW_TRIES, Completion

_USUAL = 128  # tokens, where n_predict does not say
_TYPES = {"eot": "eos", "line": "eos", "block": "eos", "suffix": "eos", "stop": "word"}


class Extra(BaseModel):
    """A text from elsewhere."""

    filename: str = Field("", max_length=4096)
    text: str = ""


class InfillRequest(BaseModel):
    """What llama.cpp's clients send; fields not here are ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input_prefix": "def add(a, b):\n", "prompt": "    return ", "input_suffix": "\n"}
            ]
        }
    )

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: list[Extra] | None = Field(None, max_length=256)
    prompt: str = Field("", description="typed already on the caret's line, after input_prefix")
    n_predict: int | None = Field(_USUAL, description="-1 for no limit; 0 reads the prompt only")
    n_indent: int | None = Field(0, ge=0, description="white space that every new line begins with")
    stop: list[str] | None = None
    top_k: int | None = Field(40, ge=0)
    top_p: float | None = Field(1.0, gt=0, le=1)
    temperature: float | None = Field(0.0, ge=0, le=100)
    seed: int | None = None
    stream: bool | None = False
    t_max_predict_ms: int | None = Field(
        0, ge=0, description="after it, the first newline ends the text; 0 for no limit"
    )
    response_fields: list[str] | None = Field(None, max_length=64)


def add_infill(app: FastAPI, serving: Serving) -> None:
    """Adds the route."""

    @app.post("/infill", tags=["completion"])
    async def infill(asked: InfillRequest, request: Request) -> Response:
        """Fill in between `input_prefix` + `prompt` and `input_suffix`."""
        stops = tuple(encoded(stop) for stop in asked.stop or ())
        if len(stops) > 16 or not all(stops):
            raise InputError("stop must be at most 16 texts, none of them empty")
        running = serving.begin(request, "/infill")
        filling = _Filling(asked, stops, serving.session.model.config.context)
        if asked.stream:
            return running.stream(_stream(serving, filling, running))
        answer = await running.whole(lambda: _whole(serving, filling, running))
        return gone() if answer is None else JSONResponse(answer)


@dataclass(slots=True)
class _Filling:
    """One request, what came of it, and how long it took."""

    asked: InfillRequest
    stops: tuple[bytes, ...]
    context: int
    began: float = field(default_factory=time.perf_counter)
    first: float = 0.0  # when the first piece came
    text: bytes = b""
    done: Completion | None = None
    limited: bool = False

    @property
    def prefix(self) -> bytes:
        others = [(extra.filename, extra.text) for extra in self.asked.input_extra or ()]
        typed = encoded(self.asked.input_prefix) + encoded(self.asked.prompt)
        return with_context(typed, others, self.context)

    def pieces(self, serving: Serving, running: Running) -> Generator[bytes, None, None]:
        """The text as it comes; in a worker thread."""
        asked, prefix, suffix = self.asked, self.prefix, encoded(self.asked.input_suffix)
        if asked.n_predict == 0 and not (asked.input_prefix or asked.prompt or suffix):
            return  # other texts alone, to be remembered: here they are read after the suffix
        tokens = _USUAL if asked.n_predict is None else asked.n_predict
        sampling = SamplingParams(
            temperature=steady(asked.temperature or 0.0),
            top_k=asked.top_k or 0,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            seed=seed_of(asked.seed),
            stop=self.stops,
        )
        items = serving.session.complete(
            running.client,
            prefix,
            suffix,
            max_new_bytes=LONGEST if tokens < 0 else min(tokens * BYTES_PER_TOKEN, LONGEST),
            sampling=sampling,
            tries=1 if asked.stream else FEW_TRIES,
            replaces=False,
            cancel=running.cancel,
        )
        lines, unclosed = IndentedLines(asked.n_indent or 0), UnclosedText(prefix, suffix)
        with closing(running.follow(items, len(prefix) + len(suffix))) as found:
            for item in found:
                self.first = self.first or time.perf_counter()
                if isinstance(item, Completion):
                    self.done = item
                    text = lines.rest()
                else:
                    text = self._in_time(lines.add(item.text))
                self.limited |= lines.ended
                text = unclosed.add(text)
                if self.limited or self.done is not None:
                    text += unclosed.rest()
                self.text += text
                if text:
                    yield text
                if self.limited:
                    return

    def _in_time(self, text: bytes) -> bytes:
        """The text, or once time is up, what of it stands before its newline."""
        late = self.asked.t_max_predict_ms
        if not late or 1000 * (time.perf_counter() - self.first) <= late:
            return text
        if b"\n" not in self.text + text:
            return text
        self.limited = True
        return text[: text.find(b"\n")] if b"\n" in text else text

    def body(self) -> dict[str, Any]:
        """All that llama.cpp tells of it."""
        now = time.perf_counter()
        reason = self.done.stop_reason if self.done else "budget"
        kind = "limit" if self.limited else _TYPES.get(reason, "limit")
        cached = self.done.cached if self.done else 0
        read = len(self.prefix) + len(encoded(self.asked.input_suffix))
        body: dict[str, Any] = {
            "index": 0,
            "content": self.text.decode("utf-8", "replace"),
            "tokens": [],
            "id_slot": 0,
            "stop": True,
            "model": MODEL,
            "tokens_predicted": len(self.text),
            "tokens_evaluated": read,
            "generation_settings": {
                "n_predict": self.asked.n_predict,
                "temperature": self.asked.temperature,
                "top_k": self.asked.top_k,
                "top_p": self.asked.top_p,
                "stop": [stop.decode() for stop in self.stops],
            },
            "prompt": encoded(self.asked.prompt).decode(),
            "has_new_line": b"\n" in self.text,
            "truncated": read >= self.context,
            "stop_type": kind,
            "stopping_word": "",
            "tokens_cached": cached,
            "timings": _timings(
                max(0, read - cached),
                (self.first or now) - self.began,
                len(self.text),
                now - (self.first or now),
            ),
        }
        return _picked(body, self.asked.response_fields)


async def _stream(
    serving: Serving, filling: _Filling, running: Running
) -> AsyncGenerator[dict[str, Any], None]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async with aclosing(in_thread(filling.pieces(serving, running))) as pieces:
        async for piece in pieces:
            if text := decoder.decode(piece):
                yield {"index": 0, "content": text, "tokens": [], "stop": False}
    yield {**filling.body(), "content": decoder.decode(b"", True)}


def _whole(serving: Serving, filling: _Filling, running: Running) -> dict[str, Any] | None:
    for _ in filling.pieces(serving, running):
        pass
    return None if running.cancel.is_set() else filling.body()


def _timings(read: int, reading: float, written: int, writing: float) -> dict[str, Any]:
    """Counts and milliseconds of reading the prompt and of writing after it."""

    def one(name: str, count: int, seconds: float) -> dict[str, Any]:
        return {
            f"{name}_n": count,
            f"{name}_ms": round(1000 * seconds, 3),
            f"{name}_per_token_ms": round(1000 * seconds / max(count, 1), 3),
            f"{name}_per_second": round(count / max(seconds, 1e-6), 3),
        }

    return one("prompt", read, reading) | one("predicted", written, writing)


def _picked(body: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
    """The fields asked for, at the top and by the name asked: "timings/prompt_n" too."""
    if not fields:
        return body
    found: dict[str, Any] = {}
    for name in fields:
        value: Any = body
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[name] = value
    return found
