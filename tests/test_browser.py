"""The page in a real browser, with a tiny model that knows one text by heart."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from browsing import PATIENCE, a_browser, served_page
from served import needs_chromium, serving
from taught import ACCENTS, HALF, PATH, REST, TEXT, taught_checkpoint

pytestmark = [
    needs_chromium,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # gradio's own
]

playwright = pytest.importorskip("playwright.sync_api")

GHOST = ".cb-ghost"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_page(tmp_path_factory.mktemp("data")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with a_browser() as browser:
        yield browser


class Editor:
    """The page, and what a person does in it."""

    def __init__(self, page: "playwright.Page", address: str) -> None:
        self.page = page
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        self.asked: list[dict] = []
        page.set_default_timeout(PATIENCE)
        page.on("request", self._note)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector(".cm-content")
        self.key("Control+End")
        self.idle()

    def _note(self, request: "playwright.Request") -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            self.elsewhere.append(request.url)
        if request.url.endswith("/v1/complete"):
            self.asked.append(request.post_data_json)

    def key(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def idle(self) -> None:
        """Waits until no request is under way."""
        self.page.wait_for_function(
            "!document.querySelector('.cb-status').matches"
            "('[data-state=thinking], [data-state=streaming]')"
        )

    def put(self, text: str, path: str = PATH) -> None:
        """Makes this the text, with the caret at its end, without asking for anything."""
        self.page.evaluate(
            """([text, path]) => {
                const { view, requests } = document.querySelector('.cb-write').codebyte;
                requests.stop();
                const name = document.querySelector('.cb-path');
                name.value = path;
                name.dispatchEvent(new Event('change'));
                view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text },
                                selection: { anchor: text.length } });
                view.focus();
            }""",
            [text, path],
        )

    def caret(self, place: int) -> None:
        self.page.evaluate(
            "place => document.querySelector('.cb-write').codebyte.view"
            ".dispatch({ selection: { anchor: place } })",
            place,
        )

    @property
    def text(self) -> str:
        return self.page.evaluate(
            "document.querySelector('.cb-write').codebyte.view.state.sliceDoc()"
        )

    @property
    def ghost(self) -> str:
        found = self.page.query_selector(GHOST)
        return found.text_content() if found else ""

    def wait_for_ghost(self, text: str) -> None:
        self.page.wait_for_function(
            "text => document.querySelector('.cb-ghost')?.textContent === text", arg=text
        )
        self.idle()


@pytest.fixture(scope="module")
def window(browser: "playwright.Browser") -> "playwright.BrowserContext":
    """One for all tests: the page's scripts are fetched and compiled once."""
    return browser.new_context(viewport={"width": 1280, "height": 800})


@pytest.fixture
def editor(window: "playwright.BrowserContext", address: str) -> Iterator[Editor]:
    editor = Editor(window.new_page(), address)
    yield editor
    assert editor.elsewhere == []
    assert editor.errors == []
    editor.page.evaluate("localStorage.clear(); sessionStorage.clear()")
    editor.page.close()


def suggested(editor: Editor) -> Editor:
    """Types up to the middle of a line the model knows."""
    editor.put(HALF[:-2])
    editor.type(HALF[-2:])
    editor.wait_for_ghost(REST)
    return editor


@pytest.mark.usefixtures("screenshot")
def test_ghost_text_appears_and_tab_accepts_all_of_it_in_one_step(editor: Editor) -> None:
    suggested(editor)
    assert editor.text == HALF
    editor.key("Tab")
    assert editor.text == HALF + REST
    editor.key("Control+z")
    assert editor.text == HALF


def test_a_word_is_accepted_at_a_time(editor: Editor) -> None:
    suggested(editor)
    editor.key("Control+ArrowRight")
    word = REST.split(" ")[0]
    assert editor.text == HALF + word
    assert editor.ghost == REST.removeprefix(word)
    editor.key("Control+ArrowRight", "Control+ArrowRight")
    assert editor.text == HALF + REST


def test_escape_dismisses_and_nothing_comes_back_by_itself(editor: Editor) -> None:
    suggested(editor)
    count = len(editor.asked)
    editor.key("Escape")
    assert editor.ghost == ""
    editor.page.wait_for_timeout(400)
    assert (editor.ghost, editor.text, len(editor.asked)) == ("", HALF, count)


def test_typing_what_is_suggested_keeps_the_rest_and_asks_nothing(editor: Editor) -> None:
    suggested(editor)
    count = len(editor.asked)
    for place, letter in enumerate(REST[:6], 1):
        editor.type(letter)
        assert editor.ghost == REST[place:]
    editor.page.wait_for_timeout(300)
    assert len(editor.asked) == count
    assert editor.text == HALF + REST[:6]


def test_typing_something_else_ends_the_suggestion_and_asks_anew(editor: Editor) -> None:
    suggested(editor)
    count = len(editor.asked)
    editor.type("Q")
    assert not editor.ghost.startswith(REST)
    editor.page.wait_for_timeout(300)
    editor.idle()
    assert len(editor.asked) == count + 1
    assert editor.asked[-1]["prefix"] == HALF + "Q"


def test_quick_typing_sends_one_request(editor: Editor) -> None:
    editor.put("")
    count = len(editor.asked)
    editor.page.evaluate(
        """text => {
            const { view } = document.querySelector('.cb-write').codebyte;
            for (const letter of text) {
                const at = view.state.selection.main.head;
                view.dispatch({ changes: { from: at, insert: letter },
                                selection: { anchor: at + 1 }, userEvent: 'input.type' });
            }
        }""",
        HALF,
    )
    editor.wait_for_ghost(REST)
    assert [asked["prefix"] for asked in editor.asked[count:]] == [HALF]


def test_tab_indents_where_nothing_is_suggested(editor: Editor) -> None:
    editor.put("")
    editor.key("Tab")
    assert editor.text == "    "
    editor.put("ab")
    editor.key("Tab")
    assert editor.text == "ab  "
    editor.put("a\nb", "main.go")
    editor.key("Control+a", "Tab")
    assert editor.text == "\ta\n\tb"


def test_escape_then_tab_leaves_the_editor(editor: Editor) -> None:
    editor.put("x")
    editor.key("Escape", "Tab")
    assert editor.text == "x"
    assert not editor.page.evaluate("!!document.activeElement.closest('.cm-content')")


def test_moving_the_caret_ends_the_suggestion(editor: Editor) -> None:
    suggested(editor).key("ArrowLeft")
    assert editor.ghost == ""


def test_an_answer_is_remembered(editor: Editor) -> None:
    suggested(editor)
    editor.idle()  # an answer that is cut off is not remembered
    count = len(editor.asked)
    editor.key("Escape")
    editor.type("Q")
    editor.idle()
    editor.page.wait_for_timeout(300)
    editor.idle()
    sent = len(editor.asked)
    assert sent == count + 1
    editor.key("Backspace")
    editor.wait_for_ghost(REST)
    assert len(editor.asked) == sent


def test_a_bracket_the_editor_closed_is_not_doubled(editor: Editor) -> None:
    before = TEXT[: TEXT.index("(f")]
    editor.put(before)
    editor.type("(")
    assert editor.text == before + "()"
    rest = TEXT[len(before) + 1 : -2]
    editor.wait_for_ghost(rest)
    editor.key("Tab")
    assert editor.text == before + "(" + rest + ")"
    editor.key("Control+z")
    assert editor.text == before + "()"


def test_letters_outside_ascii_do_not_shift_the_place(editor: Editor) -> None:
    editor.put(ACCENTS + HALF[:-1])
    editor.type(HALF[-1])
    editor.wait_for_ghost(REST)
    editor.key("Tab")
    assert editor.text == ACCENTS + HALF + REST


def test_suggestions_can_be_turned_off_and_on(editor: Editor) -> None:
    editor.page.click(".cb-knob")
    count = len(editor.asked)
    editor.put(HALF[:-1])
    editor.type(HALF[-1])
    editor.page.wait_for_timeout(400)
    assert (editor.ghost, len(editor.asked)) == ("", count)
    assert editor.page.inner_text(".cb-figures") == "Suggestions are off"
    editor.page.click(".cb-knob")
    suggested(editor)


def test_the_status_line_tells_what_it_cost(editor: Editor) -> None:
    suggested(editor)
    figures = editor.page.inner_text(".cb-figures")
    assert "first byte" in figures
    assert "bytes/s" in figures
    assert "bytes cached" in figures
    assert "end of line" in figures


def test_each_letter_is_as_faint_as_the_model_is_unsure(editor: Editor) -> None:
    suggested(editor)
    shades = editor.page.eval_on_selector_all(
        f"{GHOST} span", "runs => runs.map(run => [run.className, run.textContent.length])"
    )
    assert sum(length for _, length in shades) == len(REST)
    sure = sum(length for shade, length in shades if shade == "cb-shade-0")
    assert sure > len(REST) // 2


def test_the_file_type_and_the_name_follow_each_other(editor: Editor) -> None:
    editor.page.fill(".cb-path", "lib/thing.rs")
    editor.page.press(".cb-path", "Enter")
    assert editor.page.input_value(".cb-language") == "Rust"
    editor.page.select_option(".cb-language", "TypeScript")
    assert editor.page.input_value(".cb-path") == "lib/thing.ts"


def test_a_file_keeps_its_line_ends(editor: Editor, tmp_path: Path) -> None:
    data = b"a = 1\r\nb = '\xc3\xa9'\r\n"
    (tmp_path / "windows.py").write_bytes(data)
    editor.page.set_input_files(".cb-file", tmp_path / "windows.py")
    editor.page.wait_for_function("document.querySelector('.cb-path').value === 'windows.py'")
    editor.key("Control+End")
    editor.type("x")
    editor.page.wait_for_timeout(200)
    editor.idle()
    assert editor.asked[-1]["prefix"].encode() == data + b"x"
    with editor.page.expect_download() as download:
        editor.page.click(".cb-save")
    assert Path(download.value.path()).read_bytes() == data + b"x"


@pytest.mark.parametrize("event", ["paste", "drop"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_text_from_elsewhere_takes_the_line_ends_of_the_file(
    editor: Editor, tmp_path: Path, event: str, end: str
) -> None:
    lines = ["x = 1", "y = 2", "z = 3", "a = 1", ""]
    (tmp_path / "own.py").write_bytes(end.join(lines[3:]).encode())
    editor.page.set_input_files(".cb-file", tmp_path / "own.py")
    editor.page.wait_for_function("document.querySelector('.cb-path').value === 'own.py'")
    editor.page.evaluate(
        """([kind, text]) => {
            const { view } = document.querySelector('.cb-write').codebyte;
            const data = new DataTransfer();
            data.setData('text/plain', text);
            const { left, top } = view.coordsAtPos(0);
            const about = { bubbles: true, cancelable: true, clientX: left, clientY: top + 1 };
            view.contentDOM.dispatchEvent(
                kind === 'paste'
                    ? new ClipboardEvent(kind, { ...about, clipboardData: data })
                    : new DragEvent(kind, { ...about, dataTransfer: data }));
        }""",
        [event, "x = 1\ny = 2\r\nz = 3\r"],
    )
    shown = "document.querySelector('.cb-write').codebyte.view.state.doc.toJSON()"
    assert editor.page.evaluate(shown) == lines
    editor.key("Control+End")
    editor.type("q")
    editor.page.wait_for_timeout(200)
    editor.idle()
    text = end.join(lines) + "q"
    assert editor.asked[-1]["prefix"] == text
    with editor.page.expect_download() as download:
        editor.page.click(".cb-save")
    assert Path(download.value.path()).read_bytes() == text.encode()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_the_search_panel_replaces_by_a_newline_takes_the_line_ends_of_the_file(
    editor: Editor, tmp_path: Path, end: str
) -> None:
    (tmp_path / "joined.py").write_bytes(f"a = 1; b = 2; c = 3{end}d = 4; e = 5{end}".encode())
    editor.page.set_input_files(".cb-file", tmp_path / "joined.py")
    editor.page.wait_for_function("document.querySelector('.cb-path').value === 'joined.py'")
    editor.page.click(".cm-content")
    editor.key("Control+f")
    editor.page.fill(".cm-search [name=search]", "; ")
    editor.page.fill(".cm-search [name=replace]", "\\n")
    editor.page.click(".cm-search [name=replaceAll]")
    text = end.join(["a = 1", "b = 2", "c = 3", "d = 4", "e = 5", ""])
    with editor.page.expect_download() as download:
        editor.page.click(".cb-save")
    assert Path(download.value.path()).read_bytes() == text.encode()
    editor.page.click(".cm-content")
    editor.key("Control+z")
    assert editor.text.startswith("a = 1; b = 2; c = 3")  # undone in one step


def test_a_file_that_is_not_utf8_is_shown_and_saved_as_it_is(
    editor: Editor, tmp_path: Path
) -> None:
    data = "PREIS = 'Caf\u00e9'\r\n".encode("latin-1")
    (tmp_path / "latin.py").write_bytes(data)
    editor.page.set_input_files(".cb-file", tmp_path / "latin.py")
    editor.page.wait_for_selector(".cb-readonly:not([hidden])")
    assert "latin.py is not UTF-8" in editor.page.inner_text(".cb-readonly")
    shown = editor.text
    assert "Caf\u00e9" in shown
    editor.page.click(".cm-content")
    editor.type("x")
    assert editor.text == shown
    with editor.page.expect_download() as download:
        editor.page.click(".cb-save")
    assert Path(download.value.path()).read_bytes() == data
    (tmp_path / "plain.py").write_bytes(b"a = 1\n")
    editor.page.set_input_files(".cb-file", tmp_path / "plain.py")
    editor.page.wait_for_selector(".cb-readonly", state="hidden")
    editor.key("Control+Home")
    editor.type("x")
    assert editor.text.startswith("x")


def test_alternatives_come_on_request_by_key_and_by_button(editor: Editor) -> None:
    suggested(editor)
    editor.key("Alt+]")
    chosen = ".cb-choices [aria-selected=true]"
    editor.page.wait_for_selector(chosen)
    first = editor.page.inner_text(chosen)
    assert first != REST
    assert editor.ghost == first
    editor.key("Alt+[")
    choices = editor.page.locator(".cb-choices button").all_inner_texts()
    assert len(choices) == len(set(choices)) > 1
    editor.page.locator(".cb-choices button").nth(1).click()
    assert editor.ghost == choices[1]
    before = editor.text
    editor.key("Tab")
    assert editor.text == before + choices[1]
    editor.key("Control+z")
    assert editor.text == before
    editor.page.click(".cb-more")
    editor.page.wait_for_selector(chosen)


@pytest.mark.parametrize("taken", ["a letter", "a word"])
def test_alternatives_are_offered_no_more_once_a_part_of_one_is_in_the_text(
    editor: Editor, taken: str
) -> None:
    suggested(editor)
    editor.key("Alt+]")
    editor.page.wait_for_selector(".cb-choices [aria-selected=true]")
    offered = editor.ghost
    if taken == "a letter":
        editor.type(offered[0])
    else:
        editor.key("Control+ArrowRight")
    part = editor.text.removeprefix(HALF)
    assert part
    assert editor.ghost == offered.removeprefix(part)
    assert editor.page.locator(".cb-choices button").count() == 0


def test_a_pasted_text_is_shown_as_a_heat_map(editor: Editor) -> None:
    editor.page.get_by_role("tab", name="Score").click()
    code = TEXT.replace("height\n", "hieght\n") + "<b>"
    editor.page.locator(".cb-paste textarea").fill(code)
    editor.page.get_by_role("button", name="Score", exact=True).click()
    editor.page.wait_for_selector(".cb-heat")
    shown = editor.page.inner_text(".cb-row:nth-child(2) > span:last-child")
    assert shown.strip() == "return width * hieght\u21b5"
    bits = [float(it) for it in editor.page.locator(".cb-row .cb-bits").all_inner_texts()]
    assert len(bits) == 7
    assert bits[1] > 4 * bits[0]
    assert editor.page.locator(".cb-heat b").count() == 0


def test_a_file_of_any_bytes_is_scored(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"\x00\xff\r\n")
    editor.page.get_by_role("tab", name="Score").click()
    with editor.page.expect_file_chooser() as chooser:
        editor.page.get_by_role("button", name="Score a file").click()
    chooser.value.set_files(tmp_path / "data.bin")
    editor.page.wait_for_selector(".cb-heat")
    shown = editor.page.inner_text(".cb-row > span:last-child")
    assert shown.strip() == "\u2400\\xff\u240d\u21b5"


def test_light_and_dark_can_be_chosen_and_stay(editor: Editor) -> None:
    dark = "document.body.classList.contains('dark')"
    before = editor.page.evaluate(dark)
    editor.page.click(".cb-theme")
    assert editor.page.evaluate(dark) is not before
    editor.page.reload()
    editor.page.wait_for_selector(".cm-content")
    assert editor.page.evaluate(dark) is not before


def test_a_person_gets_to_the_page_with_the_token_and_the_api_still_wants_it_as_a_bearer(
    browser: "playwright.Browser", tmp_path: Path
) -> None:
    from codebyte.apps.server import create_app
    from codebyte.apps.session import Session

    token = "a-token-of-some-length"
    app = create_app(Session(taught_checkpoint()), token=token, index=tmp_path / "index")
    with serving(app) as address, browser.new_context() as person:
        page = person.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        assert page.locator(".cm-content").count() == 0
        page.fill("#token", token + "x")
        page.click("button")
        page.get_by_text("That is not the token.").wait_for()
        page.fill("#token", token)
        page.click("button")
        page.wait_for_selector(".cm-content")
        models = f"{address}/v1/models"
        assert person.request.get(models).status == 200  # by the page's cookie
        assert httpx.get(models).status_code == 401
        assert httpx.get(models, headers={"authorization": f"Basic {token}"}).status_code == 401
        assert httpx.get(models, headers={"authorization": f"Bearer {token}"}).status_code == 200
