"""Who may ask: the checks every request passes before it reaches the page or the API.

A server on this machine alone answers only names of this machine, so that a web page elsewhere
cannot reach it by pointing its own name here (DNS rebinding), and only requests of its own page or
of programs, never those another site's page sends. A server others can reach asks for a token.
Of neither may another site's page read an answer: there is no CORS, whatever the page would allow.
"""

import hmac
import ipaddress
import json
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codebyte.apps.uploads import UPLOADS
from codebyte.errors import ConfigError

LARGEST_BODY = 4 << 20  # bytes of one request
LARGEST_UPLOAD = 16 << 20  # bytes of a file that is given to the page
_AROUND = 1 << 14  # bytes around it
SHORTEST_TOKEN = 16  # characters
_COOKIE = "codebyte_session"
_LOGIN = "/cb-login"
_LONGEST_LOGIN = 4096  # bytes of a login form that was filled in
_KINDS = {  # of errors, by their codes
    "invalid_api_key": "authentication_error",
    "rate_limit_exceeded": "rate_limit_error",
    "not_available": "unavailable_error",
}


def is_loopback(host: str) -> bool:
    """Tells whether a server bound to this host can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_binding(host: str, token: str | None) -> None:
    """Refuses to serve other machines without a token.

    Raises:
        ConfigError: if the host is not this machine's alone and there is no token, or a short one.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"host {host} can be reached by other machines: give a --token that they must send, "
            "or serve 127.0.0.1"
        )
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"a token of {len(token)} characters can be guessed: give at least {SHORTEST_TOKEN}"
        )


class Guard:
    """ASGI middleware around the whole application, the Gradio page included.

    With a token, every path but /health wants `Authorization: Bearer TOKEN`, or the cookie that a
    browser gets by the login form, or by opening the page once as /?token=TOKEN.
    """

    def __init__(
        self, app: ASGIApp, *, token: str | None = None, largest_body: int = LARGEST_BODY
    ) -> None:
        self._app = app
        self._token = token
        self._largest_body = largest_body
        # The cookie is not the token itself: it dies with the process.
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is not None and refusal[0] == 401 and scope["type"] == "http":
            if scope["path"] == _LOGIN and scope["method"] == "POST":
                await self._log_in(scope, receive, send)
                return
            if scope["path"] == "/" and "text/html" in headers.get("accept", ""):
                await _answer_form(send, wrong=False)
                return
        if refusal is not None:
            await _answer(scope, receive, send, *refusal)
            return
        if self._token is not None and scope["type"] == "http" and self._asks_for_cookie(scope):
            await self._give_cookie(scope, send)
            return
        await self._app(scope, self._bounded(receive, self._most(scope)), _closed(send))

    async def _log_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the login form: with the cookie, or with the form once more."""
        body, more = b"", True
        while more and len(body) <= _LONGEST_LOGIN:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        given = parse_qs(body[:_LONGEST_LOGIN].decode("latin-1")).get("token", [""])[0]
        if self._token is not None and _same(given, self._token):
            await self._give_cookie(scope, send)
        else:
            await _answer_form(send, wrong=True)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str, str] | None:
        """The status, error code and reason to turn a request away with; None to let it in."""
        host = headers.get("host", "")
        if self._token is None and not is_loopback(_name(host)):
            return 403, "wrong_host", f"host {host!r} is not this machine: ask for 127.0.0.1"
        bearer = self._token is not None and _same(
            headers.get("authorization", ""), f"Bearer {self._token}"
        )
        origin = headers.get("origin")
        method = scope.get("method")  # a websocket has none
        # A browser asks by OPTIONS what a page may send: nothing, even with a token.
        trusted = method in ("GET", "HEAD") or (bearer and method != "OPTIONS")
        if origin is not None and not trusted and origin.partition("://")[2] != host:
            return 403, "wrong_origin", f"pages of {origin} may not ask this server"
        if self._token is not None and not bearer and scope["path"] != "/health":
            known = _same(_cookie(headers), self._session) or self._asks_for_cookie(scope)
            if not known:
                message = "send the server's token as 'Authorization: Bearer ...', "
                message += "or open the page as /?token=... once"
                return 401, "invalid_api_key", message
        length = headers.get("content-length", "0")
        most = self._most(scope)
        if not length.isdecimal() or int(length) > most:
            return 413, "too_large", f"a request may have at most {most} bytes"
        return None

    def _asks_for_cookie(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return self._token is not None and _same(given, self._token)

    async def _give_cookie(self, scope: Scope, send: Send) -> None:
        cookie = f"{_COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict"
        if scope["scheme"] == "https":
            cookie += "; Secure"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _most(self, scope: Scope) -> int:
        """Bytes that the body of a request may have."""
        return LARGEST_UPLOAD + _AROUND if scope["path"] == UPLOADS else self._largest_body

    def _bounded(self, receive: Receive, most: int) -> Receive:
        taken = 0
        too_many = f"a request may have at most {most} bytes"

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > most:
                    raise HTTPException(413, too_many)
            return message

        return bounded


def error_body(
    message: str, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The body OpenAI's clients expect of an error."""
    kind = _KINDS.get(code or "", "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _closed(send: Send) -> Send:
    """Takes out of answers what lets pages of other sites read them, which Gradio puts in."""

    async def closed(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value)
                for name, value in message.get("headers", ())
                if not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": kept}
        await send(message)

    return closed


async def _answer_form(send: Send, *, wrong: bool) -> None:
    """The form that asks a person for the token."""
    body = _FORM.replace("NOTE", "That is not the token." if wrong else "").encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer(
    scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": message})
        return
    body = json.dumps(error_body(message, code=code)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _same(given: str, wanted: str) -> bool:
    """Compares in constant time, so that a token cannot be found letter by letter."""
    return hmac.compare_digest(given.encode(), wanted.encode())


def _cookie(headers: dict[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _name(host: str) -> str:
    """The name in a Host header, without the port: 'localhost:7860' or '[::1]:7860'."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>codebyte</title>
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { min-height: 100vh; margin: 0; display: grid; place-items: center; }
form { display: grid; gap: 12px; width: min(22rem, 90vw); }
h1 { margin: 0; font-size: 1.4rem; }
input, button { font: inherit; padding: 8px 12px; border-radius: 6px; border: 1px solid #8888; }
button { background: #0b7a67; border-color: #0b7a67; color: #fff; cursor: pointer; }
p { margin: 0; min-height: 1.5em; color: #c0392b; }
</style></head>
<body><form method="post" action="/cb-login"><h1>codebyte</h1>
<label for="token">The server's token</label>
<input id="token" name="token" type="password" autocomplete="current-password" autofocus required>
<button>Open</button><p role="alert">NOTE</p></form></body></html>
"""
