"""One file of the Scan tab's last scan, byte by byte: drawn when it is chosen."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from codebyte.apps.heat import MOST_DRAWN, heat_map, legend
from codebyte.apps.library import Library
from codebyte.apps.page_parts import QUIET, note, text
from codebyte.apps.scan_sources import open_source
from codebyte.apps.session import Session
from codebyte.errors import CodebyteError, InputError
from codebyte.indexer.skips import shown_path

if TYPE_CHECKING:
    from codebyte.tasks.scan_results import ScanResult

MOST_CHOICES = 2000  # files, as many as the report lists


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """What a scan was of."""

    place: str
    upload: str | None
    paths: tuple[str, ...]  # of the files it ranked, the most suspicious first


def drawn_part(library: Library, session: Session) -> tuple[gr.State, gr.Dropdown, gr.HTML]:
    """Lays out the choice of a file and its heat map; both are hidden before a scan.

    Returns:
        What holds the last Scanned, the choice, and the map.
    """
    scanned = gr.State(None)
    chosen = gr.Dropdown(
        [],
        label="A file, byte by byte (type a part of its path)",
        visible=False,
        elem_id="cb-file",
        elem_classes="cb-chosen",
    )
    drawn = gr.HTML("", apply_default_css=False, elem_id="cb-drawn")

    def draw(scanned: Scanned | None, path: str | None) -> str:
        if scanned is None or not path:
            return ""
        try:
            return drawing(library, session, scanned, path)
        except CodebyteError as error:
            return note(str(error), failed=True)

    chosen.change(
        draw,
        [scanned, chosen],
        drawn,
        **(QUIET | {"show_progress": "minimal", "concurrency_limit": 1}),
    )
    return scanned, chosen, drawn


def choices_of(place: str, upload: str | None, result: "ScanResult") -> tuple[Scanned, Any, str]:
    """What `drawn_part` shows after a scan."""
    paths = tuple(file.report.path for file in result.files[:MOST_CHOICES])
    choices = [(shown_path(path), path) for path in paths]
    scanned = Scanned(place=place, upload=upload, paths=paths)
    return scanned, gr.update(choices=choices, value=None, visible=bool(paths)), ""


def drawing(library: Library, session: Session, scanned: Scanned, path: str) -> str:
    """The heat map of one of the files that were scanned, as it is now.

    Raises:
        CodebyteError: the file was not scanned, or is gone.
    """
    from codebyte.tasks.redaction import redacted

    if path not in scanned.paths:
        raise InputError(f"{path} is not among the files of this scan")
    with open_source(library, scanned.place, scanned.upload) as tree:
        target = next((target for target in tree.targets if target.path == path), None)
        if target is None:
            raise InputError(f"{path} is gone since the scan")
        try:
            data = tree.read(target)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    part = data[:MOST_DRAWN]
    if len(part) < len(data):
        part = part[: part.rfind(b"\n") + 1] or part
    said = f"{path}: {len(data):,} bytes"
    if len(part) < len(data):
        said += f", of which the first {len(part):,} are drawn"
    if not part:
        raise InputError(f"{path} is empty now")
    bits = session.score(part)
    said += f"; {float(bits.mean(dtype='float64')):.2f} bits per byte"
    # What the report hides is hidden here too.
    drawn = heat_map(redacted(data)[: len(part)], bits)
    return f'<div class="cb-score"><div class="cb-said">{text(said)}</div>{legend()}{drawn}</div>'
