"""`codebyte mcp`: search, similar, scan and complete as tools for agents, over stdio.

Paths are those of one folder, the root: nothing outside it is read, links included.
"""

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from anyio import from_thread
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

import codebyte
from codebyte.apps.lines import caret, encoded
from codebyte.apps.options import read
from codebyte.errors import CodebyteError, InputError

if TYPE_CHECKING:
    from codebyte.indexer.index import CodeIndex
    from codebyte.megabyte import Megabyte
    from codebyte.mixing import Mixer
    from codebyte.tasks.neighbours import Neighbours
    from codebyte.tasks.places import Place
    from codebyte.tasks.scanning import Progress

LARGEST = 4 << 20  # bytes of a file that a tool reads
LONGEST = 1 << 20  # characters of a text that a tool is given

_INSTRUCTIONS = """\
Tools over one folder of code, all on this machine. `search` finds code by words and by meaning,
`similar` code like a given place, `scan` lines that look wrong with likelier code where there is
some, `complete` continues code at a place. Lines and columns count from 1."""

Count = Annotated[int, Field(ge=1, le=50, description="how many results at most")]
Text = Annotated[str, Field(max_length=LONGEST)]
Line = Annotated[int, Field(ge=1, description="from 1")]


class Tools:
    """What the tools need, loaded when it is first used.

    Args:
        root: the folder whose files may be read.
        index: of `codebyte index`; None for the one in the root.
        checkpoint: a model's folder; None for the packaged one.
    """

    def __init__(
        self, root: Path, *, index: Path | None = None, checkpoint: str | None = None
    ) -> None:
        self._root = root.resolve()
        self._folder = index or self._root / ".codebyte" / "index"
        self._checkpoint = checkpoint
        self._lock = threading.Lock()  # one tool at a time
        self._scanning = threading.Lock()  # but for scans, which take long and share only the model

    @cached_property
    def model(self) -> "Megabyte":
        """The model."""
        from codebyte.apps.settle import settle

        settle()
        return codebyte.load(self._checkpoint)

    @cached_property
    def neighbours(self) -> "Neighbours":
        """The root's files, as far as the mixer was told of them."""
        from codebyte.tasks.neighbours import Neighbours

        return Neighbours(self._root)

    @cached_property
    def mixer(self) -> "Mixer":
        """What knows the root's files."""
        from codebyte.mixing import Mixer

        return Mixer()

    @cached_property
    def index(self) -> "CodeIndex":
        """The opened index."""
        from codebyte.indexer.index import CodeIndex

        opened = CodeIndex.load(self._folder)
        if opened.store.get("model") is not None:
            from codebyte.tasks.search import Embedder

            opened.embedder = Embedder(self.model)
        return opened

    def inside(self, path: str) -> Path:
        """A path of the root.

        Raises:
            InputError: it leads out of it.
        """
        found = (self._root / path).resolve()
        if not found.is_relative_to(self._root):
            raise InputError(f"{path} is outside {self._root}, the folder that is served")
        return found

    def search(self, query: str, k: int) -> list[dict[str, Any]]:
        """Hits for a query."""
        with self._lock:
            return [as_hit(hit) for hit in self.index.search(query, k)]

    def similar(self, path: str, line: int, k: int) -> list[dict[str, Any]]:
        """Hits for a place."""
        place = self.inside(path)
        with self._lock:
            repo, name = self.index.place_of(place) or (None, self._name(place))
            data = read(place, LARGEST) if repo is None else None
            found = self.index.similar(name, line, k, repo=repo, data=data)
            return [as_hit(hit) for hit in found]

    def scan(self, path: str, k: int, progress: "Progress | None" = None) -> list[dict[str, Any]]:
        """The most suspicious findings in a file or a folder.

        Args:
            path: in the root.
            k: how many findings at most.
            progress: told how far the scan of a folder is; what it raises ends the scan.
        """
        from codebyte.tasks.scan_targets import open_tree
        from codebyte.tasks.scan_workers import Scorer
        from codebyte.tasks.scanning import scan_text, scan_tree

        asked = self.inside(path)
        found: Sequence[Place]
        with self._lock:
            model = self.model
        with self._scanning:
            if asked.is_file():
                top = self._root
                found = scan_text(model, read(asked, LARGEST), self._name(asked))
            else:
                tree = open_tree(asked)
                top = tree.root  # of the repository, which may lie above the root
                found = scan_tree(tree, Scorer(model=model), progress=progress).places
        return [as_finding(place, self._name(top / place.finding.path)) for place in found[:k]]

    def complete(self, path: str, line: int, column: int) -> dict[str, Any]:
        """What belongs at a place of a file."""
        place = self.inside(path)
        data = read(place, LARGEST)
        at = caret(data, line, column)
        return self._completed(data[:at], data[at:], self._name(place))

    def complete_text(self, prefix: str, suffix: str, path: str | None) -> dict[str, Any]:
        """What belongs between two texts."""
        name = self._name(self.inside(path)) if path else None
        return self._completed(encoded(prefix), encoded(suffix), name)

    def _name(self, place: Path) -> str:
        """How a path of the root is called here, in what is given and in what the model is told."""
        return place.relative_to(self._root).as_posix()

    def _completed(self, prefix: bytes, suffix: bytes, path: str | None) -> dict[str, Any]:
        from codebyte.tasks.completion import TRIES, Completer

        with self._lock:
            mixer = self.mixer if path else None  # a text without a name is in no repository
            for change in self.neighbours.changes(path) if path else ():
                change.apply(self.mixer)
            done = Completer(self.model, mixer).complete(prefix, suffix, path=path, tries=TRIES)
        mean = float(done.bits.mean()) if len(done.bits) else 0.0
        return {
            "text": done.text.decode("utf-8", "replace"),
            "replaces_bytes_after": done.replace_suffix_bytes,
            "bits_per_byte": round(mean, 3),
            "stop_reason": done.stop_reason,
        }


def create_mcp(tools: Tools) -> MCPServer:
    """Builds the server over the tools."""
    server = MCPServer(
        "codebyte", version=codebyte.__version__, instructions=_INSTRUCTIONS, log_level="WARNING"
    )

    @server.tool()
    def search(query: Text, k: Count = 10) -> list[dict[str, Any]]:
        """Find code by what it does, is called or says.

        Words; "exact text", /regular expressions/ and path: lang: repo: sym: filters may be among
        them. Needs an index, made by `codebyte index`.
        """
        return told(lambda: tools.search(query, k))

    @server.tool()
    def similar(path: Text, line: Line, k: Count = 10) -> list[dict[str, Any]]:
        """Find code like that at a line of a file."""
        return told(lambda: tools.similar(path, line, k))

    @server.tool()
    def scan(context: Context, path: Text = ".", k: Count = 20) -> list[dict[str, Any]]:
        """List the most suspicious places of a file or folder, with likelier code where known."""

        def progress(stage: str, done: int, total: int) -> None:
            from_thread.check_cancelled()  # ends the scan if the client has given it up
            if stage == "scoring":
                from_thread.run(context.report_progress, done, total)

        return told(lambda: tools.scan(path, k, progress))

    @server.tool()
    def complete(path: Text, line: Line, column: Line) -> dict[str, Any]:
        """Tell what the model would write at a place of a file."""
        return told(lambda: tools.complete(path, line, column))

    @server.tool()
    def complete_text(prefix: Text, suffix: Text = "", path: Text = "") -> dict[str, Any]:
        """Tell what the model would write between two texts; a path tells the language."""
        return told(lambda: tools.complete_text(prefix, suffix, path or None))

    return server


def told(function: Any) -> Any:
    """Runs a tool; what is wrong becomes its answer, in the words of the error."""
    try:
        return function()
    except CodebyteError as error:
        raise ToolError(str(error)) from error


def as_hit(hit: Any) -> dict[str, Any]:
    """A hit of a search as agents read it."""
    return {
        "path": hit.path,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "symbol": hit.symbol,
        "language": hit.language,
        "repo": hit.repo,
        "score": round(hit.score, 4),
        "why": hit.why,
        "snippet": hit.snippet,
    }


def as_finding(place: "Place", path: str) -> dict[str, Any]:
    """A finding of a scan, in a file of this name, as agents read it."""
    finding = place.finding
    repair = finding.repair
    return {
        "path": path,
        "line": finding.line,
        "column": place.column,
        "rule": finding.rule,
        "suspicion": round(finding.suspicion, 4),
        "message": finding.message,
        "reasons": list(finding.reasons),
        "likelier": None if repair is None else repair.replacement.decode("utf-8", "replace"),
    }
