"""The Write tab in Chromium: first paint, and from a key to the ghost text that it brings.

`codebyte web` runs in a process of its own, a headless Chromium opens its page. A file of 2 KB
is put into the editor and typed on in its middle, one key after the answer to the one before; the
ghost of that one is dismissed first, so that every key asks the server. Not counted are the 75 ms
that the page waits after a key before it asks.

    paint    from opening the address, with the server up, to the first paint with content
    ready    until the editor can be typed into
    first    from asking to the frame after the first byte of ghost text was put in
    line     from asking to the end of the answer, where it is of one line
"""

import argparse
import os
import shutil
import sys
from typing import Any

from ghost_latency import Typing, checkpoint, percentile, typings
from report import Check, Report, parser
from serve import server

try:
    from playwright.sync_api import Page, sync_playwright
except ImportError:
    sys.exit("playwright is not here: pip install playwright, and name a Chromium")

FIRST_BAR, FIRST_P95_BAR, LINE_P95_BAR = 80.0, 200.0, 400.0  # ms; the first of the median
PAINT_BAR = 2000.0
LONG = 300_000  # ms
OPTIONS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")

# Notes when a request began, when its first byte was drawn and when it ended.
WATCH = """() => {
  const { requests, view } = document.querySelector('.cb-write').codebyte;
  window.seen = [];
  const report = requests.report;
  requests.report = (it) => {
    report(it);
    const now = performance.now();
    const last = window.seen.at(-1);
    if (it.state === 'thinking') window.seen.push({ began: now });
    else if (it.state === 'streaming' && last && !last.first) {
      last.first = now;
      requestAnimationFrame(() => { last.drawn = performance.now(); });
    } else if (it.state === 'done' && last) {
      last.ended = now;
      last.reason = it.stop_reason;
    }
  };
}"""
PUT = """([text, path, caret]) => {
  const { view, requests } = document.querySelector('.cb-write').codebyte;
  requests.stop();
  const name = document.querySelector('.cb-path');
  name.value = path;
  name.dispatchEvent(new Event('change'));
  view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text },
                  selection: { anchor: caret } });
  view.focus();
}"""
ENDED = "window.seen.length > %d && window.seen.at(-1).ended"
PAINTED = """() => {
  const painted = performance.getEntriesByName('first-contentful-paint')[0];
  return painted ? painted.startTime : null;
}"""


def main() -> None:
    """Runs the benchmark."""
    args = options().parse_args()
    report = Report("page", quick=args.quick, packages=("gradio", "playwright"), browser=True)
    files, keys, loads = (1, 6, 1) if args.quick else (5, 40, 5)
    paints, readies, seen = [], [], []
    with (
        checkpoint(args.checkpoint, report) as folder,
        server(folder, page=True) as (address, _),
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(
            executable_path=args.chromium, args=list(OPTIONS), timeout=LONG
        )
        for _ in range(loads):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(LONG)
            page.goto(address)
            page.wait_for_selector(".cm-content")
            readies.append(float(page.evaluate("performance.now()")))
            paints.append(float(page.evaluate(PAINTED)))
        page.evaluate(WATCH)
        for typing in typings(files, keys):
            seen += typed_into(page, typing)
        browser.close()
    first = [it["drawn"] - it["began"] for it in seen if it.get("drawn")]
    line = [it["ended"] - it["began"] for it in seen if it.get("reason") == "line"]
    rows = [
        [name, *(percentile(values, q) for q in (50, 95, 100)), len(values)]
        for name, values in (
            ("paint", paints),
            ("ready", readies),
            ("first", first),
            ("line", line),
        )
    ]
    report.table(["ms", "median", "p95", "slowest", "count"], rows)
    report.finish(
        {
            "ms to the first ghost byte": Check(percentile(first, 50), FIRST_BAR, at_most=True),
            "the same, p95": Check(percentile(first, 95), FIRST_P95_BAR, at_most=True),
            "ms to the whole line, p95": Check(percentile(line, 95), LINE_P95_BAR, at_most=True),
            "ms to the first paint, the slowest": Check(max(paints), PAINT_BAR, at_most=True),
        },
        unit="ms",
        spread=[percentile(first, 5), percentile(first, 95)],
        ready_ms=percentile(readies, 50),
        keys=len(seen),
    )


def options() -> argparse.ArgumentParser:
    """The command line."""
    options = parser(__doc__)
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    found = os.environ.get("CODEBYTE_CHROMIUM") or shutil.which("chromium")
    options.add_argument("--chromium", default=found, help="the browser (default: on PATH)")
    return options


def typed_into(page: Page, typing: Typing) -> list[dict[str, Any]]:
    """What was noted of each key but the first, for which nothing of the file was read yet."""
    page.evaluate(PUT, [typing.before + typing.after, typing.path, len(typing.before)])
    page.evaluate("window.seen = []")
    for number, key in enumerate(typing.typed):
        page.keyboard.press("Escape")
        page.keyboard.insert_text(key)
        page.wait_for_function(ENDED % number)
    return list(page.evaluate("window.seen"))[1:]


if __name__ == "__main__":
    main()
