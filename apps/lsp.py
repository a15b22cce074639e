"""`codebyte lsp`: a language server that completes inline and shows what a scan finds.

Completions come as textDocument/inlineCompletion (LSP 3.18) and, for editors without it, as
completion items. A file is scanned when it is opened and when it is saved; findings are
diagnostics, their repairs quick fixes.

What an editor may send as initializationOptions:

    {"inline": true, "items": false, "scan": true, "repository": true, "maxBytes": null}

Without them, items are given to editors that do not know inline completions.
"""

import asyncio
import re
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

import codebyte
from codebyte.apps.lsp_findings import REPAIR, diagnostic, repairs
from codebyte.apps.positions import Positions
from codebyte.errors import CodebyteError

if TYPE_CHECKING:  # what needs torch is imported once the editor has been answered
    from codebyte.apps.session import Session
    from codebyte.tasks.completion import Completion
    from codebyte.tasks.findings import Finding

LARGEST_SCANNED = 512 << 10  # bytes; a larger file is not scanned while one types
LONGEST_WAIT = 2.0  # seconds that a completion may take; what there is by then is given

_WORD = re.compile(r"\w+$")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the editor asked for when it started the server."""

    inline: bool = True
    items: bool = True
    scan: bool = True
    repository: bool = True
    max_bytes: int | None = None

    @classmethod
    def of(cls, given: Any, *, has_inline: bool = False) -> "Options":
        """Reads initializationOptions; what is not understood is left at its default.

        Args:
            given: what the editor sent.
            has_inline: whether it can show inline completions, and so wants no items.
        """
        usual = {"inline": True, "items": not has_inline, "scan": True, "repository": True}
        given = given if isinstance(given, dict) else {}
        chosen = {
            name: given[name] if isinstance(given.get(name), bool) else value
            for name, value in usual.items()
        }
        most = given.get("maxBytes")
        is_count = isinstance(most, int) and not isinstance(most, bool) and 0 < most <= 1 << 14
        return cls(**chosen, max_bytes=most if is_count else None)


@dataclass(frozen=True, slots=True)
class _Scanned:
    """What was found in a text, and the text."""

    findings: "list[Finding]"
    places: Positions


class CodebyteServer(LanguageServer):
    """The server; its session is loaded once the editor has said hello.

    Args:
        load: gives the session; called in a worker thread.
    """

    def __init__(self, load: "Callable[[], Session]") -> None:
        # Of edits alone, pygls would count the lines by what str.splitlines breaks at, such as a
        # form feed, and the protocol does not.
        whole = lsp.TextDocumentSyncKind.Full
        super().__init__("codebyte", codebyte.__version__, text_document_sync_kind=whole)
        self.options = Options()
        self._load = load
        self._loading: asyncio.Future[Session] | None = None
        self._scans: dict[str, _Scanned] = {}
        self._newest: dict[str, threading.Event] = {}  # cancel flags of scans by document
        self._scanner = ThreadPoolExecutor(1)  # scans wait here, not where completions are made

    async def session(self) -> "Session":
        """The loaded session."""
        if self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load))
        return await asyncio.shield(self._loading)

    def places(self, uri: str) -> Positions:
        """An open document."""
        document = self.workspace.get_text_document(uri)
        encoding = lsp.PositionEncodingKind(document.position_codec.encoding or "utf-16")
        return Positions(document.source, encoding.value)

    def path_of(self, uri: str) -> str:
        """The name to tell the model: relative to the workspace where it is in it."""
        path = Path(self.workspace.get_text_document(uri).path)
        root = self.workspace.root_path
        if root and path.is_relative_to(root):
            return path.relative_to(root).as_posix()
        return path.name

    async def complete(
        self, uri: str, position: lsp.Position
    ) -> "tuple[Completion, Positions, int] | None":
        """What belongs at a caret, the text and the caret's byte; None if overtaken by a newer."""
        session = await self.session()
        from codebyte.tasks.completion import FEW_TRIES, Completion
        from codebyte.tasks.neighbours import root_of

        places = self.places(uri)
        at = places.offset(position)
        cancel = threading.Event()
        path = Path(self.workspace.get_text_document(uri).path)
        root = root_of(path) if self.options.repository else None
        if root is not None:  # whatever lies on the editor's own disk may be read
            session.mixers.served = root
        items = session.complete(
            f"lsp {uri}",
            places.data[:at],
            places.data[at:],
            path=str(path) if root else self.path_of(uri),
            alone=root is None,
            max_new_bytes=self.options.max_bytes,
            max_seconds=LONGEST_WAIT,
            tries=FEW_TRIES,
            cancel=cancel,
        )

        def last() -> Completion | None:
            found = deque(items, maxlen=1)
            return found[0] if found and isinstance(found[0], Completion) else None

        done = await _cancellable(last, cancel)
        return None if done is None or not done.text else (done, places, at)

    async def scan(self, uri: str) -> None:
        """Scans a document and publishes what was found; a newer scan of it goes first."""
        cancel = threading.Event()
        self._newest.pop(uri, threading.Event()).set()
        self._newest[uri] = cancel
        session = await self.session()
        places, path = self.places(uri), self.path_of(uri)
        version = self.workspace.get_text_document(uri).version
        if len(places.data) > LARGEST_SCANNED:
            return

        def scanned() -> "list[Finding]":
            from codebyte.tasks.scanning import scan_text

            if cancel.is_set():
                return []
            return [place.finding for place in scan_text(session.model, places.data, path)]

        try:
            findings = await asyncio.get_running_loop().run_in_executor(self._scanner, scanned)
        except CodebyteError as error:
            self._say(lsp.MessageType.Warning, f"{path} was not scanned: {error}")
            return
        if cancel.is_set():
            return
        self._scans[uri] = _Scanned(findings, places)
        self.text_document_publish_diagnostics(
            lsp.PublishDiagnosticsParams(
                uri, [diagnostic(finding, places) for finding in findings], version
            )
        )

    def repairs(self, uri: str, wanted: lsp.Range) -> list[lsp.CodeAction]:
        """Quick fixes for what was found in a range."""
        scanned = self._scans.get(uri)
        if scanned is None:
            return []
        return repairs(scanned.findings, scanned.places, self.places(uri), uri, wanted)

    def forget(self, uri: str) -> None:
        """Drops what is known of a document that was closed."""
        self._newest.pop(uri, threading.Event()).set()
        self._scans.pop(uri, None)
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))

    def shutdown(self) -> None:
        """Ends the server; what waits to be scanned is dropped."""
        self._scanner.shutdown(wait=False, cancel_futures=True)
        super().shutdown()

    def _say(self, kind: lsp.MessageType, message: str) -> None:
        self.window_log_message(lsp.LogMessageParams(kind, message))


def create_server(load: "Callable[[], Session]", *, alone: bool = False) -> CodebyteServer:
    """Builds the server with its features.

    Args:
        load: gives the session; called in a worker thread.
        alone: whether completions shall leave the repository's files out, whatever the editor says.
    """
    server = CodebyteServer(load)

    @server.feature(lsp.INITIALIZE)
    async def initialize(params: lsp.InitializeParams) -> None:
        shows = params.capabilities.text_document
        has_inline = shows is not None and shows.inline_completion is not None
        options = Options.of(params.initialization_options, has_inline=has_inline)
        server.options = replace(options, repository=options.repository and not alone)

    @server.feature(lsp.INITIALIZED)
    async def initialized(params: lsp.InitializedParams) -> None:
        await server.session()

    @server.feature(lsp.TEXT_DOCUMENT_INLINE_COMPLETION, lsp.InlineCompletionOptions())
    async def inline(params: lsp.InlineCompletionParams) -> lsp.InlineCompletionList:
        if not server.options.inline:
            return lsp.InlineCompletionList([])
        found = await server.complete(params.text_document.uri, params.position)
        if found is None:
            return lsp.InlineCompletionList([])
        done, places, at = found
        return lsp.InlineCompletionList(
            [
                lsp.InlineCompletionItem(
                    done.text.decode("utf-8", "replace"),
                    range=places.range(at, at + done.replace_suffix_bytes),
                )
            ]
        )

    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION)
    async def items(params: lsp.CompletionParams) -> lsp.CompletionList:
        found = None
        if server.options.items:
            found = await server.complete(params.text_document.uri, params.position)
        return lsp.CompletionList(is_incomplete=True, items=[_item(*found)] if found else [])

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        if server.options.scan:
            await server.scan(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        if server.options.scan:
            await server.scan(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.forget(params.text_document.uri)

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[REPAIR])
    )
    async def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        return server.repairs(params.text_document.uri, params.range)

    return server


async def _cancellable(function: Callable[[], T], cancel: threading.Event) -> T:
    """Runs a function in a worker thread; if the editor cancels the request, sets `cancel`."""
    try:
        return await asyncio.to_thread(function)
    except asyncio.CancelledError:
        cancel.set()
        raise


def _item(done: "Completion", places: Positions, at: int) -> lsp.CompletionItem:
    """A completion as an item of a list, which editors filter by the word before the caret."""
    text = done.text.decode("utf-8", "replace")
    line = places.data[places.data.rfind(b"\n", 0, at) + 1 : at].decode("utf-8")
    word = found.group() if (found := _WORD.search(line)) else ""
    start = at - len(word.encode("utf-8"))
    replaced = places.range(start, at + done.replace_suffix_bytes)
    return lsp.CompletionItem(
        label=(word + text).strip().partition("\n")[0] or "(new line)",
        kind=lsp.CompletionItemKind.Text,
        detail="codebyte",
        documentation=word + text,
        filter_text=word + text,
        sort_text="\0",
        insert_text_format=lsp.InsertTextFormat.PlainText,
        text_edit=lsp.TextEdit(replaced, word + text),
    )
