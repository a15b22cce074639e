"""The Scan tab in a real browser: a scan, its plot, its heat maps and its exports."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import a_browser, choose, field, served_page, tab, visited
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

HEAT = "#cb-drawn .cb-heat"
MANY = 60  # files of the repository that takes a while


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, make_repo: MakeRepo
) -> Iterator["playwright.Page"]:
    """The page, with a small repository and one that takes longer."""
    folder = tmp_path_factory.mktemp("repos")
    greeter = make_repo(folder / "greeter", KEPT)
    code = b"def size(width, height):\n    return width * height + %d\n\n\n"
    many = {f"many/m{n:03}.py": code % n * 40 for n in range(MANY)}
    with (
        served_page(tmp_path_factory.mktemp("data")) as address,
        a_browser() as browser,
        visited(browser, address, greeter, make_repo(folder / "many", many)) as page,
    ):
        yield page


def place(page: "playwright.Page", name: str) -> None:
    """Chooses what to scan."""
    tab(page, "Scan")
    choose(page, "#cb-place", name)


def scan(page: "playwright.Page", name: str) -> None:
    """Scans a repository, or what was uploaded, to the end."""
    before = page.locator("iframe.cb-report")
    old = before.get_attribute("src") if before.count() else ""
    place(page, name)
    page.get_by_role("button", name="Scan", exact=True).click()
    page.wait_for_function(
        "old => ![old, undefined].includes("
        "document.querySelector('iframe.cb-report')?.getAttribute('src'))",
        arg=old,
    )


def draw(page: "playwright.Page", part: str, path: str) -> None:
    """Chooses a file by a part of its path."""
    field(page, "#cb-file").click()
    field(page, "#cb-file").fill(part)
    page.get_by_role("option", name=path, exact=True).click()
    page.locator("#cb-drawn .cb-said").get_by_text(f"{path}:").wait_for()


def test_files_are_plotted_and_a_bar_that_is_clicked_opens_its_heat_map(
    page: "playwright.Page",
) -> None:
    scan(page, "greeter")
    bars = page.locator("#cb-ranked .mark-rect path")
    bars.first.wait_for()
    assert bars.count() == len(KEPT)
    label = bars.first.get_attribute("aria-label") or ""
    bars.first.click()
    page.wait_for_selector(HEAT)
    (name,) = [path for path in KEPT if f" {Path(path).name};" in label]
    assert page.inner_text("#cb-drawn .cb-said").startswith(f"{name}: {len(KEPT[name]):,} bytes")
    assert field(page, "#cb-file").input_value() == name


def test_the_bits_of_every_character_are_told_to_pointer_and_keys(page: "playwright.Page") -> None:
    scan(page, "greeter")
    draw(page, "app", "src/app.py")
    page.wait_for_selector(HEAT)
    lines = page.locator(f"{HEAT} [data-b]")
    told = (lines.nth(2).get_attribute("data-b") or "").split(" ")
    assert lines.nth(2).inner_text() == "import json\u21b5"
    assert len(told) == len("import json\n")
    tip = page.locator(".heat-tip")
    box = lines.nth(2).bounding_box()
    assert box is not None
    width = box["width"] / len(told)
    for index, bits in enumerate(told):
        page.mouse.move(box["x"] + (index + 0.3) * width, box["y"] + box["height"] / 2)
        assert tip.inner_text() == f"{bits} bits"
    page.mouse.move(0, 0)
    assert tip.is_hidden()

    page.locator(HEAT).focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    # The second line is empty but for its end.
    assert tip.inner_text() == f"{told[1]} bits"
    assert page.evaluate("getSelection().toString()") == "m"
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("getSelection().toString()") == "f"  # of the next line
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    assert tip.inner_text() == f"{told[0]} bits"
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    assert tip.is_hidden()


def test_a_byte_that_is_no_text_is_one_thing_to_point_at(page: "playwright.Page") -> None:
    scan(page, "greeter")
    draw(page, "latin", "src/latin1.py")
    page.locator(HEAT).focus()
    for key in ("ArrowRight",) * 4:
        page.keyboard.press(key)
    # Of "# Men\xfc" the fourth; go to the byte, and past it.
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("getSelection().toString()") == "\\xfc"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("getSelection().toString()") == ":"


def test_the_report_tells_the_bits_too(page: "playwright.Page") -> None:
    scan(page, "greeter")
    inside = page.frame_locator("iframe.cb-report")
    inside.locator("details summary").first.click()
    heat = inside.locator("details .heat").first
    heat.focus()
    page.keyboard.press("ArrowRight")
    told = (heat.locator("[data-b]").first.get_attribute("data-b") or "").split(" ")
    assert inside.locator(".heat-tip").inner_text() == f"{told[0]} bits"
    box = heat.locator("[data-b]").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
    inside.get_by_text(f"{told[0]} bits", exact=True).wait_for()


def test_the_exports_can_be_read(page: "playwright.Page") -> None:
    scan(page, "greeter")
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON lines").click()
    lines = [json.loads(it) for it in Path(download.value.path()).read_text("utf-8").splitlines()]
    assert {line["path"] for line in lines if line["type"] == "file"} == set(KEPT)
    assert download.value.suggested_filename == "scan.jsonl"
    with page.expect_popup() as popup:
        page.get_by_role("link", name="HTML").click()
    popup.value.get_by_role("heading", name="codebyte scan of greeter").wait_for()
    assert popup.value.locator("tbody tr").count() == len(KEPT)
    popup.value.close()


def test_an_upload_is_scanned_and_its_files_are_drawn(
    page: "playwright.Page", tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("deep/inside/thing.py", KEPT["src/app.py"])
    tab(page, "Scan")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload", exact=True).click()
    chooser.value.set_files(tmp_path / "code.zip")
    page.wait_for_function("document.querySelector('#cb-place input').value === 'an upload'")
    scan(page, "an upload")
    assert "1 file," in page.inner_text("#cb-scanning")
    draw(page, "thing", "deep/inside/thing.py")
    page.wait_for_selector(HEAT)


def test_progress_moves_and_a_scan_that_is_stopped_reports_its_part(
    page: "playwright.Page",
) -> None:
    place(page, "many")
    page.evaluate(
        """() => {
            window.told = [];
            const options = { characterData: true, childList: true, subtree: true };
            new MutationObserver(() => {
                const said = document.querySelector('#cb-scanning .cb-meter');
                if (said) window.told.push(said.textContent);
            }).observe(document.querySelector('#cb-scanning'), options);
        }"""
    )
    page.get_by_role("button", name="Scan", exact=True).click()
    page.wait_for_function(
        "new Set(window.told.filter(said => /^scoring[1-9]/.test(said))).size > 2"
    )
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("stopped before the end").wait_for()
    done = [
        int(found[1].replace(",", ""))
        for said in page.evaluate("window.told")
        if (found := re.match(r"scoring([\d,]+) of", said))
    ]
    assert done == sorted(done)
    (count,) = re.findall(r"^(\d+) files?,", page.inner_text("#cb-scanning"))
    assert 0 < int(count) < MANY
