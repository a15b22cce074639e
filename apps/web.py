"""The page: Write with ghost text, Search, Scan, Repositories, and Score with a map of bytes.

Nothing on the page comes from anywhere but this process: fonts are the ones gradio carries, the
editor is our own built asset, and gradio's telemetry and run history are off.
"""

import hashlib
import json
import os
from collections.abc import Callable
from html import escape
from pathlib import Path
from urllib.parse import quote

# Both are read while gradio is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from fastapi import FastAPI
from starlette.responses import Response

from codebyte.apps.guard import LARGEST_UPLOAD
from codebyte.apps.heat import MOST_DRAWN, heat_map, legend
from codebyte.apps.library import Library
from codebyte.apps.lines import encoded
from codebyte.apps.page_api import named_functions
from codebyte.apps.page_files import mount_files
from codebyte.apps.page_parts import cards, note
from codebyte.apps.page_reports import Reports
from codebyte.apps.page_repositories import repositories_tab
from codebyte.apps.page_scan import scan_tab
from codebyte.apps.page_search import search_tab
from codebyte.apps.session import Session
from codebyte.apps.uploads import KEPT_SECONDS, LOOKED_AFTER, KeptUploads

ASSETS = "/cb-assets"  # not /static: that would hide gradio's own fonts

SAMPLE = '''\
import json
from pathlib import Path


def read_config(path: Path) -> dict:
    """Reads settings from a JSON file."""
    with path.open(encoding="utf-8") as file:
        return json.\
'''

_WEIGHTS = (400, 700)  # the 600 that gradio carries lacks the letters of plain English
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_MARK = """<svg class="cb-mark" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"
fill="none" aria-hidden="true">
<rect x="1" y="1" width="30" height="30" rx="8" fill="currentColor" opacity=".14"/>
<g fill="currentColor"><rect x="7" y="8" width="4" height="16" rx="1.5"/>
<rect x="14" y="8" width="4" height="10" rx="1.5" opacity=".75"/>
<rect x="14" y="20" width="4" height="4" rx="1.5" opacity=".4"/>
<rect x="21" y="8" width="4" height="5" rx="1.5" opacity=".55"/>
<rect x="21" y="15" width="4" height="9" rx="1.5" opacity=".3"/></g></svg>"""
_MOON = """<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"
stroke-linecap="round" stroke-linejoin="round">
<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z"/></svg>"""

# The chosen theme is kept by this browser alone; without a choice the system's own is followed.
_THEME_SCRIPT = """
const chosen = localStorage.getItem('codebyte-theme');
if (chosen) document.body.classList.toggle('dark', chosen === 'dark');
element.querySelector('.cb-theme').addEventListener('click', () => {
  const dark = document.body.classList.toggle('dark');
  localStorage.setItem('codebyte-theme', dark ? 'dark' : 'light');
});
"""


def mount(app: FastAPI, session: Session, library: Library) -> None:
    """Adds the page at / and its assets to an application; add all other routes before."""
    reports = Reports()
    reports.mount(app)
    mount_files(app, library)
    folder = Path(__file__).parent
    links = []
    for name in ("editor.css", "editor.js", "heat.js"):
        content = (folder / name).read_bytes()
        address = f"{ASSETS}/{name}"
        app.get(address, include_in_schema=False)(_asset(content, _TYPES[Path(name).suffix]))
        # The digest makes an upgraded package load its own asset, not the browser's old one.
        version = f"{address}?v={hashlib.sha256(content).hexdigest()[:12]}"
        links.append(
            f'<link rel="stylesheet" href="{version}">'
            if name.endswith(".css")
            else f'<script src="{version}"></script>'
        )
    page = build(session, library, reports)
    app.add_middleware(KeptUploads, page=page)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        run_history=False,
        footer_links=[],
        max_file_size=LARGEST_UPLOAD,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=_theme(),
        css=(folder / "page.css").read_text(encoding="utf-8"),
        head="".join([_icon(), *links]),
    )


def build(session: Session, library: Library, reports: Reports) -> gr.Blocks:
    """Lays out the page."""
    with gr.Blocks(
        title="codebyte",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(LOOKED_AFTER, KEPT_SECONDS),  # and all when the server ends
    ) as page:
        gr.HTML(_header(session), js_on_load=_THEME_SCRIPT, apply_default_css=False)
        with gr.Tabs(elem_classes="cb-tabs"):
            with gr.Tab("Write"):
                options = json.dumps({"text": SAMPLE, "path": "config.py"})
                place = "element.querySelector('.cb-write')"
                gr.HTML(
                    html_template='<div class="cb-write"></div>',
                    js_on_load=f"CodebyteEditor.mount({place}, {options})",
                    apply_default_css=False,
                )
            with gr.Tab("Search"):
                search_tab(library)
            with gr.Tab("Scan") as scan:
                scan_tab(scan, library, session, reports)
            with gr.Tab("Repositories"):
                repositories_tab(library, session)
            with gr.Tab("Score"):
                _score_tab(session)
        named_functions(session, library)
    return page


def _score_tab(session: Session) -> None:
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            text = gr.Textbox(
                label="Code or any text",
                placeholder="Paste here what you want to know about",
                lines=18,
                max_lines=18,
                elem_classes="cb-paste",
            )
            with gr.Row():
                button = gr.Button("Score", variant="primary")
                upload = gr.UploadButton("Score a file", type="binary", file_count="single")
        with gr.Column(scale=3, min_width=420):
            result = gr.HTML(
                '<div class="cb-note">Each byte is coloured by how much it surprises the model. '
                "Typos, odd names and pasted-in strangers stand out.</div>",
                apply_default_css=False,
            )
    scored = _scorer(session)
    quiet = {"api_visibility": "private", "show_progress": "minimal", "concurrency_limit": 1}
    button.click(lambda pasted: scored(encoded(pasted)), text, result, **quiet)
    upload.upload(scored, upload, result, **quiet)


def _scorer(session: Session) -> Callable[[bytes], str]:
    def scored(data: bytes) -> str:
        if len(data) > MOST_DRAWN:
            return note(
                f"{len(data):,} bytes are more than the {MOST_DRAWN:,} this page draws: "
                "use 'codebyte score FILE' for longer ones.",
                failed=True,
            )
        if not data:
            return note("There is nothing to score yet: paste some text first.", failed=True)
        bits = session.score(data)
        total = float(bits.sum(dtype="float64"))
        figures = [
            (f"{total / len(data):.3f}", "bits per byte"),
            (f"{len(data):,}", "bytes"),
            (f"{total / 8:,.0f}", "bytes if compressed with it"),
            (f"{float(bits.max()):.1f}", "bits at the strangest byte"),
        ]
        return f'<div class="cb-score">{cards(figures)}{legend()}{heat_map(data, bits)}</div>'

    return scored


def _header(session: Session) -> str:
    return (
        f'<div class="cb-header">{_MARK}<span class="cb-brand">codebyte</span>'
        '<span class="cb-tagline">Code, byte by byte. Nothing leaves this machine.</span>'
        f'<span class="cb-space"></span><span class="cb-chip">{escape(session.describe())}</span>'
        '<button class="cb-theme" type="button" aria-label="Light or dark" '
        f'title="Light or dark">{_MOON}</button></div>'
    )


def _icon() -> str:
    drawn = quote(_MARK.replace("currentColor", "#0b7a67"))
    return f'<link rel="icon" href="data:image/svg+xml,{drawn}">'


def _asset(content: bytes, media_type: str) -> Callable[[], Response]:
    def asset() -> Response:
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(content, media_type=media_type, headers=headers)

    return asset


def _theme() -> gr.themes.Base:
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        font=[gr.themes.LocalFont("IBM Plex Sans", weights=_WEIGHTS), "system-ui", "sans-serif"],
        font_mono=[gr.themes.LocalFont("IBM Plex Mono", weights=_WEIGHTS), "monospace"],
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        color_accent="var(--cb-accent)",
        input_border_width="1px",
        button_border_width="1px",
        button_large_text_weight="600",
        button_large_text_size="14px",
        button_large_padding="9px 16px",
        **{f"{name}{mode}": value for name, value in _COLOURS.items() for mode in ("", "_dark")},
    )


# The names of editor.css, which change by themselves with light and dark.
_COLOURS = {
    "body_background_fill": "var(--cb-page)",
    "body_text_color": "var(--cb-ink)",
    "body_text_color_subdued": "var(--cb-muted)",
    "border_color_primary": "var(--cb-line)",
    "border_color_accent": "var(--cb-accent)",
    "block_background_fill": "var(--cb-panel)",
    "block_border_color": "var(--cb-line)",
    "block_label_text_color": "var(--cb-muted)",
    "block_title_text_color": "var(--cb-muted)",
    "input_background_fill": "var(--cb-panel)",
    "input_background_fill_focus": "var(--cb-panel)",
    "input_border_color": "var(--cb-line)",
    "input_border_color_focus": "var(--cb-accent)",
    "button_primary_background_fill": "var(--cb-accent)",
    "button_primary_background_fill_hover": "var(--cb-accent)",
    "button_primary_text_color": "var(--cb-on-accent)",
    "button_secondary_background_fill": "var(--cb-panel)",
    "button_secondary_background_fill_hover": "var(--cb-raised)",
    "button_secondary_border_color": "var(--cb-line)",
    "button_secondary_text_color": "var(--cb-ink)",
}
