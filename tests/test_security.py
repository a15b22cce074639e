"""Attacks on the whole application as it is served, over a real socket."""

import gc
import json
import socket
import sys
import zipfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import serving
from taught import taught_checkpoint

from codebyte.apps import server
from codebyte.apps.api import create_api
from codebyte.apps.cli import main
from codebyte.apps.guard import LARGEST_BODY, LARGEST_UPLOAD
from codebyte.apps.server import create_app
from codebyte.apps.session import Session
from codebyte.apps.uploads import MOST_FILES, unpack
from codebyte.errors import ConfigError, InputError

pytestmark = pytest.mark.filterwarnings("default")  # gradio's own

TOKEN = "a-token-of-some-length"
EVIL = "https://evil.example"
SITES = (EVIL, "http://localhost:3000", "null")  # gradio trusts every port of this machine
READ = ("/v1/models", "/health", "/metrics")
READ_OF_THE_PAGE = ("/", "/config", "/gradio_api/info", "/cb-assets/editor.js")
ASKED = ("/v1/completions", "/infill")
ASKED_OF_THE_PAGE = ("/config", "/gradio_api/queue/join", "/gradio_api/upload")


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(taught_checkpoint())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "index"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(False, id="api"),
        pytest.param(True, id="page", marks=pytest.mark.slow),
    ],
)
def page(request: pytest.FixtureRequest) -> bool:
    """Whether the page is served beside the API."""
    return bool(request.param)


@pytest.fixture(scope="module")
def local(session: Session, page: bool, folder: Path) -> Iterator[str]:
    with serving(create_app(session, page=page, index=folder)) as address:
        yield address


@pytest.fixture(scope="module")
def public(session: Session, page: bool, folder: Path) -> Iterator[str]:
    with serving(create_app(session, token=TOKEN, page=page, index=folder)) as address:
        yield address


@pytest.fixture(autouse=True)
def left_open() -> Iterator[None]:
    """Closes what gradio leaves open, here, where that is a warning and not an error."""
    yield
    gc.collect()


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


def test_no_other_site_may_read_or_ask(local: str, public: str, page: bool) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    served = ((local, {}), (public, bearer), (public, bearer | {"host": "codebyte.example"}))
    read = READ + READ_OF_THE_PAGE if page else READ
    asked = ASKED + ASKED_OF_THE_PAGE if page else ASKED
    for (address, given), site in product(served, SITES):
        with httpx.Client(base_url=address, headers=given | {"origin": site}) as client:
            for path in read:
                reply = client.get(path)
                assert reply.status_code == 200, path
                assert opened_to_others(reply) == [], path
            for path, method in product(asked + read, ("POST", "GET")):
                wanted = {
                    "access-control-request-method": method,
                    "access-control-request-headers": "authorization",
                }
                reply = client.options(path, headers=wanted)
                assert reply.status_code == 403, path
                assert opened_to_others(reply) == [], path
            for path in asked if address == local else ():
                reply = client.post(path, json={})
                assert reply.status_code == 403, path
                assert opened_to_others(reply) == [], path


def opened_to_others(reply: httpx.Response) -> list[str]:
    """The headers that let pages of other sites read an answer."""
    return [name for name in reply.headers if name.startswith("access-control-")]


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


@pytest.mark.slow
def test_a_body_in_chunks_is_refused_once_it_is_too_large(session: Session, tmp_path: Path) -> None:
    with serving(create_app(session, index=tmp_path / "index")) as address:
        for around, status in ((-(8 << 10), 200), (8 << 10, 413)):
            size = LARGEST_UPLOAD // 4 + around  # each file is small enough, all four may not be
            upload = httpx.post(
                f"{address}/gradio_api/upload",
                content=four_files(size),  # without a length: httpx sends it in chunks
                headers={"content-type": "multipart/form-data; boundary=cut"},
                timeout=60,
            )
            assert "content-length" not in upload.request.headers
            assert upload.status_code == status


def four_files(size: int) -> Iterator[bytes]:
    for name in range(4):
        yield b'--cut\r\nContent-Disposition: form-data; name="files"; filename="%d"\r\n\r\n' % name
        yield b"x" * size
        yield b"\r\n"
    yield b"--cut--\r\n"


@pytest.mark.slow
def test_what_is_no_repository_of_the_page_is_neither_scanned_nor_searched(
    session: Session, tmp_path: Path
) -> None:
    from codebyte.apps.library import Library

    library = Library(tmp_path / "index")
    for name in ("kept", "removed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("def greet(name):\n    return name.title()\n" * 9)
        library.add(str(tmp_path / name), lambda *_: None)
    app = create_app(session, index=tmp_path / "index")
    library.remove("removed")  # but the page still offers it
    with serving(app) as address:
        for name, why in (
            ("removed", "removed is not among the repositories: kept"),
            ("unknown", "Value: unknown is not in the list of choices"),
            (str(tmp_path / "removed"), "is not in the list of choices"),
        ):
            assert why in answered(address, "scanning", [name, "", None])
        for name in ("removed", "unknown", str(tmp_path / "removed")):
            place = {"repo": name, "file": "a.py", "line": 1}
            assert "a.py is not in the index" in answered(address, "more", [], place)


def answered(address: str, function: str, inputs: list[Any], event: Any = None) -> str:
    """What Gradio says in the end when a function of the page is called as the page would."""
    functions = httpx.get(f"{address}/config").json()["dependencies"]
    (number,) = [it["id"] for it in functions if it["api_name"] == function]
    call = {"fn_index": number, "data": inputs, "event_data": event, "session_hash": "attack"}
    httpx.post(f"{address}/gradio_api/queue/join", json=call).raise_for_status()
    data = httpx.get(f"{address}/gradio_api/queue/data?session_hash=attack", timeout=60)
    messages = [json.loads(line[6:]) for line in data.text.splitlines() if line]
    (output,) = [it["output"] for it in messages if it["msg"] == "process_completed"]
    return str(output)


def test_an_archive_of_too_many_files_is_refused_before_one_is_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(MOST_FILES + 1):
            archive.writestr(f"{number}.py", "")
    with pytest.raises(InputError, match="has 5,001 files, more than 5,000"):
        unpack(tmp_path / "many.zip", folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["web", "serve"])
def test_by_default_only_this_machine_is_listened_on(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, bound = server._listen, []

    def listen(host: str, port: int) -> socket.socket:
        with real(host, 0) as listener:
            bound.append(listener.getsockname()[0])
        raise ConfigError("that is seen before a model is loaded")

    monkeypatch.setattr(server, "_listen", listen)
    monkeypatch.setattr(sys, "argv", ["codebyte", command])
    with pytest.raises(SystemExit):
        main()
    with pytest.raises(ConfigError, match="that is seen"):
        server.serve()
    assert bound == ["127.0.0.1", "127.0.0.1"]
