"""Search, Scan and Repositories in a real browser: one repository goes through all three."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import TEXT, a_browser, add, choose, field, served_page, tab, visited
from served import needs_chromium

from tests.conftest import KEPT, MakeRepo

pytestmark = [
    needs_chromium,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.usefixtures("screenshot"),
    pytest.mark.filterwarnings("default"),  # gradio's own
]

playwright = pytest.importorskip("playwright.sync_api")

OTHER = b'''def greet_warmly(person):
    """Greets a person by name, and asks how they are."""
    return "Good morning, " + person + ", and how are you?"
'''


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, make_repo: MakeRepo) -> Path:
    return make_repo(tmp_path_factory.mktemp("repos") / "greeter", KEPT | {"logo.png": b"\x89PNG"})


@pytest.fixture(scope="module")
def page(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator["playwright.Page"]:
    with (
        served_page(tmp_path_factory.mktemp("data")) as address,
        a_browser() as browser,
        visited(browser, address, repository) as page,
    ):
        yield page


def test_an_added_repository_is_listed_with_what_was_left_out(page: "playwright.Page") -> None:
    tab(page, "Repositories")
    row = page.locator("#cb-repositories tbody tr, #cb-repositories tr:has(td)").first
    assert "greeter" in row.text_content()
    assert "up to date" in row.text_content()
    row.locator("summary", has_text="1").first.click()
    row.locator("summary", has_text="1 not source").click()
    row.get_by_text("logo.png").wait_for()


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
    page.wait_for_function(f'{TEXT}.startsWith(\'"""A counter that greets.\')')
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
    first.get_by_role("button", name="the server answered 500").wait_for()
    page.unroute("**/cb-file?*")


def test_more_like_a_result_is_found(page: "playwright.Page") -> None:
    tab(page, "Search")
    ask(page, "greet a person by name")
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


def ask(page: "playwright.Page", question: str) -> list[str]:
    """Searches; gives where the results are."""
    tab(page, "Search")
    button = page.get_by_role("button", name="Search", exact=True)
    field(page, "#cb-query").fill("")  # nothing is left of the results before
    button.click()
    page.locator("#cb-hits").get_by_text("Ask in words").wait_for()
    field(page, "#cb-query").fill(question)
    button.click()
    page.wait_for_selector(".cb-hit")
    return page.locator(".cb-where").all_inner_texts()


def test_a_search_is_narrowed_by_path_language_and_repository(
    page: "playwright.Page", tmp_path: Path, make_repo: MakeRepo
) -> None:
    tab(page, "Repositories")
    add(page, make_repo(tmp_path / "another", {"lib/greet.py": OTHER}))
    question = "greet a person by name"
    everywhere = ask(page, question)
    assert {"greeter/src/app.py", "another/lib/greet.py"} <= {it.split(":")[0] for it in everywhere}
    choose(page, "#cb-in-repo", "another")
    assert {it.split(":")[0] for it in ask(page, question)} == {"lib/greet.py"}
    choose(page, "#cb-in-repo", "all")
    choose(page, "#cb-in-language", "go")
    assert {it.split(":")[0] for it in ask(page, "next number")} == {"counter/counter.go"}
    choose(page, "#cb-in-language", "all")
    field(page, "#cb-in-path").fill("tests/**")
    assert {it.split(":")[0] for it in ask(page, question)} == {"tests/test_app.py"}
    field(page, "#cb-in-path").fill("")

    tab(page, "Repositories")
    choose(page, "#cb-chosen", "another")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("another is forgotten").wait_for()
    assert all(not it.startswith("lib/") for it in ask(page, question))


def test_a_result_tells_its_lines_and_why_it_was_found(page: "playwright.Page") -> None:
    ask(page, "load_settings")
    first = page.locator(".cb-hit").first
    start, end = map(int, first.locator(".cb-where").inner_text().rpartition(":")[2].split("-"))
    assert (start, end) == (12, 15)
    assert re.match(
        r"by (words|meaning|words and meaning), ", first.locator(".cb-why").inner_text()
    )
    numbers = [int(it) for it in first.locator(".cb-number").all_inner_texts()]
    assert numbers[0] == start
    assert numbers == list(range(start, start + len(numbers)))
    row = first.locator(".cb-row", has=page.get_by_text("def load_settings")).first
    assert row.inner_text().split()[:3] == ["12", "def", "load_settings(path:"]


def test_an_update_brings_in_what_has_changed(page: "playwright.Page", repository: Path) -> None:
    (repository / "src" / "fresh.py").write_text("def fresh_bread():\n    return 'warm'\n" * 3)
    tab(page, "Repositories")
    choose(page, "#cb-chosen", "greeter")
    page.get_by_role("button", name="Update", exact=True).click()
    page.get_by_text(f"greeter: {len(KEPT) + 1} files").wait_for()
    assert ask(page, "fresh_bread")[0].startswith("src/fresh.py:")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Search", {"Search"}),
        ("Scan", {"Upload", "Scan", "Stop"}),
        ("Repositories", {"Add", "Update", "Remove", "Adapt the model"}),
    ],
)
def test_every_button_of_a_tab_is_reached_by_keys(
    page: "playwright.Page", name: str, wanted: set[str]
) -> None:
    page.get_by_role("tab", name=name).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name=sorted(wanted)[0], exact=True).wait_for()
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert wanted <= reached
