"""The guard around an application that answers every request with its body's length."""

import asyncio
import json
from collections.abc import Iterable

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from codebyte.apps.guard import Guard, check_binding, is_loopback
from codebyte.errors import ConfigError

TOKEN = "a-token-of-some-length"


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


def ask(
    guard: Guard,
    *,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    headers: dict[str, str] | None = None,
    chunks: Iterable[bytes] = (b"",),
) -> tuple[int, dict[str, str], bytes]:
    sent = []
    parts = list(chunks)
    headers = {"host": "127.0.0.1:7860"} | (headers or {})
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "scheme": "http",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> dict:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost:7860", "[::1]:7860"])
def test_names_of_this_machine_are_answered(host: str) -> None:
    assert ask(Guard(inner), headers={"host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil", "", "["],
)
def test_another_name_pointed_here_is_refused(host: str) -> None:
    status, _, body = ask(Guard(inner), headers={"host": host})
    assert status == 403
    assert json.loads(body)["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:9999", "null"])
def test_another_sites_page_cannot_post(origin: str) -> None:
    status, _, body = ask(Guard(inner), method="POST", headers={"origin": origin})
    assert status == 403
    assert json.loads(body)["error"]["code"] == "wrong_origin"


def test_our_own_page_can_post() -> None:
    headers = {"origin": "http://127.0.0.1:7860"}
    assert ask(Guard(inner), method="POST", headers=headers)[0] == 200


def test_with_a_token_only_its_bearer_is_let_in_under_any_host() -> None:
    guard = Guard(inner, token=TOKEN)
    host = {"host": "codebyte.example"}
    assert ask(guard, headers=host)[0] == 401
    assert ask(guard, headers=host | {"authorization": f"Bearer {TOKEN}x"})[0] == 401
    assert ask(guard, headers=host | {"authorization": TOKEN})[0] == 401
    assert ask(guard, headers=host | {"authorization": f"Bearer {TOKEN}"})[0] == 200
    assert ask(guard, path="/health", headers=host)[0] == 200
    assert ask(guard, path="/healthy", headers=host)[0] == 401


def test_opening_the_page_with_the_token_gives_a_cookie_that_lets_it_in() -> None:
    guard = Guard(inner, token=TOKEN)
    status, headers, _ = ask(guard, query=f"token={TOKEN}")
    cookie = headers["set-cookie"]
    assert (status, headers["location"]) == (303, "/")
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    session = cookie.partition(";")[0]
    assert ask(guard, path="/config", headers={"cookie": session})[0] == 200
    assert ask(guard, path="/config", headers={"cookie": session + "x"})[0] == 401
    assert ask(guard, query="token=wrong")[0] == 401
    assert ask(guard, method="POST", query=f"token={TOKEN}")[0] == 401
    assert ask(Guard(inner, token=TOKEN), headers={"cookie": session})[0] == 401  # dies with it


def test_a_cookie_is_not_enough_for_another_sites_page() -> None:
    guard = Guard(inner, token=TOKEN)
    session = ask(guard, query=f"token={TOKEN}")[1]["set-cookie"].partition(";")[0]
    headers = {"cookie": session, "origin": "https://evil.example"}
    assert ask(guard, method="POST", headers=headers)[0] == 403


def test_a_body_is_bounded_by_what_it_says_and_by_what_it_is() -> None:
    guard = Guard(inner, largest_body=10)
    said = {"content-length": "11"}
    assert ask(guard, method="POST", headers=said)[0] == 413
    assert ask(guard, method="POST", headers={"content-length": "many"})[0] == 413
    assert ask(guard, method="POST", chunks=[b"12345", b"67890"])[2] == b"10 bytes"
    with pytest.raises(Exception, match="at most 10 bytes") as error:
        ask(guard, method="POST", chunks=[b"12345", b"67890", b"1"])
    assert error.value.status_code == 413  # the application's own handler answers with it


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_serving_this_machine_alone_needs_no_token(host: str) -> None:
    check_binding(host, None)
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "my-laptop", ""])
def test_serving_others_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="give a --token"):
        check_binding(host, None)
    check_binding(host, TOKEN)


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigError, match="a token of 4 characters"):
        check_binding("127.0.0.1", "1234")
