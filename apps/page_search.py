"""The Search tab: a question, filters, and places in the code that answer it."""

import json
import re
from typing import Any

import gradio as gr

from codebyte.apps.code_html import code_html
from codebyte.apps.hits import best_lines
from codebyte.apps.library import Library
from codebyte.apps.page_parts import QUIET, note, text
from codebyte.errors import CodebyteError
from codebyte.indexer.abbreviations import STOP_WORDS
from codebyte.indexer.searching import Hit

LINES = 8  # of each result
ALIKE = 12  # results like one
_WORD = re.compile(r"[A-Za-z_]\w{2,}")
_WHY = {"words": "words", "meaning": "meaning", "both": "words and meaning"}
_ALL = "all"
_START = "Ask in words, by a name, or paste a line of code."

# A result's buttons: one asks for more like it, the other puts the file into the editor.
_ON_CLICK = """
element.addEventListener('click', async (event) => {
  const button = event.target.closest('button[data-place]');
  if (!button) return;
  const place = JSON.parse(button.dataset.place);
  if (button.dataset.action === 'similar') {
    trigger('select', place);
    return;
  }
  const { openFrom, view } = document.querySelector('.cb-write').codebyte;
  try {
    await openFrom(place.repo, place.file);
  } catch (error) {
    button.textContent = error.message;
    return;
  }
  const line = view.state.doc.line(Math.min(place.line, view.state.doc.lines));
  view.dispatch({ selection: { anchor: line.from }, scrollIntoView: true });
  document.querySelector('.cb-tabs button[role=tab]').click();
  view.focus();
});
"""


def search_tab(library: Library) -> gr.HTML:
    """Lays out the tab; gives the list of results."""
    with gr.Row(equal_height=True):
        query = gr.Textbox(
            show_label=False,
            placeholder="Where are retries backed off?",
            scale=6,
            min_width=320,
            elem_id="cb-query",
            container=False,
            max_length=10_000,
        )
        button = gr.Button("Search", variant="primary", scale=1, min_width=110)
    with gr.Row(elem_classes="cb-filters"):
        repo = gr.Dropdown(
            [_ALL], value=_ALL, label="Repository", min_width=140, elem_id="cb-in-repo"
        )
        language = gr.Dropdown(
            [_ALL], value=_ALL, label="Language", min_width=140, elem_id="cb-in-language"
        )
        path = gr.Textbox(
            label="Path", placeholder="src/**/*.py", min_width=160, elem_id="cb-in-path"
        )
    results = gr.HTML(
        note(_START), js_on_load=_ON_CLICK, apply_default_css=False, elem_id="cb-hits"
    )

    def choices() -> tuple[Any, Any]:
        return (
            gr.update(choices=[_ALL, *library.names()]),
            gr.update(choices=[_ALL, *library.languages()]),
        )

    def ask(asked: str, repo: str, language: str, path: str) -> str:
        if not asked.strip():
            return note(_START)
        return _answer(
            lambda: library.search(
                asked,
                path=path,
                languages=[] if language == _ALL else [language],
                repos=[] if repo == _ALL else [repo],
            ),
            asked,
            library,
        )

    def more(event: gr.EventData) -> str:
        place = event._data
        repo, path, line = str(place["repo"]), str(place["file"]), int(place["line"])
        return _answer(
            lambda: library.index().similar(path, line, ALIKE, repo=repo),
            "",
            library,
            f"like {path}:{line}",
        )

    inputs = [query, repo, language, path]
    events = (query.submit, button.click, repo.input, language.input, path.submit)
    asks = [event(ask, inputs, results, **QUIET) for event in events]
    for filter_ in (repo, language):
        filter_.focus(choices, None, [repo, language], **QUIET)
    results.select(more, None, results, cancels=asks, **QUIET)  # or a late answer hides it
    return results


def _answer(find: Any, asked: str, library: Library, about: str = "") -> str:
    if not library.names():
        return note("Nothing is indexed yet: add a repository in the Repositories tab.")
    try:
        hits: list[Hit] = find()
        coverage = library.index().coverage()
    except CodebyteError as error:
        return note(str(error), failed=True)
    if not hits:
        return note("Nothing was found: try fewer or other words, or look at the filters.")
    several = len({hit.repo for hit in hits}) > 1
    words = {word.lower() for word in _WORD.findall(asked)} - STOP_WORDS
    head = f"{len(hits)} places {about}".strip()
    if coverage.share < 1:
        head += f"; {coverage.share:.0%} of the index is searchable by meaning so far"
    cards = "".join(_card(hit, words, several) for hit in hits)
    return f'<div class="cb-said">{text(head)}</div>{cards}'


def _card(hit: Hit, words: set[str], several: bool) -> str:
    first, lines = best_lines(hit.snippet, words, LINES)
    place = {"repo": hit.repo, "file": hit.path, "line": hit.start_line + first}
    data = text(json.dumps(place))
    where = f"{hit.repo}/{hit.path}" if several else hit.path
    copies = f", {hit.copies} more alike" if hit.copies else ""
    return (
        '<article class="cb-hit"><header>'
        f'<span class="cb-where">{text(where)}:{hit.start_line}-{hit.end_line}</span>'
        f'<span class="cb-symbol">{text(hit.symbol)}</span>'
        f'<span class="cb-why">by {_WHY.get(hit.why, hit.why)}, {hit.score:.2f}{copies}</span>'
        f'<button type="button" data-action="similar" data-place="{data}">More like this</button>'
        f'<button type="button" data-action="open" data-place="{data}">Open in Write</button>'
        f"</header>{code_html(lines, hit.language, hit.start_line + first, words)}</article>"
    )
