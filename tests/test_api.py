"""The routes, over a real socket, with a tiny model that knows one text by heart."""

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from served import serving
from taught import AFTER, BEFORE, ENDLESS, HALF, HOLE, REST, TEXT, taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.completion_requests import CompletionsRequest, job_of
from codebyte.apps.guard import LARGEST_BODY, Guard
from codebyte.apps.session import Session
from codebyte.scoring import surprisal

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(taught_checkpoint())


@pytest.fixture(scope="module")
def address(session: Session) -> Iterator[str]:
    with serving(Guard(create_api(session))) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        yield client


def completed(client: httpx.Client, **asked: Any) -> dict[str, Any]:
    reply = client.post("/v1/completions", json={"temperature": 0} | asked)
    assert reply.status_code == 200, reply.text
    return reply.json()


def refused(client: httpx.Client, status: int, **asked: Any) -> dict[str, Any]:
    reply = client.post("/v1/completions", json=asked)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    return error


def streamed(client: httpx.Client, route: str = "/v1/completions", **asked: Any) -> list[Any]:
    with client.stream("POST", route, json=asked) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    values = [line.removeprefix("data: ") for line in lines]
    return [value if value == "[DONE]" else json.loads(value) for value in values]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["text"] for chunk in chunks if chunk["choices"])


def test_health_counts_what_is_under_way(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ok", "requests": 0}


def test_the_one_model_is_listed_and_no_other_found(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["codebyte"]
    assert client.get("/v1/models/codebyte").json() == listed["data"][0]
    missing = client.get("/v1/models/gpt-9")
    assert missing.status_code == 404
    assert missing.json()["error"]["message"] == "there is no model 'gpt-9' here, only 'codebyte'"


def test_a_limit_of_n_tokens_gives_four_n_bytes(client: httpx.Client) -> None:
    body = completed(client, prompt=TEXT[:30], max_tokens=5)
    choice = body["choices"][0]
    assert choice == {
        "index": 0,
        "text": TEXT[30:50],
        "logprobs": None,
        "finish_reason": "length",
    }
    assert body["usage"]["completion_tokens"] == 20
    assert body["usage"]["total_tokens"] == 50
    assert (body["object"], body["model"]) == ("text_completion", "codebyte")


def test_the_model_ends_a_text_it_knows(client: httpx.Client) -> None:
    choice = completed(client, prompt=TEXT[:30], max_tokens=100)["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (TEXT[30:], "stop")


def test_what_follows_is_taken_into_account(client: httpx.Client) -> None:
    choice = completed(client, prompt=BEFORE, suffix=AFTER, max_tokens=100)["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (HOLE, "stop")


@pytest.mark.parametrize("how", [{}, {"temperature": None}, {"temperature": 0.01}])
def test_a_text_ends_where_the_suffix_follows_best(
    client: httpx.Client, how: dict[str, float | None]
) -> None:
    asked = {"prompt": ENDLESS * 3 + "ti", "suffix": "tick!", "max_tokens": 10} | how
    choice = completed(client, **asked)["choices"][0]
    assert (choice["text"][-6:], choice["finish_reason"]) == (" tock ", "stop")
    *chunks, _ = streamed(client, **{"temperature": 0} | asked, stream=True)
    assert text_of(chunks) == choice["text"]


@pytest.mark.parametrize(
    ("asked", "temperature"),
    [
        ({"prompt": f"<|fim_prefix|>{BEFORE}<|fim_suffix|>{AFTER}<|fim_middle|>"}, 0.0),  # Zed
        ({"prompt": f"<|fim_prefix|>{BEFORE}<|fim_suffix|><|fim_middle|>"}, 0.0),  # at a file's end
        ({"prompt": BEFORE, "suffix": ""}, 0.0),
        ({"prompt": BEFORE, "suffix": AFTER, "temperature": 0.01}, 0.0),  # Continue
        ({"prompt": BEFORE, "suffix": AFTER, "temperature": 0.2}, 0.2),
        ({"prompt": BEFORE, "suffix": AFTER, "n": 2}, 1.0),
        ({"prompt": BEFORE}, 1.0),
    ],
)
def test_at_a_caret_the_likeliest_text_is_wanted(asked: dict[str, Any], temperature: float) -> None:
    assert job_of(CompletionsRequest(**asked)).choices[0].params.temperature == temperature


def test_several_texts_differ_unless_told_otherwise(client: httpx.Client) -> None:
    asked = {"prompt": "", "max_tokens": 16, "n": 4, "seed": 1}
    for more in ({}, {"suffix": AFTER}):
        choices = completed(client, **asked, **more, temperature=None)["choices"]
        assert len({choice["text"] for choice in choices}) > 1


@pytest.mark.parametrize("stop", ["width * h", ["nowhere", "width * h"]])
def test_a_stop_text_ends_the_output_and_is_not_in_it(client: httpx.Client, stop: Any) -> None:
    before = TEXT[30 : TEXT.index("width * h")]
    choice = completed(client, prompt=TEXT[:30], max_tokens=100, stop=stop)["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (before, "stop")
    chunks = streamed(
        client, prompt=TEXT[:30], max_tokens=100, stop=stop, temperature=0, stream=True
    )
    assert text_of(chunks[:-1]) == before


def test_a_stream_is_the_answer_in_pieces_with_usage_and_an_end(client: httpx.Client) -> None:
    asked = {"prompt": TEXT[:30], "max_tokens": 100, "temperature": 0, "stream": True}
    *chunks, usage, done = streamed(client, **asked, stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert text_of(chunks) == TEXT[30:]
    assert len(chunks) > 2  # what is written within some milliseconds goes out together
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["stop"]
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == len(TEXT) - 30
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in streamed(client, **asked)[:-1])


def test_choices_are_numbered_prompt_by_prompt(client: httpx.Client) -> None:
    body = completed(client, prompt=[TEXT[:30], TEXT[:90]], n=2, max_tokens=2)
    found = [(choice["index"], choice["text"]) for choice in body["choices"]]
    assert found == [(0, TEXT[30:38]), (1, TEXT[30:38]), (2, TEXT[90:98]), (3, TEXT[90:98])]
    assert body["usage"]["prompt_tokens"] == 120


def test_a_prompt_may_be_byte_values(client: httpx.Client) -> None:
    body = completed(client, prompt=list(TEXT[:30].encode()), max_tokens=2)
    assert body["choices"][0]["text"] == TEXT[30:38]


def test_the_same_seed_draws_the_same_and_another_does_not(client: httpx.Client) -> None:
    def drawn(seed: int) -> list[str]:
        body = completed(client, prompt="x", seed=seed, temperature=1.5, max_tokens=10, n=2)
        return [choice["text"] for choice in body["choices"]]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(5)
    assert drawn(1)[0] != drawn(1)[1]


def test_a_prompt_typed_on_is_read_from_where_it_is_new(client: httpx.Client) -> None:
    completed(client, prompt=TEXT[:60], max_tokens=0)
    usage = completed(client, prompt=TEXT[:61], max_tokens=0)["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 60}


def test_an_echo_scores_the_prompt_byte_by_byte(client: httpx.Client, session: Session) -> None:
    prompt = "def gr\u00e9et"
    body = completed(client, prompt=prompt, echo=True, max_tokens=0, logprobs=2)
    choice = body["choices"][0]
    found = choice["logprobs"]
    bits = surprisal(session.model, prompt.encode())
    assert choice["text"] == prompt
    assert found["tokens"] == [*"def gr", "bytes:\\xc3", "bytes:\\xa9", *"et"]
    assert found["text_offset"] == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8]
    assert found["token_logprobs"][0] is None
    assert found["token_logprobs"][1:] == pytest.approx(-bits[1:] * math.log(2), abs=1e-3)
    assert found["top_logprobs"][0] is None
    assert [len(top) for top in found["top_logprobs"][1:]] == [2] * 9
    assert max(found["top_logprobs"][2], key=found["top_logprobs"][2].get) == "f"


def test_logprobs_of_a_stream_are_those_of_the_whole(client: httpx.Client) -> None:
    asked = {"prompt": TEXT[:30], "max_tokens": 3, "logprobs": 1, "temperature": 0}
    whole = completed(client, **asked)["choices"][0]["logprobs"]
    chunks = streamed(client, **asked, stream=True)[:-1]
    parts = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    values = [value for part in parts if part for value in part["token_logprobs"]]
    assert values == pytest.approx(whole["token_logprobs"], abs=1e-3)
    assert [name for part in parts if part for name in part["tokens"]] == whole["tokens"]


def test_logprobs_of_more_than_the_model_reads_are_refused(client: httpx.Client) -> None:
    error = refused(client, 400, prompt="x" * 300, logprobs=1, echo=True, max_tokens=0)
    assert error["message"] == (
        "logprobs are for at most 256 bytes of prompt and completion, these are 300"
    )


def test_a_prompt_longer_than_the_context_is_read_from_its_end(client: httpx.Client) -> None:
    long = "\n" * 1000 + TEXT[:90]
    body = completed(client, prompt=long, max_tokens=1)
    assert len(body["choices"][0]["text"]) == 4
    assert body["usage"]["prompt_tokens"] == 1090


def test_unknown_fields_and_nulls_are_taken(client: httpx.Client) -> None:
    asked = {"logit_bias": {}, "user": "ada", "presence_penalty": 0, "suffix": None, "n": None}
    body = completed(client, prompt=TEXT[:30], max_tokens=1, stop=None, seed=None, **asked)
    assert body["choices"][0]["text"] == TEXT[30:34]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"echo": True, "suffix": "x"}, "echo and suffix exclude each other: send one of them"),
        ({"n": 17}, "1 prompts times n 17 must be from 1 to 16 completions"),
        ({"prompt": []}, "0 prompts times n 1 must be from 1 to 16 completions"),
        ({"best_of": 3}, "best_of 3 must not be more than n 1"),
        ({"stop": [""]}, "stop [''] must be at most 4 texts, none of them empty"),
        ({"temperature": 3}, "temperature: Input should be less than or equal to 2"),
        ({"max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
        ({"prompt": [256]}, "prompt: "),
    ],
)
def test_what_cannot_be_done_is_said_in_openais_shape(
    client: httpx.Client, asked: dict[str, Any], message: str
) -> None:
    error = refused(client, 400, **{"prompt": "x"} | asked)
    assert error["message"].startswith(message)
    assert error["type"] == "invalid_request_error"


def test_what_is_no_json_is_refused(client: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    reply = client.post("/v1/completions", content=b"{", headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"]
    assert client.post("/v1/nothing", json={}).json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/complete"])
def test_a_body_too_large_is_refused_before_it_is_read(client: httpx.Client, path: str) -> None:
    reply = client.post(path, json={"prompt": "x" * LARGEST_BODY})
    assert reply.status_code == 413
    chunks = (b"x" * 65536 for _ in range(2 + LARGEST_BODY // 65536))
    headers = {"content-type": "application/json"}
    assert client.post(path, content=chunks, headers=headers).status_code == 413


def test_the_page_gets_pieces_and_then_what_they_cost(client: httpx.Client) -> None:
    asked = {"prefix": HALF, "session": "page 1"}
    *pieces, done = streamed(client, "/v1/complete", **asked)
    text = "".join(piece["text"] for piece in pieces)
    assert text == REST
    assert sum(len(piece["bits"]) for piece in pieces) == len(text)
    assert not any(piece["done"] for piece in pieces)
    assert done["done"] is True
    assert (done["stop_reason"], done["replace_suffix_bytes"]) == ("line", 0)
    assert done["ttfb_ms"] > 0
    again = streamed(client, "/v1/complete", **asked | {"prefix": HALF + REST[0]})[-1]
    assert again["cached_bytes"] > done["cached_bytes"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/complete"])
def test_half_a_character_does_no_harm(client: httpx.Client, path: str) -> None:
    half = b'"x\\ud83d"'
    content = b'{"prompt": %s, "prefix": %s, "suffix": %s, "stop": %s}' % (half, half, half, half)
    reply = client.post(path, content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("stream", [True, False])
def test_whoever_leaves_stops_the_work(client: httpx.Client, stream: bool) -> None:
    asked = {"prompt": ENDLESS * 4, "temperature": 0, "max_tokens": 4096, "stream": stream}
    if stream:
        with client.stream("POST", "/v1/completions", json=asked) as reply:
            lines = reply.iter_lines()  # would close the connection once it is forgotten
            next(lines)
            assert client.get("/health").json()["requests"] == 1
    else:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/completions", json=asked, timeout=1)
    for _ in range(100):
        if client.get("/health").json()["requests"] == 0:
            break
        time.sleep(0.05)
    assert client.get("/health").json()["requests"] == 0
    assert completed(client, prompt=TEXT[:30], max_tokens=1)["choices"][0]["text"] == TEXT[30:34]


def test_openais_own_client_is_served(address: str) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        asked = {"model": "codebyte", "prompt": TEXT[:30], "max_tokens": 5, "temperature": 0}
        assert client.completions.create(**asked).choices[0].text == TEXT[30:50]
        stream = client.completions.create(**asked, stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream) == TEXT[30:50]
        with pytest.raises(openai.BadRequestError, match="echo and suffix exclude each other"):
            client.completions.create(**asked, echo=True, suffix="x")


def test_with_a_token_openais_client_must_send_it(session: Session) -> None:
    with serving(Guard(create_api(session), token=TOKEN)) as address:
        asked = {"model": "codebyte", "prompt": TEXT[:30], "max_tokens": 1, "temperature": 0}
        with openai.OpenAI(base_url=f"{address}/v1", api_key=TOKEN, max_retries=0) as client:
            assert client.completions.create(**asked).choices[0].text == TEXT[30:34]
        with (
            openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.completions.create(**asked)
