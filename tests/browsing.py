"""A browser on the served page, for the tests that use it as a person would."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from served import CHROMIUM, serving
from taught import taught_checkpoint

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE = 60_000 * int(os.environ.get("CODEBYTE_PATIENCE", "1"))  # milliseconds
TEXT = "document.querySelector('.cb-write').codebyte.view.state.sliceDoc()"


_elsewhere: list[object] = []  # whom this process, which is the server's too, has asked


def _note(event: str, given: tuple[object, ...]) -> None:
    if event == "socket.connect" and isinstance(given[1], tuple):
        asked = given[1][0]
    elif event == "socket.getaddrinfo":
        asked = given[0]
    else:
        return
    if asked not in (None, "127.0.0.1", "::1", "localhost"):
        _elsewhere.append(asked)


sys.addaudithook(_note)


@contextmanager
def served_page(folder: Path) -> Iterator[str]:
    """Serves the page of the taught model, with its index in a folder; gives the address.

    The server may ask nobody for anything.
    """
    _elsewhere.clear()
    from codebyte.apps.server import create_app
    from codebyte.apps.session import Session

    with serving(create_app(Session(taught_checkpoint()), index=folder / "index")) as address:
        yield address
    assert _elsewhere == []
    gc.collect()  # here, where gradio's unclosed sockets are warnings and not errors


@contextmanager
def a_browser() -> Iterator["Browser"]:
    """A Chromium that knows no name but 127.0.0.1."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS, timeout=PATIENCE)
        yield browser
        browser.close()


@contextmanager
def visited(browser: "Browser", address: str, *repositories: Path) -> Iterator["Page"]:
    """The page, with repositories added in its Repositories tab.

    It may ask nobody else for anything, and no script of it may fail.
    """
    elsewhere: list[str] = []
    errors: list[str] = []
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
    page.goto(address)
    page.wait_for_selector(".cm-content")
    for repository in repositories:
        tab(page, "Repositories")
        add(page, repository)
    yield page
    page.close()
    assert elsewhere == []
    assert errors == []


def add(page: "Page", repository: Path) -> None:
    """Adds a repository in the Repositories tab, which is open."""
    field(page, "#cb-source").fill(str(repository))
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("#cb-repositories td b").get_by_text(repository.name, exact=True).wait_for()


def tab(page: "Page", name: str) -> None:
    """Opens a tab."""
    page.get_by_role("tab", name=name).click()


def field(page: "Page", place: str) -> "Locator":
    """The field in an element of gradio's."""
    return page.locator(f"{place} input, {place} textarea").first


def choose(page: "Page", place: str, option: str) -> None:
    """Chooses from a list of gradio's."""
    field(page, place).click()
    page.get_by_role("option", name=option, exact=True).click()
