"""Search, Scan and Repositories in a real browser: one repository goes through all three."""

import gc
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from served import CHROMIUM, needs_chromium
from taught import taught_checkpoint
from test_browser import OPTIONS, PATIENCE

from tests.conftest import KEPT, MakeRepo

pytestmark = [
    needs_chromium,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.usefixtures("screenshot"),
    pytest.mark.filterwarnings("default"),  # gradio's own
]

playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, make_repo: MakeRepo) -> Path:
    return make_repo(tmp_path_factory.mktemp("repos") / "greeter", KEPT)


@pytest.fixture(scope="module")
def page(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["playwright.Page"]:
    """The page, with the repository added in its Repositories tab."""
    from codebyte.apps.server import create_app
    from codebyte.apps.session import Session

    app = create_app(Session(taught_checkpoint()), index=tmp_path_factory.mktemp("data") / "index")
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    elsewhere: list[str] = []
    errors: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS, timeout=PATIENCE)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda request: (
                elsewhere.append(request.url)
                if urlsplit(request.url).hostname not in ("127.0.0.1", None)
                else None
            ),
        )
        page.goto(f"http://127.0.0.1:{listener.getsockname()[1]}")
        page.wait_for_selector(".cm-content")
        tab(page, "Repositories")
        field(page, "#cb-source").fill(str(repository))
        page.get_by_role("button", name="Add", exact=True).click()
        page.wait_for_selector("#cb-repositories table")
        yield page
        browser.close()
    server.should_exit = True
    thread.join()
    listener.close()
    gc.collect()  # here, where gradio's unclosed sockets are warnings and not errors
    assert elsewhere == []
    assert errors == []


def tab(page: "playwright.Page", name: str) -> None:
    page.get_by_role("tab", name=name).click()


def field(page: "playwright.Page", place: str) -> "playwright.Locator":
    return page.locator(f"{place} input, {place} textarea").first


def test_an_added_repository_is_listed_with_what_was_left_out(page: "playwright.Page") -> None:
    tab(page, "Repositories")
    row = page.locator("#cb-repositories tbody tr, #cb-repositories tr:has(td)").first
    assert "greeter" in row.text_content()
    assert "up to date" in row.text_content()


def test_a_folder_that_is_not_there_is_said_in_a_sentence(page: "playwright.Page") -> None:
    tab(page, "Repositories")
    field(page, "#cb-source").fill("/nowhere/at/all")
    page.get_by_role("button", name="Add", exact=True).click()
    page.wait_for_function(
        "document.querySelector('#cb-progress').textContent.includes('is not a folder')"
    )


def test_a_question_finds_its_function_and_the_file_opens_in_the_editor(
    page: "playwright.Page",
) -> None:
    tab(page, "Search")
    field(page, "#cb-query").fill("greet a person by name")
    field(page, "#cb-query").press("Enter")
    first = page.locator(".cb-hit").first
    first.wait_for()
    assert re.search(r"src/app\.py:\d+-\d+", first.text_content())
    assert "greet" in first.locator("mark").first.text_content()
    first.get_by_role("button", name="Open in Write").click()
    page.wait_for_function(
        "document.querySelector('.cb-write').codebyte.view.state.sliceDoc()"
        '.startsWith(\'"""A counter that greets.\')'
    )
    assert page.locator(".cb-path").input_value() == "src/app.py"


def test_a_server_that_fails_to_open_a_file_is_said_on_the_button(
    page: "playwright.Page",
) -> None:
    tab(page, "Search")
    field(page, "#cb-query").fill("greet a person by name")
    field(page, "#cb-query").press("Enter")
    first = page.locator(".cb-hit").first
    first.wait_for()
    page.route("**/cb-file?*", lambda route: route.fulfill(status=500, body="Internal Error"))
    first.get_by_role("button", name="Open in Write").click()
    first.get_by_role("button", name="it cannot be opened").wait_for()
    page.unroute("**/cb-file?*")


def test_more_like_a_result_is_found(page: "playwright.Page") -> None:
    tab(page, "Search")
    field(page, "#cb-query").fill("greet a person by name")
    field(page, "#cb-query").press("Enter")
    page.locator(".cb-hit").first.wait_for()
    page.locator(".cb-hit button[data-action=similar]").first.click()
    page.wait_for_function(
        "document.querySelector('.cb-said')?.textContent.includes('like src/app.py')"
    )


def test_a_scan_of_the_repository_ends_in_a_report_with_exports(page: "playwright.Page") -> None:
    tab(page, "Scan")
    page.wait_for_function("document.querySelector('#cb-place input').value === 'greeter'")
    page.get_by_role("button", name="Scan", exact=True).click()
    page.wait_for_selector("iframe.cb-report")
    inside = page.frame_locator("iframe.cb-report")
    inside.get_by_text("Byte by byte").wait_for()
    assert "src/app.py" in inside.locator("main").text_content()
    with page.expect_download() as download:
        page.get_by_role("link", name="SARIF").click()
    assert '"version": "2.1.0"' in Path(download.value.path()).read_text()
