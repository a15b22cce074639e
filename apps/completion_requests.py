"""What /v1/completions is asked, in OpenAI's form or Tabby's, and the checks beyond its types."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from codebyte.apps.lines import encoded
from codebyte.apps.sentinels import split_at_marks
from codebyte.config import SamplingParams
from codebyte.errors import InputError

MODEL = "codebyte"
BYTES_PER_TOKEN = 4  # bytes that one of a client's tokens stands for in max_tokens
LONGEST = 1 << 14  # bytes of one completion, whatever max_tokens says
MOST_CHOICES = 16  # prompts times n of one request
_LEAST_RANDOM = 0.05  # of temperatures

Byte = Annotated[int, Field(ge=0, le=255)]


class Declaration(BaseModel):
    """A text from elsewhere that a Tabby client thinks of use."""

    filepath: str = Field("", max_length=4096)
    body: str = ""


class Segments(BaseModel):
    """What stands around the caret, as Tabby's clients say it."""

    prefix: str
    suffix: str | None = None
    filepath: str | None = Field(None, max_length=4096)
    git_url: str | None = None
    declarations: list[Declaration] | None = Field(None, max_length=64)
    relevant_snippets_from_changed_files: list[Declaration] | None = Field(None, max_length=64)
    clipboard: str | None = None


class CompletionsRequest(BaseModel):
    """OpenAI's text completion; with `segments`, Tabby's. Fields not here are ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "def mean(values):\n    return ", "suffix": "\n", "max_tokens": 20}
            ]
        }
    )

    model: str | None = MODEL
    prompt: str | list[str] | list[Byte] | list[list[Byte]] = ""
    suffix: str | None = None
    max_tokens: int | None = Field(16, ge=0, description="each stands for 4 bytes")
    temperature: float | None = Field(
        None, ge=0, le=2, description="1 if not given, but 0 for one text between two"
    )
    top_p: float | None = Field(1.0, gt=0, le=1)
    n: int | None = Field(1, ge=1)
    best_of: int | None = Field(None, ge=1)
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = False
    stop: str | list[str] | None = None
    seed: int | None = None
    user: str | None = Field(None, description="whose turn it takes among those who wait")
    fim_marks: bool = Field(
        True, description="whether marks such as <|fim_prefix|> in a prompt are read as such"
    )
    language: str | None = Field(None, description="Tabby's; the path tells more")
    segments: Segments | None = Field(None, description="Tabby's; all above is then left alone")


@dataclass(kw_only=True, slots=True)
class Choice:
    """One of the completions asked for, and how far it is."""

    index: int
    prompt: bytes
    prefix: bytes
    suffix: bytes
    between: bool  # whether an editor asks, at a caret; the suffix may still be empty
    params: SamplingParams
    scored: bool = False  # whether the bits of its bytes are wanted
    text: bytes = b""
    reason: str | None = None
    cached: int = 0

    def body(self, text: str, logprobs: dict[str, Any] | None, reason: str | None) -> Any:
        """This choice as OpenAI's clients read it."""
        return {"index": self.index, "text": text, "logprobs": logprobs, "finish_reason": reason}


@dataclass(kw_only=True, slots=True)
class Job:
    """One request, checked."""

    asked: CompletionsRequest
    choices: list[Choice]
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def body(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """What every answer and every piece of one holds."""
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": MODEL,
            "choices": choices,
        }

    def usage(self) -> dict[str, Any]:
        """Bytes read and written so far."""
        first = self.choices[:: self.asked.n or 1]  # of each prompt
        read = sum(len(choice.prefix) + len(choice.suffix) for choice in first)
        written = sum(len(choice.text) for choice in self.choices)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": sum(choice.cached for choice in first)},
        }


def job_of(asked: CompletionsRequest) -> Job:
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
    choices: list[Choice] = []
    for prompt in prompts:
        prefix, suffix, between = _around(asked, prompt)
        for _ in range(times):
            params = SamplingParams(
                max_new_bytes=most,
                temperature=_temperature(asked, between),
                top_p=1.0 if asked.top_p is None else asked.top_p,
                seed=seed_of(asked.seed, len(choices)),
                stop=tuple(encoded(stop) for stop in stops),
            )
            index = len(choices)
            choices.append(
                Choice(
                    index=index,
                    prompt=prompt,
                    prefix=prefix,
                    suffix=suffix,
                    between=between,
                    params=params,
                    scored=asked.logprobs is not None,
                )
            )
    return Job(asked=asked, choices=choices)


def _temperature(asked: CompletionsRequest, between: bool) -> float:
    """As asked; without a word on it, one text between two others is the likeliest one.

    Zed gives no temperature, and none of OpenAI's clients wants random code at a caret.
    """
    if asked.temperature is None:
        return 0.0 if between and (asked.n or 1) == 1 else 1.0
    return steady(asked.temperature)


def steady(temperature: float) -> float:
    """A temperature, 0 where it is as good as 0: Continue asks with 0.01 for the likeliest text."""
    return temperature if temperature >= _LEAST_RANDOM else 0.0


def seed_of(seed: int | None, index: int = 0) -> int | None:
    """A seed that can be used, of any integer; None stays None."""
    return None if seed is None else (seed + index) % (1 << 63)


def _around(asked: CompletionsRequest, prompt: bytes) -> tuple[bytes, bytes, bool]:
    """What to write between, as sent or as marks in the prompt say; and whether either was."""
    if asked.suffix is None and asked.fim_marks and not asked.echo:
        found = split_at_marks(prompt)
        if found is not None:
            return *found, True
    return prompt, encoded(asked.suffix or ""), asked.suffix is not None


def _prompts(prompt: str | list[Any]) -> list[bytes]:
    if isinstance(prompt, str):
        return [encoded(prompt)]
    if prompt and isinstance(prompt[0], int):
        return [bytes(prompt)]
    return [encoded(part) if isinstance(part, str) else bytes(part) for part in prompt]
