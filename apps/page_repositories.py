"""The Repositories tab: add, update, remove and adapt to; what was left out, and why."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from codebyte.apps.library import Library
from codebyte.apps.page_parts import QUIET, meter, note, text
from codebyte.apps.session import Session
from codebyte.errors import CodebyteError

_STAGES = {"words": "finding words", "vectors": "making vectors", "files": "reading files"}


def repositories_tab(library: Library, session: Session) -> None:
    """Lays out the tab."""
    with gr.Row(equal_height=True):
        source = gr.Textbox(
            show_label=False,
            placeholder="A folder on this machine, or https://... or ssh://...",
            scale=6,
            container=False,
            elem_id="cb-source",
            max_length=2000,
        )
        add = gr.Button("Add", variant="primary", scale=1, min_width=110)
    progress = gr.HTML("", apply_default_css=False, elem_id="cb-progress")
    listing = gr.HTML(_list(library), apply_default_css=False, elem_id="cb-repositories")
    with gr.Row(elem_classes="cb-controls"):
        chosen = gr.Dropdown(
            library.names(), label="Repository", scale=3, min_width=180, elem_id="cb-chosen"
        )
        minutes = gr.Slider(
            1, 60, 5, step=1, label="Minutes to adapt", scale=3, min_width=180, buttons=[]
        )
        update = gr.Button("Update", scale=1, min_width=100)
        remove = gr.Button("Remove", scale=1, min_width=100)
        adapt = gr.Button("Adapt the model", scale=2, min_width=150)

    def shown(message: str) -> tuple[str, str, Any]:
        return message, _list(library), gr.update(choices=library.names())

    def adding(asked: str) -> Iterator[tuple[str, str, Any]]:
        yield from _watched(lambda told, _: _added(library, asked, told), shown)

    def updating(name: str | None) -> Iterator[tuple[str, str, Any]]:
        if not name:
            yield shown(note("Choose a repository first."))
            return
        yield from _watched(lambda told, _: _added(library, library.source(name), told), shown)

    def removing(name: str | None) -> tuple[str, str, Any]:
        if not name:
            return shown(note("Choose a repository first."))
        try:
            gone = library.remove(name)
        except CodebyteError as error:
            return shown(note(str(error), failed=True))
        return shown(note(f"{name} is forgotten ({gone:,} pieces); its files are where they were."))

    def adapting(name: str | None, minutes: float) -> Iterator[tuple[str, str, Any]]:
        if not name:
            yield shown(note("Choose a repository first."))
            return
        yield from _watched(
            lambda told, left: _adapted(library, session, name, minutes, told, left), shown
        )

    outputs = [progress, listing, chosen]
    working = QUIET | {"concurrency_limit": 1, "concurrency_id": "index"}
    add.click(adding, source, outputs, **working)
    source.submit(adding, source, outputs, **working)
    update.click(updating, chosen, outputs, **working)
    remove.click(removing, chosen, outputs, **working)
    adapt.click(adapting, [chosen, minutes], outputs, **working)


def _watched(
    work: Callable[[Callable[[str, int, int], None], threading.Event], str],
    shown: Callable[[str], tuple[str, str, Any]],
) -> Iterator[tuple[str, str, Any]]:
    """Runs work in a thread and yields what it tells on the way, then what it came to.

    The event that work is given is set when nobody waits for it any more.
    """
    told: queue.Queue[str | None] = queue.Queue()
    left = threading.Event()
    result: list[str] = []

    def run() -> None:
        try:
            result.append(
                work(lambda stage, done, total: told.put(meter(stage, done, total)), left)
            )
        except CodebyteError as error:
            result.append(note(str(error), failed=True))
        finally:
            told.put(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (said := told.get()) is not None:
            while not told.empty():  # only the newest is worth showing
                newer = told.get()
                if newer is None:
                    said = None
                    break
                said = newer
            if said is None:
                break
            yield said, gr.skip(), gr.skip()
    finally:
        left.set()
    thread.join()
    yield shown(
        result[0] if result else note("It failed; the log of the server says why.", failed=True)
    )


def _added(library: Library, source: str, told: Callable[[str, int, int], None]) -> str:
    def progress(stage: str, done: int, total: int) -> None:
        told(_STAGES.get(stage, stage), done, total)

    progress("opening", 0, 0)
    done = library.add(source, progress)
    return note(
        f"{done.repo}: {done.files:,} files, {done.added:,} pieces added, {done.removed:,} removed."
    )


def _adapted(
    library: Library,
    session: Session,
    name: str,
    minutes: float,
    told: Callable[[str, int, int], None],
    left: threading.Event,
) -> str:
    from codebyte.checkpoint import load
    from codebyte.indexer.repo import documents, open_repo
    from codebyte.tasks.adapt import AdaptConfig, adapt, resumable
    from codebyte.tasks.held_out import split_files

    told("reading files", 0, 0)
    opened = open_repo(library.source(name), fetch=False)
    learnt, held_out, _ = split_files(opened, list(documents([opened])))
    out = _folder_of(library, name)
    result = adapt(
        load(session.checkpoint),
        learnt,
        held_out,
        out,
        AdaptConfig(minutes=minutes),
        resume=resumable(out),
        cancel=left.is_set,
        report=lambda moment: told("adapting", round(100 * moment.done), 100),
    )
    if not result.finished:
        return note(f"{name}: left before the end; adapt again to go on.")
    session.use(load(out))
    before, after = result.before, result.after
    return note(
        f"{name}: {before.bits_per_byte:.3f} bits per byte on its held-out files before, "
        f"{after.bits_per_byte:.3f} after ({after.bits_per_byte / before.bits_per_byte - 1:+.1%}); "
        f"elsewhere {after.elsewhere / before.elsewhere - 1:+.1%}. "
        f"It is in use from now on; after a restart, with --checkpoint {out}."
    )


def _folder_of(library: Library, name: str) -> Path:
    """Where a repository's adapted model goes: no other's, though its last name be the same."""
    return library.folder.parent / "adapted" / quote(name, safe="")


def _list(library: Library) -> str:
    try:
        found = library.repositories()
    except CodebyteError as error:
        return note(str(error), failed=True)
    if not found:
        return note("No repository yet. Add one: a few seconds a megabyte, all on this machine.")
    rows = []
    for it in found:
        at = f" at {it['commit'][:10]}" if it["commit"] else ""
        rows.append(
            f"<tr><td><b>{text(it['repo'])}</b><small>{text(it['source'])}{text(at)}</small></td>"
            f"<td>{it['files']:,}</td><td>{it['chunks']:,}</td><td>{text(it['stale'])}</td>"
            f"<td>{_left_out(it['skipped'], it['skipped_paths'])}</td></tr>"
        )
    head = "".join(f"<th>{name}</th>" for name in ("Repository", "Files", "Pieces", "", "Left out"))
    return f'<table class="cb-table"><thead><tr>{head}</tr></thead>{"".join(rows)}</table>'


def _left_out(counts: Mapping[str, int], paths: Mapping[str, Sequence[str]]) -> str:
    """The number of files left out, and behind it the reasons, each with its first paths."""
    parts = []
    for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        named = paths.get(reason, [])
        more = f" and {count - len(named):,} more" if count > len(named) else ""
        parts.append(
            f"<details><summary>{count:,} {text(reason)}</summary>"
            f"<small>{text(', '.join(named) + more)}</small></details>"
        )
    return f"<details><summary>{sum(counts.values()):,}</summary>{''.join(parts)}</details>"
