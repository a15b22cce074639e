"""`codebyte mcp` in a process of its own, called by the protocol's own client."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import APP, MakeRepo
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from taught import HALF, REST, taught_checkpoint

from codebyte.apps.mcp_server import Tools, create_mcp
from codebyte.errors import InputError
from codebyte.indexer.index import CodeIndex

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_repo: MakeRepo) -> Path:
    folder = tmp_path_factory.mktemp("agents") / "project"
    make_repo(folder, {"src/app.py": APP, "shapes.py": HALF.encode() + b"\n"})
    with CodeIndex(folder / ".codebyte" / "index") as index:
        index.update(str(folder))
    (folder.parent / "secret.py").write_text("password = 'hunter2'\n")
    (folder / "link.py").symlink_to(folder.parent / "secret.py")
    return folder


def test_an_agent_finds_the_tools_and_calls_them(root: Path) -> None:
    command = ["-m", "codebyte", "mcp", "--root", str(root)]
    command += ["--checkpoint", str(taught_checkpoint())]

    async def talk() -> tuple[list[str], dict[str, Any]]:
        server = StdioServerParameters(command=sys.executable, args=command)
        async with (
            stdio_client(server) as (receive, send),
            ClientSession(receive, send) as client,
        ):
            await client.initialize()
            tools = [tool.name for tool in (await client.list_tools()).tools]
            calls = {
                "search": {"query": "settings from a JSON file", "k": 1},
                "similar": {"path": "src/app.py", "line": 7},
                "scan": {"path": "src", "k": 2},
                "complete": {"path": "shapes.py", "line": 2, "column": 12},
                "complete_text": {"prefix": HALF},
            }
            found = {name: await client.call_tool(name, given) for name, given in calls.items()}
            found["outside"] = await client.call_tool("scan", {"path": "../secret.py"})
            return tools, found

    tools, found = asyncio.run(talk())
    assert sorted(tools) == ["complete", "complete_text", "scan", "search", "similar"]
    (hit,) = found["search"].structured_content["result"]
    assert (hit["path"], hit["symbol"]) == ("src/app.py", "load_settings")
    assert not found["similar"].is_error
    assert not found["scan"].is_error
    assert found["complete"].structured_content["text"] == REST
    assert found["complete_text"].structured_content["text"] == REST
    assert found["outside"].is_error
    assert "is outside" in found["outside"].content[0].text


@pytest.mark.parametrize("path", ["../secret.py", "/etc/passwd", "link.py", "src/../../secret.py"])
def test_no_tool_reads_outside_its_root(root: Path, path: str) -> None:
    tools = Tools(root)
    for tool in (
        lambda: tools.scan(path, 1),
        lambda: tools.complete(path, 1, 1),
        lambda: tools.similar(path, 1, 1),
    ):
        with pytest.raises(InputError, match="is outside"):
            tool()


def test_without_an_index_the_agent_is_told_how_to_make_one(tmp_path: Path) -> None:
    async def call() -> str:
        try:
            await create_mcp(Tools(tmp_path)).call_tool("search", {"query": "x"})
        except Exception as error:
            return str(error)
        return ""

    assert "codebyte index" in asyncio.run(call())
