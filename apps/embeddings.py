"""POST /v1/embeddings: vectors of code and of words about it, in OpenAI's form."""

import base64
import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from fastapi import FastAPI, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from codebyte.apps.completion_requests import MODEL, Byte
from codebyte.apps.guard import error_body
from codebyte.apps.lines import encoded
from codebyte.apps.serving import Serving, gone
from codebyte.errors import CheckpointError, InputError

MOST_INPUTS = 2048  # as many as OpenAI takes
_AT_ONCE = 16  # between two looks at whether the client is still there


class EmbeddingsRequest(BaseModel):
    """What OpenAI's clients send; fields not here are ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"input": ["open a file for reading", "def add(a, b): ..."]}]
        }
    )

    input: str | list[str] | list[Byte] | list[list[Byte]]
    model: str | None = MODEL
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None
    input_type: Literal["text", "code"] | None = Field(
        None, description="words about code, or code; by its look where not given"
    )


class Embeddings:
    """The embedder, made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._embedder: Any = None

    def embed(
        self, inputs: list[bytes], kind: str | None, cancelled: Callable[[], bool]
    ) -> NDArray[np.float32] | None:
        """Unit rows, (n, dim); None if cancelled.

        Raises:
            HTTPException: 501, if there is no embedder.
        """
        with self._lock:
            if self._embedder is None:
                self._embedder = self._made()
            rows = []
            for start in range(0, len(inputs), _AT_ONCE):
                if cancelled():
                    return None
                rows.append(self._rows(inputs[start : start + _AT_ONCE], kind))
            return np.concatenate(rows)

    def _made(self) -> Any:
        try:
            from codebyte.tasks.search import Embedder
        except ImportError as error:
            raise HTTPException(
                501, "this codebyte has no embedder: install a newer one"
            ) from error
        try:
            return Embedder()
        except CheckpointError as error:
            raise HTTPException(501, str(error)) from error

    def _rows(self, inputs: list[bytes], kind: str | None) -> NDArray[np.float32]:
        is_code = [looks_like_code(data) if kind is None else kind == "code" for data in inputs]
        code = [data for data, it in zip(inputs, is_code, strict=True) if it]
        text = [
            data.decode("utf-8", "replace")
            for data, it in zip(inputs, is_code, strict=True)
            if not it
        ]
        parts = {
            True: iter(self._embedder.embed_code(code) if code else ()),
            False: iter(self._embedder.embed_text(text) if text else ()),
        }
        return np.stack([next(parts[it]) for it in is_code]).astype(np.float32)


def add_embeddings(app: FastAPI, serving: Serving) -> None:
    """Adds the route."""
    embeddings = Embeddings()

    @app.post("/v1/embeddings", tags=["search"])
    async def embed(asked: EmbeddingsRequest, request: Request) -> Response:
        """A unit vector for each text."""
        inputs = _inputs(asked.input)
        running = serving.begin(request, "/v1/embeddings", asked.user)
        rows = await running.whole(
            lambda: embeddings.embed(inputs, asked.input_type, running.cancel.is_set)
        )
        if rows is None:
            return gone()
        wanted = asked.dimensions
        if wanted is not None and wanted != rows.shape[1]:
            message = f"dimensions {wanted} must be {rows.shape[1]}, all that there are"
            return JSONResponse(error_body(message, param="dimensions"), 400)
        base64_wanted = asked.encoding_format == "base64"
        count = sum(map(len, inputs))
        return JSONResponse(
            {
                "object": "list",
                "model": MODEL,
                "data": [
                    {
                        "object": "embedding",
                        "index": i,
                        "embedding": _base64(row) if base64_wanted else row.tolist(),
                    }
                    for i, row in enumerate(rows)
                ],
                "usage": {"prompt_tokens": count, "total_tokens": count},
            }
        )


def looks_like_code(data: bytes) -> bool:
    """Whether a text is code rather than words about it: more than a line, or code's own signs."""
    line = data.strip()
    signs = (b"(", b"{", b";", b" = ", b"=>", b"::", b"->")
    return b"\n" in line or any(sign in line for sign in signs)


def _inputs(given: str | list[Any]) -> list[bytes]:
    if isinstance(given, str):
        found = [encoded(given)]
    elif given and isinstance(given[0], int):
        found = [bytes(given)]
    else:
        found = [encoded(one) if isinstance(one, str) else bytes(one) for one in given]
    if not 1 <= len(found) <= MOST_INPUTS or not all(found):
        raise InputError(f"input must be 1 to {MOST_INPUTS} texts, none of them empty")
    return found


def _base64(row: NDArray[np.float32]) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
