"""`codebyte mcp` in a process of its own, called by the protocol's own client."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from anyio import CancelScope
from conftest import APP, MakeRepo
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from scanned import CODE, KEY
from taught import HALF, REST, taught_checkpoint

from codebyte.apps.lines import caret
from codebyte.apps.mcp_server import Tools, create_mcp
from codebyte.errors import InputError
from codebyte.indexer.index import CodeIndex
from codebyte.tasks.scanning import Progress

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


@pytest.mark.parametrize("in_repository", [True, False])
def test_what_a_scan_finds_can_be_opened_and_completed_at(
    tmp_path: Path, make_repo: MakeRepo, in_repository: bool
) -> None:
    odd = CODE + "T\u00d6KEN".encode() + KEY.removeprefix(b"TOKEN")
    file = tmp_path / "above" / "project" / "src" / "odd.py"
    file.parent.mkdir(parents=True)
    file.write_bytes(odd)
    if in_repository:
        make_repo(tmp_path / "above", {"project/src/odd.py": odd})
    tools = Tools(file.parent.parent, checkpoint=str(taught_checkpoint()))
    for asked in (".", "src", "src/odd.py", str(file)):
        found = [it for it in tools.scan(asked, 20) if it["rule"] == "CB205"]
        assert [it["path"] for it in found] == ["src/odd.py"]
        at = caret(odd, found[0]["line"], found[0]["column"])
        assert odd[at:].startswith(b"ghp_")
        tools.complete(found[0]["path"], found[0]["line"], found[0]["column"])


class Watched(Tools):
    """Remembers how far its scans came, and how they ended."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, checkpoint=str(taught_checkpoint()))
        self.told: list[tuple[str, int, int]] = []
        self.ended: list[str] = []

    def scan(self, path: str, k: int, progress: Progress | None = None) -> list[dict[str, Any]]:
        assert progress is not None

        def watched(stage: str, done: int, total: int) -> None:
            self.told.append((stage, done, total))
            progress(stage, done, total)

        try:
            found = super().scan(path, k, watched)
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("done")
        return found


def test_a_scan_tells_how_far_it_is_and_ends_when_the_client_gives_it_up(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / f"part{i}.py").write_bytes(APP)
    tools = Watched(tmp_path)
    shares: list[float] = []

    async def talk() -> None:
        async with Client(create_mcp(tools)) as client:
            with CancelScope() as scope:

                async def progress(done: float, total: float | None, message: str | None) -> None:
                    shares.append(done / total if total else 0.0)
                    if done:
                        scope.cancel()

                await client.call_tool("scan", {"path": "."}, progress_callback=progress)
            while not tools.ended:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(talk(), timeout=120))
    assert tools.ended == ["CancelledError"]
    assert 0 < max(shares) < 1
    assert tools.told[-1][1] < tools.told[-1][2] == 40 * len(APP)


def test_a_comment_silences_what_a_scan_of_its_file_finds(tmp_path: Path) -> None:
    odd = CODE + KEY
    (tmp_path / "odd.py").write_bytes(odd)
    (tmp_path / "silenced.py").write_bytes(b"# codebyte: ignore-file\n" + odd)
    tools = Tools(tmp_path, checkpoint=str(taught_checkpoint()))
    assert tools.scan("odd.py", 20) != []
    assert tools.scan("silenced.py", 20) == []


def test_a_whole_path_means_the_same_file(root: Path) -> None:
    tools = Tools(root, checkpoint=str(taught_checkpoint()))
    whole = str(root / "src" / "app.py")
    assert tools.complete(whole, 8, 12) == tools.complete("src/app.py", 8, 12)
    assert tools.similar(whole, 8, 3) == tools.similar("src/app.py", 8, 3)


def test_without_an_index_the_agent_is_told_how_to_make_one(tmp_path: Path) -> None:
    async def call() -> str:
        try:
            await create_mcp(Tools(tmp_path)).call_tool("search", {"query": "x"})
        except Exception as error:
            return str(error)
        return ""

    assert "codebyte index" in asyncio.run(call())
