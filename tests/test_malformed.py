"""Bodies that nobody should send: each gets a 4xx in OpenAI's shape, and the server lives on."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import serving
from taught import TEXT, taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.guard import Guard
from codebyte.apps.session import Session

ROUTES = (
    *("/v1/completions", "/infill", "/v1/embeddings"),
    *("/v1/complete", "/v1/alternatives"),
)
FIELDS = (
    *("prompt", "suffix", "max_tokens", "temperature", "top_p", "n", "best_of", "stream"),
    *("logprobs", "echo", "stop", "seed", "segments", "input", "dimensions", "encoding_format"),
    *("input_prefix", "input_suffix", "input_extra", "n_predict", "n_indent", "top_k"),
    *("response_fields", "prefix", "session", "max_new_bytes", "user", "stream_options"),
    *("path", "multiline", "repo", "alone"),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "\0", "x" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
# Cheap to run where they happen to be right.
QUICK = {"max_tokens": 1, "n_predict": 1, "max_new_bytes": 1}
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"{", b"null", b"[]", b'"x"', b"[" * 100_000, b'{"a":' * 5000]),
    st.sampled_from([b"\xff\xfe{}", b'{"prompt": NaN}', b'{"seed": 1e999}', b"9" * 5000]),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4).map(
        lambda body: json.dumps(QUICK | body).encode()
    ),
)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = Guard(create_api(Session(taught_checkpoint())))
    with (
        serving(app) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
    ):
        yield client


def check(reply: httpx.Response) -> None:
    """Whether an answer is a good one or a refusal in OpenAI's shape."""
    assert reply.status_code < 500 or reply.status_code == 501, reply.text
    if reply.status_code >= 400:
        error = reply.json()["error"]
        assert sorted(error) == ["code", "message", "param", "type"]
        assert error["message"]
        assert isinstance(error["type"], str)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(ROUTES), BODIES, st.sampled_from(["application/json", "text/plain", "x", None])
)
def test_no_body_brings_the_server_down(
    client: httpx.Client, route: str, body: bytes, kind: str | None
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    check(client.post(route, content=body, headers=headers))


def test_it_still_answers_after_them(client: httpx.Client) -> None:
    asked = {"prompt": TEXT[:30], "temperature": 0, "max_tokens": 5}
    body = client.post("/v1/completions", json=asked).json()
    assert body["choices"][0]["text"] == TEXT[30:50]
    assert client.get("/health").json()["requests"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/v1/nothing", 404),
        ("GET", "/v1/models/%ED%A0%80", 404),
        ("GET", "/nowhere", 404),
    ],
)
def test_wrong_ways_and_methods_are_refused_in_the_same_shape(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    reply = client.request(method, path)
    assert reply.status_code == status
    check(reply)


@pytest.mark.parametrize("seed", [-1, -(2**70), 2**70, 0])
def test_any_integer_is_a_seed(client: httpx.Client, seed: int) -> None:
    asked: dict[str, Any] = {"prompt": "x", "seed": seed, "max_tokens": 2}
    first, again = (client.post("/v1/completions", json=asked).json() for _ in range(2))
    assert first["choices"] == again["choices"]
