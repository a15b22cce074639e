"""/v1/embeddings, with the tiny model's own vectors where there is an embedder."""

import base64
from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest
from served import serving
from taught import taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.embeddings import looks_like_code
from codebyte.apps.guard import Guard
from codebyte.apps.session import Session

search = pytest.importorskip("codebyte.tasks.search", reason="there is no embedder yet")
INPUTS = ["open a file for reading", "def add(a, b):\n    return a + b\n"]


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(taught_checkpoint())


@pytest.fixture(scope="module")
def address(session: Session) -> Iterator[str]:
    with serving(Guard(create_api(session))) as address:
        yield address


@pytest.fixture(scope="module")
def wanted(session: Session) -> np.ndarray:
    embedder = search.Embedder(session.model)
    text, code = embedder.embed_text(INPUTS[:1]), embedder.embed_code([INPUTS[1].encode()])
    return np.concatenate([text, code])


@pytest.mark.parametrize("form", ["float", "base64"])
def test_vectors_are_the_embedders_in_both_forms(
    address: str, wanted: np.ndarray, form: str
) -> None:
    asked = {"input": INPUTS, "encoding_format": form, "model": "codebyte"}
    body = httpx.post(f"{address}/v1/embeddings", json=asked, timeout=60).json()
    rows = [item["embedding"] for item in body["data"]]
    if form == "base64":
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    np.testing.assert_allclose(np.array(rows), wanted, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert body["usage"]["prompt_tokens"] == sum(map(len, INPUTS))


def test_openais_own_client_reads_them(address: str, wanted: np.ndarray) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        found = client.embeddings.create(model="codebyte", input=INPUTS)
    np.testing.assert_allclose([item.embedding for item in found.data], wanted, atol=1e-6)


@pytest.mark.parametrize("asked", [{"input": []}, {"input": ""}, {"input": ["a", ""]}, {}])
def test_nothing_has_no_vector(address: str, asked: dict) -> None:
    reply = httpx.post(f"{address}/v1/embeddings", json=asked)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("input")


def test_dimensions_that_there_are_not_are_refused(address: str, wanted: np.ndarray) -> None:
    asked = {"input": "x", "dimensions": wanted.shape[1] + 1}
    reply = httpx.post(f"{address}/v1/embeddings", json=asked)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "dimensions"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"where are retries backed off", False),
        (b"parse a config file\n", False),
        (b"open(path)", True),
        (b"x = 1", True),
        (b"two lines\nof anything", True),
    ],
)
def test_code_is_told_from_words(text: bytes, code: bool) -> None:
    assert looks_like_code(text) is code
