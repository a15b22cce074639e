"""The guard around an application that answers every request with its body's length."""

import asyncio
import hmac
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


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:9999", "null", "", "http://[", "//["]
)
def test_another_sites_page_cannot_post(origin: str) -> None:
    status, _, body = ask(Guard(inner), method="POST", headers={"origin": origin})
    assert status == 403
    assert json.loads(body)["error"]["code"] == "wrong_origin"


def shake_hands(token: str | None = None, **headers: str) -> list[dict]:
    """What a websocket's client is answered by a guard around an application that accepts all."""
    sent: list[dict] = []
    given = {"host": "127.0.0.1:7860"} | headers
    scope = {
        "type": "websocket",
        "path": "/gradio_api/ws",
        "scheme": "ws",
        "query_string": f"token={TOKEN}".encode(),  # is for the page alone
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }

    async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(Guard(accepting, token=token)(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    ("token", "headers", "said"),
    [
        (None, {"host": "evil.example"}, "is not this machine"),
        (None, {"origin": "https://evil.example"}, "may not ask this server"),
        (TOKEN, {}, "send the server's token"),
        (TOKEN, {"authorization": "Bearer wrong"}, "send the server's token"),
        (TOKEN, {"cookie": f"codebyte_session={TOKEN}"}, "send the server's token"),
    ],
)
def test_a_websocket_is_closed_before_it_opens_where_a_request_would_be_refused(
    token: str | None, headers: dict[str, str], said: str
) -> None:
    (answer,) = shake_hands(token, **headers)
    assert (answer["type"], answer["code"]) == ("websocket.close", 1008)
    assert said in answer["reason"]


def test_a_websocket_of_our_own_page_or_with_the_token_opens() -> None:
    accepted = [{"type": "websocket.accept"}]
    assert shake_hands() == accepted
    assert shake_hands(origin="http://127.0.0.1:7860") == accepted
    bearer = f"Bearer {TOKEN}"
    assert shake_hands(TOKEN, authorization=bearer, host="codebyte.example") == accepted


def test_our_own_page_can_post() -> None:
    headers = {"origin": "http://127.0.0.1:7860"}
    assert ask(Guard(inner), method="POST", headers=headers)[0] == 200


def test_another_sites_preflight_is_refused_even_with_the_token() -> None:
    evil = {"origin": "https://evil.example", "authorization": f"Bearer {TOKEN}"}
    for guard in (Guard(inner), Guard(inner, token=TOKEN)):
        status, _, body = ask(guard, method="OPTIONS", headers=evil)
        assert status == 403
        assert json.loads(body)["error"]["code"] == "wrong_origin"
    assert ask(Guard(inner, token=TOKEN), method="POST", headers=evil)[0] == 200  # a program


def test_an_application_cannot_open_its_answers_to_other_sites() -> None:
    opened = {
        "Access-Control-Allow-Origin": "*",
        "access-control-allow-credentials": "true",
        "x-kept": "kept",
    }

    async def open_to_all(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in opened.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"read"})

    assert ask(Guard(open_to_all)) == (200, {"x-kept": "kept"}, b"read")


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


def test_a_person_is_asked_for_the_token_and_gets_in_with_it() -> None:
    guard = Guard(inner, token=TOKEN)
    html = {"accept": "text/html,*/*"}
    status, headers, body = ask(guard, headers=html)
    assert status == 401
    assert headers["content-type"].startswith("text/html")
    assert b'action="/cb-login"' in body
    assert b"not the token" not in body
    status, _, body = ask(guard, method="POST", path="/cb-login", chunks=[b"token=wrong"])
    assert status == 401
    assert b"not the token" in body
    status, headers, _ = ask(
        guard, method="POST", path="/cb-login", chunks=[b"token=", TOKEN.encode()]
    )
    assert (status, headers["location"]) == (303, "/")
    session = headers["set-cookie"].partition(";")[0]
    assert ask(guard, path="/config", headers={"cookie": session})[0] == 200


def test_another_sites_form_cannot_log_in_and_a_long_one_is_not_read() -> None:
    guard = Guard(inner, token=TOKEN)
    evil = {"origin": "https://evil.example"}
    filled = [f"token={TOKEN}".encode()]
    assert ask(guard, method="POST", path="/cb-login", headers=evil, chunks=filled)[0] == 403
    endless = (b"x" * 4096 for _ in iter(int, 1))
    parts = [next(endless) for _ in range(50)]
    assert ask(guard, method="POST", path="/cb-login", chunks=[*parts, *filled])[0] == 401


def test_only_the_page_itself_answers_with_the_form() -> None:
    guard = Guard(inner, token=TOKEN)
    for path in ("/v1/models", "/config", "/docs", "/metrics", "/openapi.json"):
        status, headers, body = ask(guard, path=path, headers={"accept": "text/html"})
        assert status == 401
        assert headers["www-authenticate"] == "Bearer"
        assert json.loads(body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\u00e9" * 22])
def test_no_other_token_is_taken_anywhere(token: str) -> None:
    guard = Guard(inner, token=TOKEN)
    assert ask(guard, headers={"authorization": f"Bearer {token}"}, path="/v1/models")[0] == 401
    assert ask(guard, query=f"token={token}")[0] == 401
    assert ask(guard, headers={"cookie": f"codebyte_session={token}"}, path="/config")[0] == 401


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def watched(given: bytes, wanted: bytes) -> bool:
        compared.append(wanted)
        return hmac.compare_digest(given, wanted)

    class Watched:
        compare_digest = staticmethod(watched)

    monkeypatch.setattr("codebyte.apps.guard.hmac", Watched)
    guard = Guard(inner, token=TOKEN)
    ask(guard, headers={"authorization": "Bearer a"})
    ask(guard, query="token=a")
    ask(guard, method="POST", path="/cb-login", chunks=[b"token=a"])
    assert compared.count(TOKEN.encode()) >= 2
    assert f"Bearer {TOKEN}".encode() in compared
