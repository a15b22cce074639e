"""The Write tab in a real browser: files of repositories, colours, the side panel, keys."""

from collections.abc import Iterator

import pytest
from browsing import TEXT, a_browser, served_page, tab, visited
from served import needs_chromium

from tests.conftest import APP, COUNTER_GO, KEPT, MakeRepo

pytestmark = [
    needs_chromium,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.usefixtures("screenshot"),
    pytest.mark.filterwarnings("default"),  # gradio's own
]

playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, make_repo: MakeRepo
) -> Iterator["playwright.Page"]:
    """The page, with two repositories."""
    folder = tmp_path_factory.mktemp("repos")
    greeter = make_repo(folder / "greeter", KEPT)
    other = make_repo(folder / "other", {"main.rs": b"fn main() {}\n" * 9})
    with (
        served_page(tmp_path_factory.mktemp("data")) as address,
        a_browser() as browser,
        visited(browser, address, greeter, other) as page,
    ):
        yield page


@pytest.fixture(autouse=True)
def _written(page: "playwright.Page") -> None:
    """Every test begins in the editor."""
    tab(page, "Write")
    page.evaluate("document.querySelector('.cb-write').codebyte.view.focus()")


def listed(page: "playwright.Page", *paths: str) -> None:
    """Waits until these are the files that are offered."""
    page.wait_for_function(
        "paths => [...document.querySelectorAll('.cb-paths li')].map(it => it.textContent)"
        ".join() === paths.join()",
        arg=list(paths),
    )


def test_a_file_of_a_repository_is_opened_by_keys_alone(page: "playwright.Page") -> None:
    page.keyboard.press("Control+o")
    listed(page, *sorted(KEPT, key=lambda path: (len(path), path)))
    page.keyboard.type("py src")
    listed(page, "src/app.py", "src/latin1.py")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_selector(".cb-picker", state="hidden")
    assert page.evaluate(TEXT) == APP.decode()
    assert page.locator(".cb-path").input_value() == "src/app.py"
    assert page.evaluate("!!document.activeElement.closest('.cm-content')")
    sent = page.evaluate("document.querySelector('.cb-write').codebyte.requests.repo()")
    assert sent == "greeter"


def test_another_repository_is_chosen_and_its_file_clicked(page: "playwright.Page") -> None:
    page.get_by_role("button", name="From a repository").click()
    page.select_option(".cb-repo", "other")
    listed(page, "main.rs")
    page.locator(".cb-paths li").click()
    page.wait_for_function(f"{TEXT}.startsWith('fn main')")
    assert page.locator(".cb-language").input_value() == "Rust"


def test_what_cannot_be_opened_is_said_and_the_text_stays(page: "playwright.Page") -> None:
    before = page.evaluate(TEXT)
    page.get_by_role("button", name="From a repository").click()
    page.select_option(".cb-repo", "greeter")
    page.fill(".cb-part", "counter")
    listed(page, "counter/counter.go")
    refusal = '{"error": {"message": "counter/counter.go is gone"}}'
    page.route("**/cb-file?*", lambda route: route.fulfill(status=404, body=refusal))
    page.keyboard.press("Enter")
    page.get_by_text("counter/counter.go is gone").wait_for()
    page.unroute("**/cb-file?*")
    assert page.evaluate(TEXT) == before
    page.keyboard.press("Enter")
    page.wait_for_selector(".cb-picker", state="hidden")
    assert page.evaluate(TEXT) == COUNTER_GO.decode()


def test_the_list_of_files_is_left_by_escape(page: "playwright.Page") -> None:
    page.keyboard.press("Control+o")
    page.wait_for_selector(".cb-paths li")
    page.fill(".cb-part", "no such file")
    page.get_by_text("0 files", exact=True).wait_for()
    page.keyboard.press("Enter")
    assert page.is_visible(".cb-picker")
    page.keyboard.press("Escape")
    page.wait_for_selector(".cb-picker", state="hidden")
    assert page.evaluate("!!document.activeElement.closest('.cm-content')")


def opened(page: "playwright.Page", path: str) -> None:
    """Opens a file of the greeter."""
    page.evaluate(
        "path => document.querySelector('.cb-write').codebyte.openFrom('greeter', path)", path
    )
    page.wait_for_function("path => document.querySelector('.cb-path').value === path", arg=path)


def test_code_is_coloured_by_what_it_is(page: "playwright.Page") -> None:
    opened(page, "src/app.py")
    colours = {
        kind: page.locator(f".cm-content .tok-{kind}").first.evaluate(
            "it => getComputedStyle(it).color"
        )
        for kind in ("keyword", "string", "number")
    }
    assert len(set(colours.values())) == 3
    assert page.locator(".cm-content .tok-keyword").first.inner_text() == "import"
    assert page.locator(".cm-content .tok-number").first.inner_text() == "1"
    opened(page, "counter/counter.go")
    page.wait_for_function("document.querySelector('.tok-keyword')?.textContent === 'package'")


def test_lines_are_shown_by_number_and_a_line_is_selected_by_keys(page: "playwright.Page") -> None:
    opened(page, "src/app.py")
    numbers = page.locator(".cm-lineNumbers .cm-gutterElement:visible").all_inner_texts()
    assert numbers[-3:] == ["14", "15", "16"]
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Alt+l")
    selected = (
        "(() => { const { state } = document.querySelector('.cb-write').codebyte.view;"
        " const { from, to } = state.selection.main; return state.sliceDoc(from, to); })()"
    )
    assert page.evaluate(selected) == "import json\n"


def test_the_panel_tells_what_a_suggestion_cost_and_which_lines_it_repeats(
    page: "playwright.Page",
) -> None:
    opened(page, "tests/test_app.py")
    page.keyboard.press("Control+End")
    page.keyboard.type("def load_settings(path: Path) -> ")
    for letter in "dict[str, object":  # the repository is read meanwhile
        page.keyboard.type(letter)
        page.keyboard.press("Escape")
        page.keyboard.press("Alt+\\")
        page.wait_for_selector(".cb-status:is([data-state=done], [data-state=again])")
        if page.locator(".cb-recalled li").count():
            break
        page.wait_for_timeout(300)
    for figure in ("first", "speed", "cached"):
        shown = page.inner_text(f"[data-figure={figure}]").replace(",", "")
        assert shown.isdecimal(), figure
    page.get_by_text("greeter: ").wait_for()
    assert page.locator(".cb-recalled .cb-source").all_inner_texts()[0].startswith("src/app.py:")


def test_a_suggestion_is_asked_for_by_key(page: "playwright.Page") -> None:
    opened(page, "src/app.py")
    page.keyboard.press("Control+End")
    with page.expect_request("**/v1/complete") as asked:
        page.keyboard.press("Alt+\\")
    assert asked.value.post_data_json["prefix"] == APP.decode()
    assert asked.value.post_data_json["repo"] == "greeter"


def test_a_file_dropped_on_the_editor_is_opened(page: "playwright.Page") -> None:
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(['fn main() {}\\n'], 'dropped.rs'));
            document.querySelector('.cm-content').dispatchEvent(
                new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: data }));
        }"""
    )
    page.wait_for_function(f"{TEXT} === 'fn main() {{}}\\n'")
    assert page.locator(".cb-path").input_value() == "dropped.rs"
    assert page.locator(".cb-language").input_value() == "Rust"


def test_the_main_controls_are_reached_by_tab_in_order(page: "playwright.Page") -> None:
    page.locator(".cb-theme").focus()
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(({ className, role }) => role === 'tab' || className.includes('selected')"
                " ? 'tab' : className.split(' ').pop())(document.activeElement)"
            )
        )
    wanted = ["tab", "cb-path", "cb-language", "cb-open", "cb-browse", "cb-save", "cb-multiline"]
    places = [reached.index(name) for name in wanted]
    assert places == sorted(places)


def test_the_system_decides_between_light_and_dark(page: "playwright.Page") -> None:
    page.emulate_media(color_scheme="dark")
    page.reload()
    page.wait_for_selector(".cm-content")
    dark = page.evaluate("getComputedStyle(document.querySelector('.cb-write')).backgroundColor")
    page.emulate_media(color_scheme="light")
    page.reload()
    page.wait_for_selector(".cm-content")
    light = page.evaluate("getComputedStyle(document.querySelector('.cb-write')).backgroundColor")
    assert (dark, light) == ("rgb(17, 23, 30)", "rgb(255, 255, 255)")
