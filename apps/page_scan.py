"""The Scan tab: a repository or an upload goes in, ranked files and a report come out."""

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from codebyte.apps.library import Library
from codebyte.apps.page_drawn import Scanned, choices_of, drawn_part
from codebyte.apps.page_parts import QUIET, meter, note, text
from codebyte.apps.page_reports import Reports
from codebyte.apps.scan_sources import UPLOADED, open_source
from codebyte.apps.session import Session
from codebyte.errors import CodebyteError, InputError

if TYPE_CHECKING:
    from codebyte.tasks.scan_results import ScanResult

DRAWN_BYTES = 256 << 10  # of source whose bytes are drawn
PLOTTED = 15  # files

_START = "Choose a repository, or upload a file or a .zip; what looks odd or wrong is ranked."

# Gradio's plot tells of stretches that are marked and of no click; Vega keeps its data by each bar.
_ON_BAR = """
document.addEventListener('click', ({ target }) => {
  const file = target.closest?.('#cb-ranked') && target.__data__?.datum?.file;
  if (file) trigger('select', file);
});
"""


def scan_tab(tab: gr.Tab, library: Library, session: Session, reports: Reports) -> None:
    """Lays out the tab."""

    def places(chosen: str | None, upload: str | None) -> Any:
        names = library.names()
        kept = chosen in names or (chosen == UPLOADED and upload is not None)
        value = chosen if kept else [*names, UPLOADED][0]
        return gr.update(choices=[*names, UPLOADED], value=value)

    with gr.Row(elem_classes="cb-controls"):
        place = gr.Dropdown(
            [*library.names(), UPLOADED],
            label="Repository (add it first) or upload",
            scale=3,
            min_width=200,
            elem_id="cb-place",
        )
        base = gr.Textbox(
            label="Only lines changed since (optional)",
            placeholder="main, HEAD~5, a tag, ...",
            scale=3,
            max_length=200,
        )
        upload = gr.UploadButton("Upload", type="filepath", scale=1, min_width=110)
        start = gr.Button("Scan", variant="primary", scale=1, min_width=110)
        stop = gr.Button("Stop", scale=1, min_width=90)
    progress = gr.HTML(note(_START), apply_default_css=False, elem_id="cb-scanning")
    plot = gr.BarPlot(
        x="file",
        y="suspicion",
        sort="-y",
        height=260,
        y_lim=[0, None],
        x_title=" ",  # an empty one would be the column's name
        y_title="chance of a bug",
        x_label_angle=-25,
        visible=False,
        elem_id="cb-ranked",
    )
    last, chosen, drawn = drawn_part(library, session)
    report = gr.HTML("", js_on_load=_ON_BAR, apply_default_css=False, elem_id="cb-report")
    running: dict[str | None, threading.Event] = {}  # by page: what stops its scan

    def scanning(
        place: str | None, base: str, upload: str | None, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        stopping = running[request.session_hash] = threading.Event()
        try:
            yield from scanned(place, base, upload, stopping)
        finally:  # also where the page was left
            stopping.set()
            running.pop(request.session_hash, None)

    def scanned(
        place: str | None, base: str, upload: str | None, stopping: threading.Event
    ) -> Iterator[tuple[Any, ...]]:
        told: queue.Queue[str | None] = queue.Queue()
        done: list[ScanResult | CodebyteError] = []

        def run() -> None:
            try:
                done.append(_scan(library, session, place, base, upload, told, stopping))
            except CodebyteError as error:
                done.append(error)
            finally:
                told.put(None)

        threading.Thread(target=run, daemon=True).start()
        while (said := told.get()) is not None:
            yield said, *[gr.skip()] * 5
        result = done[0] if done else InputError("the scan failed; the server's log says why")
        if isinstance(result, CodebyteError):
            nothing = gr.update(visible=False)
            yield note(str(result), failed=True), nothing, None, nothing, "", ""
        else:
            choices = choices_of(place or "", upload, result)
            yield _said(result), _ranked(result), *choices, _framed(reports.keep(result))

    def pointed(event: gr.EventData, last: Scanned | None) -> Any:
        paths = () if last is None else last.paths[:PLOTTED]
        named = dict(zip(path_ends(list(paths)), paths, strict=True))
        path = named.get(str(event._data))
        return gr.skip() if path is None else path

    def stopped(request: gr.Request) -> None:
        if (stopping := running.get(request.session_hash)) is not None:
            stopping.set()

    start.click(
        scanning,
        [place, base, upload],
        [progress, plot, last, chosen, drawn, report],
        **(QUIET | {"concurrency_limit": 1, "concurrency_id": "scan"}),
    )
    report.select(pointed, last, chosen, **QUIET)
    stop.click(stopped, None, None, **QUIET)
    tab.select(places, [place, upload], place, **QUIET)
    upload.upload(lambda: UPLOADED, None, place, **QUIET)


def _scan(
    library: Library,
    session: Session,
    place: str | None,
    base: str,
    upload: str | None,
    told: "queue.Queue[str | None]",
    stopping: threading.Event,
) -> "ScanResult":
    from codebyte.tasks.baseline import read_baseline
    from codebyte.tasks.scan_config import ScanConfig, load_config
    from codebyte.tasks.scan_workers import Scorer
    from codebyte.tasks.scanning import scan_tree

    def progress(stage: str, done: int, total: int) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt  # what is done is reported
        told.put(meter(stage, done, total))

    if not place:
        raise InputError(_START)
    told.put(meter("reading", 0, 0))
    with open_source(library, place, upload, history=bool(base.strip())) as tree:
        # A stranger has no say in how code is scanned: a clone has no files to read it from.
        config = ScanConfig() if place == UPLOADED else load_config(tree.root)
        baseline = config.baseline
        return scan_tree(
            tree,
            Scorer(model=session.model),
            base=base.strip() or None,
            config=config,
            known=read_baseline(tree.root / baseline) if baseline else frozenset(),
            keep=DRAWN_BYTES,
            progress=progress,
        )


def _said(result: "ScanResult") -> str:
    count = len(result.files)
    parts = [
        f"{count:,} file{'' if count == 1 else 's'}, {result.scored_bytes / 1000:,.1f} KB scored"
    ]
    if result.from_cache:
        parts.append(f"{result.from_cache:,} as scanned before")
    if result.skipped:
        parts.append(f"{len(result.skipped):,} left out")
    if result.interrupted:
        parts.append("stopped before the end")
    return f'<div class="cb-said">{text("; ".join(parts))}</div>'


def _ranked(result: "ScanResult") -> Any:
    import pandas as pd

    files = result.files[:PLOTTED]
    table = pd.DataFrame(
        {
            "file": path_ends([file.report.path for file in files]),
            "suspicion": [file.report.suspicion for file in files],
        }
    )
    return gr.update(value=table, visible=len(files) > 1)


def path_ends(paths: list[str]) -> list[str]:
    """The ends of different paths, in whole names: the shortest that no other path has."""

    def end(path: str) -> str:
        names = path.split("/")
        ends = ["/".join(names[start:]) for start in range(len(names) - 1, 0, -1)]
        return next((it for it in ends if sum(_ends_with(o, it) for o in paths) == 1), path)

    return [end(path) for path in paths]


def _ends_with(path: str, end: str) -> bool:
    return path == end or path.endswith(f"/{end}")


def _framed(name: str) -> str:
    links = "".join(
        f'<a href="/cb-report/{name}.{kind}" download="scan.{kind}">{said}</a>'
        for kind, said in (("sarif", "SARIF"), ("jsonl", "JSON lines"))
    )
    return (
        f'<div class="cb-exports">Export: {links}'
        f'<a href="/cb-report/{name}.html" target="_blank" rel="noopener">HTML</a></div>'
        f'<iframe class="cb-report" sandbox="allow-scripts" title="Report of the scan" '
        f'src="/cb-report/{name}.html"></iframe>'
    )
