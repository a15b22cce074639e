"""The tables of an index, and opening the database that holds them.

blobs are contents (by git's id and file ending), chunks their pieces, texts what the pieces say;
files put blobs at paths, tree puts files into revisions, and a document is a chunk at a path: what
a search finds. A vector belongs to the digest of a text, so nothing is embedded twice.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codebyte.errors import CodebyteError, InputError, StaleIndexError

FORMAT = 3  # of the whole index folder
DATABASE = "index.db"
_BUSY_SECONDS = 20.0

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE repos (id INTEGER PRIMARY KEY, name TEXT UNIQUE, source TEXT UNIQUE);
CREATE TABLE revisions (
    id INTEGER PRIMARY KEY, repo INTEGER NOT NULL REFERENCES repos, name TEXT NOT NULL,
    commit_id TEXT, updated REAL NOT NULL, skips TEXT NOT NULL, UNIQUE (repo, name));
CREATE TABLE commits (
    repo INTEGER NOT NULL, revision TEXT NOT NULL, commit_id TEXT NOT NULL, updated REAL NOT NULL);
CREATE TABLE histories (repo INTEGER PRIMARY KEY REFERENCES repos, packed BLOB NOT NULL);
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY, oid TEXT NOT NULL, form TEXT NOT NULL, language TEXT NOT NULL,
    size INTEGER NOT NULL, skipped TEXT, UNIQUE (oid, form));
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, repo INTEGER NOT NULL REFERENCES repos,
    path TEXT NOT NULL, blob INTEGER NOT NULL REFERENCES blobs, UNIQUE (repo, path, blob));
CREATE INDEX files_by_blob ON files (blob);
CREATE TABLE tree (
    revision INTEGER NOT NULL, file INTEGER NOT NULL, PRIMARY KEY (revision, file)) WITHOUT ROWID;
CREATE INDEX tree_by_file ON tree (file);
CREATE TABLE texts (id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB UNIQUE NOT NULL,
    symbol TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY, blob INTEGER NOT NULL REFERENCES blobs,
    text INTEGER NOT NULL REFERENCES texts, kind TEXT NOT NULL, signature TEXT NOT NULL,
    start_line INTEGER NOT NULL, end_line INTEGER NOT NULL);
CREATE INDEX chunks_by_blob ON chunks (blob);
CREATE INDEX chunks_by_text ON chunks (text);
CREATE TABLE symbols (
    name TEXT NOT NULL, qualified TEXT NOT NULL, kind TEXT NOT NULL, line INTEGER NOT NULL,
    blob INTEGER NOT NULL REFERENCES blobs);
CREATE INDEX symbols_by_name ON symbols (name COLLATE NOCASE);
CREATE INDEX symbols_by_blob ON symbols (blob);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL REFERENCES files,
    chunk INTEGER NOT NULL REFERENCES chunks);
CREATE INDEX documents_by_file ON documents (file);
CREATE TABLE vectors (digest BLOB PRIMARY KEY, row INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE stats (
    repo INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER, modified INTEGER, changed INTEGER,
    inode INTEGER, oid TEXT, PRIMARY KEY (repo, path)) WITHOUT ROWID;
"""
TRIGRAMS = (
    "CREATE VIRTUAL TABLE trigrams USING fts5"
    "(body, content='', tokenize='trigram', detail='none', columnsize=0);"
)


def open_database(folder: Path | None, *, writable: bool) -> sqlite3.Connection:
    """Opens the database of an index; None makes one in memory, without trigrams.

    Raises:
        InputError: there is none, or it cannot be opened or made.
        StaleIndexError: it is damaged or has another format.
    """
    if folder is None:
        connection = _connect(":memory:")
        _create(connection)
        return connection
    file = folder / DATABASE
    with translated(folder):
        fresh = not file.exists()
        if fresh and not writable:
            raise InputError(f"{folder} holds no index: make one with `codebyte index`")
        if fresh:
            _make_folder(folder)
        quoted = file.resolve().as_uri()
        try:
            connection = _connect(f"{quoted}?mode={'rwc' if writable else 'rw'}")
            if fresh:
                connection.execute("PRAGMA journal_mode = WAL")
                _create(connection, TRIGRAMS)
        except sqlite3.OperationalError:
            if writable or os.access(folder, os.W_OK):
                raise
            connection = _connect(f"{quoted}?mode=ro&immutable=1")  # nobody here may write it
        _check_format(connection, folder)
    return connection


@contextmanager
def translated(folder: Path | None) -> Iterator[None]:
    """Turns what SQLite and the disk say into one sentence about the index.

    Raises:
        InputError: no space, no permission, or another process is writing.
        StaleIndexError: the database is damaged.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(error, folder) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"the index in {folder} cannot be written or read: {reason}") from error


def _explained(error: sqlite3.Error, folder: Path | None) -> CodebyteError:
    text = str(error)
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_BUSY") or name.startswith("SQLITE_LOCKED"):
        return InputError(f"another process is writing the index in {folder}: try again after it")
    if name.startswith("SQLITE_FULL"):
        return InputError(f"there is no space left for the index in {folder}: free some and repeat")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or text.startswith("no such table"):
        return StaleIndexError(
            f"the index in {folder} is damaged ({text}): delete the folder and run `codebyte index`"
        )
    return InputError(f"the index in {folder} cannot be written or read: {text}")


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="ascii")  # an index inside a repository stays out of it


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address,
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def _create(connection: sqlite3.Connection, more: str = "") -> None:
    connection.executescript(
        f"BEGIN;{_TABLES}{more}"
        f"INSERT INTO meta VALUES ('format', {FORMAT}), ('generation', 0), ('rows', 0);COMMIT;"
    )


def _check_format(connection: sqlite3.Connection, folder: Path) -> None:
    found = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    if found is None or found[0] != FORMAT:
        raise StaleIndexError(
            f"the index in {folder} has format {found and found[0]}, this codebyte reads {FORMAT}: "
            "delete the folder and run `codebyte index`"
        )
