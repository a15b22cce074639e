"""The page's server as a program meets it: Gradio's own client."""

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import httpx2
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from scanned import CODE, KEY
from served import serving
from taught import TEXT, taught_checkpoint

from codebyte.apps.guard import LARGEST_BODY, LARGEST_UPLOAD
from codebyte.apps.session import Session
from codebyte.scoring import surprisal

gradio_client = pytest.importorskip("gradio_client")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # gradio's own

MakeRepo = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture(autouse=True)
def left_open() -> Iterator[None]:
    """Closes what gradio leaves open, here, where that is a warning and not an error."""
    yield
    gc.collect()


def test_gradios_client_finds_the_functions_and_calls_them(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    from codebyte.apps.library import Library
    from codebyte.apps.server import create_app

    repo = make_repo(tmp_path / "shapes", {"shapes.py": TEXT.encode()})
    session = Session(taught_checkpoint())
    Library(tmp_path / "index").add(str(repo), lambda *_: None)
    with serving(create_app(session, index=tmp_path / "index")) as address:
        client = gradio_client.Client(address, verbose=False, analytics_enabled=False)
        named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
        assert sorted(named) == ["/score", "/search"]
        scored = client.predict(TEXT, api_name="/score")
        expected = surprisal(session.model, TEXT.encode())
        assert scored["bits"] == pytest.approx(expected.tolist(), abs=1e-3)
        hit, *_ = client.predict("greet", "", "", api_name="/search")
        assert (hit["repo"], hit["file"]) == ("shapes", "shapes.py")
        assert "def greet" in hit["snippet"]
        with pytest.raises(gradio_client.exceptions.AppError, match="it may have 1 to"):
            client.predict("", api_name="/score")
        client.close()


def test_an_agent_calls_the_pages_tools_over_http_with_the_token(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    from codebyte.apps.library import Library
    from codebyte.apps.server import create_app

    make_repo(tmp_path / "other", {"other.py": CODE})
    repo = make_repo(tmp_path / "shapes", {"shapes.py": TEXT.encode(), "keys.py": CODE + KEY})
    session, token = Session(taught_checkpoint()), "a-token-of-some-length"
    Library(tmp_path / "index").add(str(repo), lambda *_: None)

    async def talk(address: str) -> tuple[list[str], dict[str, Any]]:
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http,
            streamable_http_client(f"{address}/mcp", http_client=http) as (receive, send),
            ClientSession(receive, send) as client,
        ):
            await client.initialize()
            names = [tool.name for tool in (await client.list_tools()).tools]
            calls = {
                "search": {"query": "greet", "repo": "shapes", "k": 1},
                "similar": {"repo": "shapes", "path": "shapes.py", "line": 1},
                "scan": {"repo": "shapes"},
            }
            found = {name: await client.call_tool(name, given) for name, given in calls.items()}
            found["unknown"] = await client.call_tool("scan", {"repo": str(tmp_path / "other")})
            return names, found

    with serving(create_app(session, token=token, index=tmp_path / "index")) as address:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for headers in ({}, {"authorization": "Bearer wrong"}):
            assert httpx.post(f"{address}/mcp", json=hello, headers=headers).status_code == 401
        names, found = asyncio.run(asyncio.wait_for(talk(address), 120))
    assert sorted(names) == ["scan", "search", "similar"]
    (hit,) = found["search"].structured_content["result"]
    assert (hit["repo"], hit["path"]) == ("shapes", "shapes.py")
    assert not found["similar"].is_error
    places = found["scan"].structured_content["result"]
    assert ("keys.py", "CB205") in {(place["path"], place["rule"]) for place in places}
    assert found["unknown"].is_error  # a path is no name of a repository
    assert "is not among the repositories" in found["unknown"].content[0].text


def test_the_tools_for_agents_answer_only_names_of_this_machine(tmp_path: Path) -> None:
    from codebyte.apps.server import create_app

    with serving(create_app(Session(taught_checkpoint()), index=tmp_path / "index")) as address:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for evil in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
            assert httpx.post(f"{address}/mcp", json=hello, headers=evil).status_code == 403


def test_the_page_and_gradios_own_routes_are_guarded_as_the_api_is(tmp_path: Path) -> None:
    from codebyte.apps.server import create_app

    session, token = Session(taught_checkpoint()), "a-token-of-some-length"
    bearer = {"authorization": f"Bearer {token}"}
    with serving(create_app(session, token=token, index=tmp_path / "index")) as address:
        for path in ("/", "/config", "/gradio_api/info", "/cb-file", "/cb-assets/editor.js"):
            assert httpx.get(f"{address}{path}").status_code == 401, path
        for path in ("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/call/score"):
            assert httpx.post(f"{address}{path}", json={}).status_code == 401, path
        for path, most in (("upload", LARGEST_UPLOAD), ("queue/join", LARGEST_BODY)):
            huge = bearer | {"content-length": str(most + (1 << 20))}
            connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
            connection.putrequest("POST", f"/gradio_api/{path}")
            for name, value in huge.items():
                connection.putheader(name, value)
            connection.endheaders()  # and no body: what it claims to have is enough
            assert connection.getresponse().status == 413, path
            connection.close()
        files = {"files": ("large.txt", b"x" * (LARGEST_BODY + 1))}
        reply = httpx.post(f"{address}/gradio_api/upload", files=files, headers=bearer)
        assert reply.status_code == 200
        for path in ("/etc/passwd", reply.json()[0] + "/../../../../etc/passwd"):
            reply = httpx.get(f"{address}/gradio_api/file={path}", headers=bearer)
            assert reply.status_code in (403, 404), path
        assert httpx.get(f"{address}/config", headers=bearer).status_code == 200
