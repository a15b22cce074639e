"""Attacks on the whole API as it is served, over a real socket."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from served import serving
from taught import taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.guard import LARGEST_BODY, Guard
from codebyte.apps.session import Session

TOKEN = "a-token-of-some-length"
EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(taught_checkpoint())


@pytest.fixture(scope="module")
def local(session: Session) -> Iterator[str]:
    with serving(Guard(create_api(session))) as address:
        yield address


@pytest.fixture(scope="module")
def public(session: Session) -> Iterator[str]:
    with serving(Guard(create_api(session), token=TOKEN)) as address:
        yield address


def test_every_route_but_health_wants_the_token(public: str, session: Session) -> None:
    routes = create_api(session).routes
    tried = set()
    for route in routes:
        for method in getattr(route, "methods", None) or ():
            path = route.path.replace("{name}", "codebyte").replace("{rest:path}", "x")
            reply = httpx.request(method, f"{public}{path}", json={})
            assert (reply.status_code == 401) != (path == "/health"), (method, path)
            tried.add(path)
    assert {"/v1/completions", "/infill", "/v1/embeddings", "/metrics", "/docs"} <= tried


def test_no_other_site_may_read_or_ask(local: str, public: str) -> None:
    preflight = {"origin": EVIL, "access-control-request-method": "POST"}
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for address, headers in ((local, {}), (public, bearer)):
        for path in ("/v1/completions", "/infill"):
            asked = httpx.options(f"{address}{path}", headers=preflight | headers)
            assert not any(name.startswith("access-control") for name in asked.headers)
            assert asked.status_code >= 400
        listed = httpx.get(f"{address}/v1/models", headers={"origin": EVIL} | headers)
        assert not any(name.startswith("access-control") for name in listed.headers)
    assert httpx.post(f"{local}/infill", json={}, headers={"origin": EVIL}).status_code == 403


def test_a_name_pointed_at_this_machine_is_refused_on_every_route(local: str) -> None:
    port = local.rpartition(":")[2]
    for path in ("/v1/models", "/docs", "/metrics", "/"):
        reply = httpx.get(f"{local}{path}", headers={"host": f"evil.example:{port}"})
        assert reply.status_code == 403
        assert reply.json()["error"]["code"] == "wrong_host"


def test_a_form_of_another_site_without_an_origin_is_no_json(local: str) -> None:
    body = json.dumps({"prompt": "x", "max_tokens": 1})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        reply = httpx.post(f"{local}/v1/completions", content=body, headers={"content-type": kind})
        assert reply.status_code == 400


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/infill", "/v1/embeddings", "/v1/events", "/v1/health"]
)
def test_a_body_that_claims_to_be_huge_is_refused_unread(local: str, path: str) -> None:
    host, _, port = local.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {LARGEST_BODY + 1}\r\n\r\n".encode()
        )
        assert b" 413 " in raw.recv(4096).partition(b"\r\n")[0]


def test_the_longest_prompt_that_is_let_in_costs_no_more_than_the_context(local: str) -> None:
    asked = {"prompt": "x = 1\n" * (LARGEST_BODY // 8), "max_tokens": 1, "temperature": 0}
    body = httpx.post(f"{local}/v1/completions", json=asked, timeout=60).json()
    assert body["usage"]["completion_tokens"] == 4


def test_a_completion_is_never_longer_than_the_limit(local: str) -> None:
    asked = {"prompt": "x", "max_tokens": 10**9, "n": 16, "temperature": 0}
    assert httpx.post(f"{local}/v1/completions", json=asked | {"n": 17}).status_code == 400
    whole = httpx.post(f"{local}/infill", json={"input_prefix": "x", "n_predict": 10**9})
    assert whole.status_code == 200
    assert whole.json()["tokens_predicted"] <= 1 << 14
