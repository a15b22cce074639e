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
