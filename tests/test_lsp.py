"""`codebyte lsp` in a process of its own, spoken to as an editor does."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.client import LanguageClient
from scanned import CODE, KEY
from taught import BEFORE, ENDLESS, HALF, HOLE, REST, TEXT, taught_checkpoint

from codebyte.apps.lsp import Options
from codebyte.apps.lsp_findings import diagnostic, repairs
from codebyte.apps.positions import Positions
from codebyte.checkpoint import load
from codebyte.tasks.findings import Finding, Repair
from codebyte.tasks.scanning import scan_text

pytestmark = pytest.mark.slow
ROOT = "file:///project"
URI = f"{ROOT}/shapes.py"


class Editor:
    """A client with its event loop, for tests that are not asynchronous."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.checkpoint = taught_checkpoint()
        self.loop = asyncio.new_event_loop()
        self.client = LanguageClient("editor", "1")
        self.problems: dict[str, list[lsp.Diagnostic]] = {}

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: lsp.PublishDiagnosticsParams) -> None:
            self.problems[params.uri] = list(params.diagnostics)

        @self.client.feature(lsp.WINDOW_LOG_MESSAGE)
        def logged(params: lsp.LogMessageParams) -> None:
            pass

        self.hello = self.run(self._start(options))

    def run(self, awaitable: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, 60))

    async def _start(self, options: dict[str, Any]) -> lsp.InitializeResult:
        command = ["-m", "codebyte", "lsp", "--checkpoint", str(self.checkpoint)]
        await self.client.start_io(sys.executable, *command)
        found = await self.client.initialize_async(
            lsp.InitializeParams(
                lsp.ClientCapabilities(), root_uri=ROOT, initialization_options=options
            )
        )
        self.client.initialized(lsp.InitializedParams())
        return found

    def open(self, text: str, uri: str = URI) -> None:
        document = lsp.TextDocumentItem(uri, "python", 1, text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(document))

    def change(self, text: str, version: int) -> None:
        self.tell(lsp.TextDocumentContentChangeWholeDocument(text), version)

    def insert(self, typed: str, where: lsp.Position, text: str, version: int) -> None:
        """Changes the document to a text, and tells it as the server wants to be told."""
        sync = self.hello.capabilities.text_document_sync
        assert isinstance(sync, lsp.TextDocumentSyncOptions)
        if sync.change == lsp.TextDocumentSyncKind.Incremental:
            edit = lsp.TextDocumentContentChangePartial(lsp.Range(where, where), typed)
            self.tell(edit, version)
        else:
            self.change(text, version)

    def tell(
        self, change: lsp.TextDocumentContentChangeEvent, version: int, uri: str = URI
    ) -> None:
        document = lsp.VersionedTextDocumentIdentifier(version, uri)
        params = lsp.DidChangeTextDocumentParams(document, [change])
        self.client.text_document_did_change(params)

    def save(self, uri: str) -> None:
        document = lsp.TextDocumentIdentifier(uri)
        self.client.text_document_did_save(lsp.DidSaveTextDocumentParams(document))

    def fixes(self, uri: str, wanted: lsp.Range) -> list[lsp.CodeAction]:
        params = lsp.CodeActionParams(
            lsp.TextDocumentIdentifier(uri), wanted, lsp.CodeActionContext([])
        )
        return list(self.run(self.client.text_document_code_action_async(params)) or [])

    def close_document(self, uri: str) -> None:
        document = lsp.TextDocumentIdentifier(uri)
        self.client.text_document_did_close(lsp.DidCloseTextDocumentParams(document))

    def inline(self, line: int, character: int) -> list[lsp.InlineCompletionItem]:
        found = self.run(self.client.text_document_inline_completion_async(asked(line, character)))
        assert isinstance(found, lsp.InlineCompletionList)
        return list(found.items)

    def until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.01)

        self.run(wait())

    def close(self) -> None:
        async def stop() -> None:
            await self.client.shutdown_async(None)
            self.client.exit(None)
            await self.client.stop()

        self.run(stop())
        self.loop.close()


def end_of(text: str) -> tuple[int, int]:
    """Line and character of the end of a text of one-unit characters."""
    return text.count("\n"), len(text) - text.rfind("\n") - 1


def place_of(text: str, position: lsp.Position) -> int:
    """An offset in a text of one-unit characters."""
    return sum(map(len, text.splitlines(True)[: position.line])) + position.character


def asked(line: int, character: int, uri: str = URI) -> lsp.InlineCompletionParams:
    return lsp.InlineCompletionParams(
        lsp.InlineCompletionContext(lsp.InlineCompletionTriggerKind.Automatic),
        lsp.TextDocumentIdentifier(uri),
        lsp.Position(line, character),
    )


@pytest.fixture(scope="module")
def editor() -> Iterator[Editor]:
    editor = Editor({"scan": True})
    yield editor
    editor.close()


def test_it_offers_inline_completions_items_and_quick_fixes(editor: Editor) -> None:
    offers = editor.hello.capabilities
    assert offers.inline_completion_provider == lsp.InlineCompletionOptions()
    assert offers.completion_provider is not None
    assert isinstance(offers.code_action_provider, lsp.CodeActionOptions)
    assert editor.hello.server_info is not None
    assert editor.hello.server_info.name == "codebyte"


def test_a_line_is_completed_at_the_caret(editor: Editor) -> None:
    editor.open(HALF)
    (item,) = editor.inline(*end_of(HALF))
    here = lsp.Position(*end_of(HALF))
    assert (item.insert_text, item.range) == (REST, lsp.Range(here, here))


def test_characters_are_counted_in_utf16(editor: Editor) -> None:
    typed = HALF.rpartition("\n")[2]
    editor.change(HALF + "  # \U0001f600\n" + typed, 2)
    (item,) = editor.inline(2, len(typed))
    assert item.insert_text == REST
    editor.change(f"\U0001f600 = {REST})\n", 3)  # the first character has two units
    places = Positions(f"\U0001f600 = {REST})\n")
    assert places.offset(lsp.Position(0, 5 + len(REST))) == len(f"\U0001f600 = {REST}".encode())


def test_what_is_typed_below_a_form_feed_stays_where_it_was_typed(editor: Editor) -> None:
    whole = "# \x0c \u2028\n\n\n" + HALF
    half, typed = whole[:-3], whole[-3:]
    editor.change(half, 10)
    editor.insert(typed, lsp.Position(*end_of(half)), whole, 11)
    (item,) = editor.inline(*end_of(whole))
    assert item.insert_text == REST


def test_what_the_editor_closed_is_not_closed_again(editor: Editor) -> None:
    before, _, rest = (BEFORE + HOLE + '"').partition('f"')
    editor.change(before + ")", 4)
    line, character = end_of(before)
    (item,) = editor.inline(line, character)
    assert item.insert_text == 'f"' + rest


def test_older_editors_get_an_item_that_fits_the_word_before_the_caret(editor: Editor) -> None:
    text = HALF + REST[:3]
    editor.change(text, 5)
    line, character = end_of(text)
    params = lsp.CompletionParams(lsp.TextDocumentIdentifier(URI), lsp.Position(line, character))
    found = editor.run(editor.client.text_document_completion_async(params))
    assert isinstance(found, lsp.CompletionList)
    (item,) = found.items
    assert isinstance(item.text_edit, lsp.TextEdit)
    assert item.text_edit.new_text == item.filter_text == item.label == REST
    assert item.text_edit.range == lsp.Range(
        lsp.Position(line, character - 3), lsp.Position(line, character)
    )


def test_a_cancelled_request_is_answered_as_such_and_the_next_one_works(editor: Editor) -> None:
    editor.change(ENDLESS * 12, 6)

    async def cancelled() -> str:
        line, character = end_of(ENDLESS * 12)
        request = editor.client.protocol.send_request(
            lsp.TEXT_DOCUMENT_INLINE_COMPLETION, asked(line, character), msg_id="mine"
        )
        editor.client.protocol.notify(lsp.CANCEL_REQUEST, lsp.CancelParams("mine"))
        try:
            await asyncio.wrap_future(request)
        except JsonRpcException as error:
            return error.message
        return "answered"

    assert editor.run(cancelled()) == 'Request with id "mine" is canceled'
    editor.change(HALF, 7)
    (item,) = editor.inline(*end_of(HALF))
    assert item.insert_text == REST


ALL = lsp.Range(lsp.Position(0, 0), lsp.Position(1000, 0))
SUMMED = """\
def area(width, height):
    return width * height


def total(values):
    result = 0
    for value in values:
        if value > 0:
            result =+ value
    return result
"""
STRANGER = "def area(width, height):\n    return width * height\n\n\nqzxv = 0x9f3b7 @ !!\n" * 3


def test_findings_are_published_when_a_file_is_opened_and_gone_when_it_is_closed(
    editor: Editor,
) -> None:
    uri = f"{ROOT}/odd.py"
    places = scan_text(load(taught_checkpoint()), STRANGER.encode(), "odd.py")
    wanted = [place.finding for place in places]
    editor.open(STRANGER, uri)
    editor.until(lambda: uri in editor.problems)
    found = editor.problems[uri]
    assert [(it.code, it.source) for it in found] == [(f.rule, "codebyte") for f in wanted]
    assert [it.range.start.line + 1 for it in found] == [f.line for f in wanted]
    editor.close_document(uri)
    editor.until(lambda: editor.problems[uri] == [])


def test_saving_scans_anew_and_the_quick_fix_is_the_scans_repair(editor: Editor) -> None:
    sync = editor.hello.capabilities.text_document_sync
    assert isinstance(sync, lsp.TextDocumentSyncOptions)
    assert sync.save  # or an editor would not tell of it
    uri = f"{ROOT}/summed.py"
    found = scan_text(load(taught_checkpoint()), SUMMED.encode(), "summed.py")
    (finding,) = (place.finding for place in found)
    assert finding.repair is not None
    editor.open(TEXT, uri)
    editor.until(lambda: editor.problems.get(uri) == [])
    editor.tell(lsp.TextDocumentContentChangeWholeDocument(SUMMED), 2, uri)
    assert editor.fixes(uri, ALL) == []  # nobody has scanned this yet
    assert editor.problems[uri] == []
    editor.save(uri)
    editor.until(lambda: editor.problems[uri] != [])
    (problem,) = editor.problems[uri]
    assert (problem.code, problem.range.start.line) == (finding.rule, finding.line - 1)
    assert editor.fixes(uri, lsp.Range(lsp.Position(0, 0), lsp.Position(0, 3))) == []
    (fix,) = editor.fixes(uri, problem.range)
    assert fix.kind == lsp.CodeActionKind.QuickFix
    assert list(fix.diagnostics or ()) == [problem]
    assert fix.edit is not None
    assert fix.edit.changes is not None
    (edit,) = fix.edit.changes[uri]
    at, end = (place_of(SUMMED, it) for it in (edit.range.start, edit.range.end))
    assert (at, end) == (finding.repair.start, finding.repair.end)
    assert edit.new_text.encode() == finding.repair.replacement
    mended = SUMMED[:at] + edit.new_text + SUMMED[end:]
    editor.tell(lsp.TextDocumentContentChangeWholeDocument(mended), 3, uri)
    assert editor.fixes(uri, ALL) == []  # it was of another text
    editor.close_document(uri)


def test_secrets_are_findings_and_comments_silence_them(editor: Editor) -> None:
    shown, silenced = f"{ROOT}/shown.py", f"{ROOT}/silenced.py"
    text = (CODE + KEY).decode()
    editor.open(text, shown)
    editor.open("# codebyte: ignore-file\n" + text, silenced)
    editor.until(lambda: shown in editor.problems and silenced in editor.problems)
    assert "CB205" in {it.code for it in editor.problems[shown]}
    assert editor.problems[silenced] == []


def test_a_completion_does_not_wait_for_scans(editor: Editor) -> None:
    threads = min(32, (os.cpu_count() or 1) + 4)  # of asyncio's default pool
    text = CODE.decode() * 50
    uris = {f"{ROOT}/many{number}.py" for number in range(2 * threads)}
    for uri in uris:
        editor.open(text, uri)
    editor.change(HALF, 12)
    editor.inline(*end_of(HALF))
    scanned = len(uris & editor.problems.keys())
    for uri in uris:
        editor.close_document(uri)
    # Had the scans filled the pool, more than half of them would have ended before.
    assert scanned < threads


def test_options_are_read_with_care() -> None:
    assert Options.of(None) == Options()
    assert Options.of({"scan": False, "maxBytes": 80, "inline": "no"}) == Options(
        scan=False, max_bytes=80
    )
    assert Options.of([], has_inline=True) == Options(items=False)
    assert Options.of({"items": True}, has_inline=True) == Options()
    assert Options.of({"maxBytes": True}) == Options.of({"maxBytes": -1}) == Options()


def test_a_repair_is_offered_where_the_text_is_still_the_one_scanned() -> None:
    text = "caf\u00e9 = (one\nif one = two:\n    pass\n"
    start = text.encode().index(b"= two")
    repair = Repair(start=start, end=start + 1, replacement=b"==", gain_bits=9.0)
    finding = Finding(
        rule="CB102",
        path="a.py",
        line=2,
        column=8,
        end_column=9,
        suspicion=0.9,
        message="another operator is likelier here",
        reasons=(),
        repair=repair,
    )
    now = Positions(text)
    problem = diagnostic(finding, now)
    assert problem.range == lsp.Range(lsp.Position(1, 7), lsp.Position(1, 8))
    assert problem.message == "another operator is likelier here (likelier: '==')"
    line = lsp.Range(lsp.Position(1, 0), lsp.Position(1, 14))
    (action,) = repairs([finding], now, now, URI, line)
    assert action.edit is not None
    assert action.edit.changes == {URI: [lsp.TextEdit(problem.range, "==")]}
    assert action.title == "codebyte: write '==' for '='"
    elsewhere = lsp.Range(lsp.Position(0, 0), lsp.Position(0, 2))
    assert repairs([finding], now, now, URI, elsewhere) == []
    assert repairs([finding], now, Positions(text + "#"), URI, line) == []
