"""Brings an index up to what a source holds now: only contents never seen before are read.

Contents are written in batches, so that a run that was killed goes on where it stopped; the tree,
the words and the manifest change together at the end, or not at all.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from codebyte.errors import InputError
from codebyte.indexer.chunk import cut
from codebyte.indexer.history import History, read_history
from codebyte.indexer.languages import language_of
from codebyte.indexer.lexical import LexicalIndex
from codebyte.indexer.listing import PASSING, Listing
from codebyte.indexer.schema import translated
from codebyte.indexer.skips import Skips
from codebyte.indexer.store import Store

LOCK_SECONDS = 10.0  # how long one who wants to write waits for another
BATCH_BYTES = 8 << 20  # of contents that are written together

Progress = Callable[[str, int, int], None]  # what is done, how many of how many


@dataclass(frozen=True, kw_only=True, slots=True)
class Updated:
    """What an update did."""

    repo: str
    revision: str
    commit: str | None
    files: int  # in the revision now
    new_contents: int  # files that had to be read and cut
    added: int  # documents
    removed: int
    skips: dict[str, int] = field(default_factory=dict)  # files left out, by reason


def silent(stage: str, done: int, total: int) -> None:
    """Tells nobody about progress."""


@contextmanager
def only_writer(folder: Path | None) -> Iterator[None]:
    """Holds off other processes that want to write; it ends with the process at the latest.

    Raises:
        InputError: another process is writing, or the folder cannot be written.
    """
    if folder is None:
        yield
        return
    with translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise InputError(f"the index in {folder} cannot be written: permission denied")
        lock = sqlite3.connect(folder / "writer.lock", timeout=LOCK_SECONDS, isolation_level=None)
        try:
            lock.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            lock.close()


def form_of(path: str, language: str) -> str:
    """What a path tells about how a content is to be cut."""
    return f"{language}{PurePosixPath(path).suffix.lower()}"


def add_contents(
    store: Store, listing: Listing, progress: Progress
) -> tuple[dict[str, int], Skips, int]:
    """Reads and cuts what the index has not seen.

    Returns:
        The number of each path's content, which files were left out by reason, and how many
        contents were new.
    """
    with store.writing():  # an index may hold such rows, which would hide their contents for ever
        store.many("DELETE FROM blobs WHERE skipped = ?", [(reason,) for reason in PASSING])
    known = store.blobs()
    forms = {path: form_of(path, language_of(path) or "") for path in listing.files}
    skips = listing.skips.copy()
    wanted: dict[tuple[str, str], str] = {}  # a path for each unknown content
    for path, oid in listing.files.items():
        if (oid, forms[path]) not in known:
            wanted.setdefault((oid, forms[path]), path)
    reading = listing.read([(path, oid) for (oid, _), path in wanted.items()])
    ids = dict(listing.files)
    total, done = len(wanted), 0
    progress("reading", 0, total)
    more = total > 0
    while more:
        size = 0
        with store.writing():
            while size < BATCH_BYTES and (found := next(reading, None)) is not None:
                blob, reason = found
                key = (blob.oid, forms[blob.path])
                ids[blob.path] = blob.oid
                if key not in known:  # what passes is known in this run alone
                    passes = reason in PASSING
                    number = 0 if passes else _add(store, blob.path, key, blob.data, reason)
                    known[key] = (number, reason)
                size += len(blob.data)
                done += 1
                progress("reading", done, total)
            more = found is not None
    blobs = {}
    for path, oid in ids.items():
        number, reason = known.get((oid, forms[path]), (0, "changed while it was read"))
        if reason is None:
            blobs[path] = number
        else:
            skips.add(reason, path)
    return blobs, skips, total


def replace_documents(
    store: Store,
    folder: Path | None,
    lexical: LexicalIndex,
    removed: list[int],
    added: list[int],
) -> None:
    """Brings the words up to documents that are gone and new, inside `store.writing`.

    The words of the generation before stay for those who are reading them.
    """
    if not removed and not added and store.get("words") is not None:
        return
    lexical.remove(removed)
    lexical.add(added, store.fields(added))
    generation = int(store.get("generation")) + 1
    name = f"words-{generation}.npz"
    if folder is not None:
        lexical.save(folder / name)
    store.set("words", name)
    store.set("generation", generation)


def bring_history(store: Store, listing: Listing) -> None:
    """Brings the history of a repository up to its revisions, inside `store.writing`."""
    if listing.git is None:
        return
    ((repo,),) = store.rows("SELECT id FROM repos WHERE source = ?", (listing.source,))
    heads = store.rows(
        "SELECT DISTINCT commit_id FROM revisions WHERE repo = ? AND commit_id IS NOT NULL", (repo,)
    )
    packed = store.rows("SELECT packed FROM histories WHERE repo = ?", (repo,))
    known = History.unpack(packed[0][0]) if packed else None
    history = read_history(listing.git, [head for (head,) in heads], known)
    if history is not known:
        store.run("INSERT OR REPLACE INTO histories VALUES (?, ?)", (repo, history.pack()))


def clear_old_files(store: Store, folder: Path) -> None:
    """Deletes files of earlier generations, and what killed runs left."""
    generation = int(store.get("generation"))
    kept = {f"words-{generation}.npz", f"words-{generation - 1}.npz"}
    vectors = store.get("vectors")
    if vectors:
        kept |= {vectors, f"{Path(vectors).stem}.faiss"}
    for pattern in ("words-*.npz*", "vectors-*"):
        for file in folder.glob(pattern):
            if file.name not in kept:
                file.unlink(missing_ok=True)


def _add(store: Store, path: str, key: tuple[str, str], data: bytes, reason: str | None) -> int:
    language = language_of(path) or ""
    chunks, symbols = cut(path, data, language) if reason is None else ([], [])
    return store.add_blob(*key, language, len(data), reason, chunks, symbols)
