"""/infill as llama.cpp's clients use it, over a real socket."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import serving
from taught import AFTER, BEFORE, ENDLESS, HALF, HOLE, REST, TEXT, taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.context import with_context
from codebyte.apps.guard import Guard
from codebyte.apps.held_back import IndentedLines, UnclosedText
from codebyte.apps.session import Session
from codebyte.tasks.filters import closers_replaced

# What llama.vim sends at a caret, field for field (autoload/llama.vim, llama#fim).
LLAMA_VIM: dict[str, Any] = {
    "id_slot": 0,
    "input_prefix": HALF[: HALF.rfind("\n") + 1],
    "input_suffix": "\n",
    "input_extra": [],
    "prompt": HALF[HALF.rfind("\n") + 1 :],
    "n_predict": 128,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
    "response_fields": [
        "content",
        "timings/prompt_n",
        "timings/prompt_ms",
        "timings/prompt_per_token_ms",
        "timings/prompt_per_second",
        "timings/predicted_n",
        "timings/predicted_ms",
        "timings/predicted_per_token_ms",
        "timings/predicted_per_second",
        "truncated",
        "tokens_cached",
    ],
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = Guard(create_api(Session(taught_checkpoint())))
    with (
        serving(app) as address,
        httpx.Client(base_url=address, timeout=120, trust_env=False) as client,
    ):
        yield client


def infilled(client: httpx.Client, **asked: Any) -> dict[str, Any]:
    reply = client.post("/infill", json=asked)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_llama_vims_own_payload_gets_the_fields_it_reads(client: httpx.Client) -> None:
    found = infilled(client, **LLAMA_VIM)
    assert list(found) == LLAMA_VIM["response_fields"]
    assert found["content"] == REST
    assert found["timings/predicted_n"] == len(REST)
    assert found["truncated"] is False


def test_a_ring_update_reads_nothing_and_answers_with_nothing(client: httpx.Client) -> None:
    update = LLAMA_VIM | {
        "input_prefix": "",
        "input_suffix": "",
        "prompt": "",
        "n_predict": 0,
        "t_max_predict_ms": 1,
        "response_fields": [""],
        "input_extra": [{"filename": "a.py", "text": "x = 1\n"}],
    }
    assert infilled(client, **update) == {}


def test_a_hole_is_filled_and_all_is_told(client: httpx.Client) -> None:
    found = infilled(client, input_prefix=BEFORE, input_suffix=AFTER)
    assert (found["content"], found["stop"], found["stop_type"]) == (HOLE, True, "eos")
    assert found["tokens_predicted"] == len(HOLE)
    assert found["tokens_evaluated"] == len(BEFORE) + len(AFTER)
    assert found["generation_settings"]["n_predict"] == 128


def test_n_predict_0_makes_the_next_request_cheap(client: httpx.Client) -> None:
    asked = {"input_prefix": TEXT[:70], "input_suffix": "\n# never seen before\n"}
    warmed = infilled(client, **asked, n_predict=0)
    assert (warmed["content"], warmed["stop_type"]) == ("", "limit")
    after = infilled(client, **asked | {"prompt": TEXT[70:71]}, n_predict=1)
    assert after["tokens_cached"] >= 70


def test_n_predict_counts_four_bytes_and_stop_texts_end(client: httpx.Client) -> None:
    asked = {"input_prefix": HALF, "input_suffix": ""}
    limited = infilled(client, **asked, n_predict=2)
    assert (limited["content"], limited["stop_type"]) == (REST[:8], "limit")
    stopped = infilled(client, **asked, stop=["* h"])
    assert (stopped["content"], stopped["stop_type"]) == (REST[:6], "word")


def test_a_stream_ends_with_all_that_is_told_of_the_whole(client: httpx.Client) -> None:
    asked = {"input_prefix": HALF, "stream": True}
    with client.stream("POST", "/infill", json=asked) as reply:
        lines = [line for line in reply.iter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert "".join(event["content"] for event in events) == REST
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["timings"]["predicted_n"] == len(REST)


@pytest.mark.parametrize("stream", [True, False])
def test_what_the_suffix_closes_is_not_closed_twice(client: httpx.Client, stream: bool) -> None:
    before, _, _ = (BEFORE + HOLE).partition('f"')
    asked = {"input_prefix": before, "input_suffix": ")", "stream": stream}
    reply = client.post("/infill", json=asked)
    pieces = reply.text.split("\n\n")[:-1] if stream else [reply.text]
    events = [json.loads(piece.removeprefix("data: ")) for piece in pieces]
    assert "".join(event["content"] for event in events) == f'f"{HOLE}"'


def test_text_is_shown_that_opens_what_it_closed_again() -> None:
    unclosed = UnclosedText(b"x = f(", b")\n")
    shown = [unclosed.add(piece) for piece in (b"a", b")", b".g", b"(b, c", b") + 1")]
    assert shown == [b"a", b"", b"", b").g(b, c", b""]
    assert unclosed.rest() == b""


@given(st.lists(st.sampled_from([b"a", b"(", b")", b"))", b'"', b'")', b"]", b"\n"])))
def test_shown_is_the_longest_part_after_which_nothing_is_to_be_replaced(
    pieces: list[bytes],
) -> None:
    prefix, suffix, text = b'f(g("', b'"))\n', b"".join(pieces)
    fitting = [
        text[:end]
        for end in range(len(text) + 1)
        if closers_replaced(prefix, text[:end], suffix) == 0
    ]
    unclosed = UnclosedText(prefix, suffix)
    assert b"".join([*map(unclosed.add, pieces), unclosed.rest()]) == fitting[-1]


def test_half_a_character_does_no_harm(client: httpx.Client) -> None:
    content = b'{"prompt": "\\ud83d", "stop": ["\\ud83d"], "n_predict": 1}'
    reply = client.post("/infill", content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert (found["prompt"], found["generation_settings"]["stop"]) == ("?", ["?"])


@given(st.text("a \n\t", max_size=20), st.integers(0, 3), st.integers(1, 5))
def test_a_line_indented_too_little_ends_the_text(text: str, indent: int, step: int) -> None:
    def slowly() -> str:
        first, *rest = text.split("\n")
        kept = [first]
        for line in rest:
            if line.strip(" \t") and len(line) - len(line.lstrip(" \t")) < indent:
                break
            kept.append(line)
        else:
            return "\n".join(kept)
        return "\n".join(kept)

    lines, shown = IndentedLines(indent), b""
    for start in range(0, len(text), step):
        shown += lines.add(text[start : start + step].encode())
        if lines.ended:
            break
    shown += lines.rest()
    assert shown.decode().rstrip("\n") == slowly().rstrip("\n")
    assert lines.ended == (slowly() != text)


def test_other_texts_are_read_and_the_nearest_part_of_the_prefix_stays() -> None:
    others = [("a.py", "first = 1\n" * 2), ("b.py", "second = 2\n" * 2)]
    joined = with_context(b"x = ", others, 300)
    assert joined == b"# a.py\nfirst = 1\nfirst = 1\n\n# b.py\nsecond = 2\nsecond = 2\n\nx = "
    assert with_context(b"x = ", others, 120) == b"# b.py\nsecond = 2\nsecond = 2\n\nx = "
    assert with_context(b"x = ", [], 300) == b"x = "
    long = b"".join(b"line %03d\n" % i for i in range(100))
    cut = with_context(long, others, 300)
    assert cut.startswith(b"# a.py\n")
    kept = cut.partition(b"second = 2\n\n")[2]
    assert long.endswith(kept)
    assert 75 < len(kept) <= 150
    assert kept.startswith(b"line ")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"stop": [""]}, "stop must be at most 16 texts, none of them empty"),
        ({"input_extra": "x"}, "input_extra: "),
        ({"n_predict": "all"}, "n_predict: "),
    ],
)
def test_what_cannot_be_done_is_said(
    client: httpx.Client, asked: dict[str, Any], message: str
) -> None:
    reply = client.post("/infill", json={"input_prefix": ENDLESS} | asked)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(message)
