"""/docs in a real browser, where no other address can be reached."""

import os

import pytest
from served import CHROMIUM, needs_chromium, serving
from taught import taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.guard import Guard
from codebyte.apps.session import Session

pytestmark = [pytest.mark.browser, pytest.mark.slow]

playwright = pytest.importorskip("playwright.sync_api")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE = 60_000 * int(os.environ.get("CODEBYTE_PATIENCE", "1"))  # milliseconds


@needs_chromium
def test_the_page_shows_the_routes_and_asks_no_other_server() -> None:
    asked: list[str] = []
    with (
        serving(Guard(create_api(Session(taught_checkpoint())))) as address,
        playwright.sync_playwright() as driver,
    ):
        options = [*OPTIONS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options, timeout=PATIENCE)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/docs")
        page.wait_for_selector("#operations-completion-infill_infill_post")
        shown = page.locator(".opblock-summary-path").all_inner_texts()
        browser.close()
    assert {"/v1/completions", "/infill", "/v1/embeddings", "/metrics"} <= {
        path.replace("\u200b", "") for path in shown
    }
    outside = [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))]
    assert outside == []
    assert f"{address}/openapi.json" in asked
