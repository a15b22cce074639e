"""What an index knows apart from words and vectors: contents, their chunks, and where they lie.

Contents are added first, and nobody sees them until a revision's tree names them; what no tree
names any more is swept away. See `codebyte.indexer.schema` for the tables.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from codebyte.indexer.chunk import Chunk, Symbol
from codebyte.indexer.fields import Fields
from codebyte.indexer.schema import open_database, translated

_MANY = 500  # values of one SQL list


@dataclass(frozen=True, slots=True)
class Entry:
    """A document: a chunk at a path, without what it says."""

    id: int
    path: str
    language: str
    symbol: str
    kind: str
    signature: str
    start_line: int
    end_line: int
    repo: str
    fingerprint: str  # the same for documents that say the same under the same name


class Store:
    """The database of one index, on the disk or in memory."""

    def __init__(self, folder: Path | None, *, writable: bool = True) -> None:
        self._folder = folder
        self._db = open_database(folder, writable=writable)
        self.has_trigrams = bool(
            self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'trigrams'").fetchone()
        )

    def close(self) -> None:
        """Closes the database; unfinished changes are lost."""
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All changes inside are made together, or none of them."""
        with translated(self._folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite ends it by itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever is written meanwhile."""
        with translated(self._folder):
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")

    def get(self, name: str) -> Any:
        """A value of the manifest, or None."""
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def set(self, name: str, value: Any) -> None:
        """Sets a value of the manifest."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def run(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One SQL statement."""
        return self._db.execute(query, values)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of an SQL query."""
        return self._db.execute(query, values).fetchall()

    def stream(self, query: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of an SQL query, one after the other."""
        yield from self._db.execute(query, values)

    def many(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """One SQL statement for each row of values."""
        self._db.executemany(query, rows)

    def rows_in(self, query: str, keys: Sequence[Any]) -> Iterator[Any]:
        """The rows of a query in which {} stands for a list of any length."""
        for place in range(0, len(keys), _MANY):
            some = keys[place : place + _MANY]
            yield from self._db.execute(query.format(",".join("?" * len(some))), some)

    def copy_to(self, database: Path) -> None:
        """Writes the whole database to a new file."""
        target = sqlite3.connect(database)
        try:
            self._db.backup(target)
            target.execute("PRAGMA journal_mode = WAL")
        finally:
            target.close()

    # Contents

    def blobs(self) -> dict[tuple[str, str], tuple[int, str | None]]:
        """Number, and the reason it was left out, of each content by id and form."""
        found = self._db.execute("SELECT oid, form, id, skipped FROM blobs")
        return {(oid, form): (number, skipped) for oid, form, number, skipped in found}

    def add_blob(
        self,
        oid: str,
        form: str,
        language: str,
        size: int,
        skipped: str | None,
        chunks: Sequence[Chunk] = (),
        symbols: Sequence[Symbol] = (),
    ) -> int:
        """Adds a content with its chunks and names; its number."""
        cursor = self._db.execute(
            "INSERT INTO blobs (oid, form, language, size, skipped) VALUES (?, ?, ?, ?, ?)",
            (oid, form, language, size, skipped),
        )
        blob = cursor.lastrowid
        assert blob is not None
        rows = [
            (blob, self._text(chunk), chunk.kind, chunk.signature, chunk.start_line, chunk.end_line)
            for chunk in chunks
        ]
        self._db.executemany(
            "INSERT INTO chunks (blob, text, kind, signature, start_line, end_line)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._db.executemany(
            "INSERT INTO symbols VALUES (?, ?, ?, ?, ?)",
            [(it.name, it.qualified, it.kind, it.line, blob) for it in symbols],
        )
        return blob

    def _text(self, chunk: Chunk) -> int:
        digest = text_digest(chunk.symbol, chunk.text)
        found = self._db.execute("SELECT id FROM texts WHERE digest = ?", (digest,)).fetchone()
        if found:
            return int(found[0])
        number = self._db.execute(
            "INSERT INTO texts (digest, symbol, body) VALUES (?, ?, ?)",
            (digest, chunk.symbol, chunk.text),
        ).lastrowid
        assert number is not None
        if self.has_trigrams:
            self._db.execute(
                "INSERT INTO trigrams (rowid, body) VALUES (?, ?)", (number, as_text(chunk.text))
            )
        return number

    # Documents

    def add_documents(self, chunks: Sequence[Chunk]) -> None:
        """Adds each chunk as a content and a file of its own; its place is the document's id."""
        db = self._db
        repo = self.run("INSERT INTO repos (name, source) VALUES ('documents', '')").lastrowid
        db.execute(
            "INSERT INTO revisions (repo, name, updated, skips) VALUES (?, 'documents', ?, '{}')",
            (repo, time.time()),
        )
        for number, chunk in enumerate(chunks):
            size = len(chunk.text)
            blob = self.add_blob(str(number), "", chunk.language, size, None, [chunk])
            values = (number, repo, chunk.path, blob)
            db.execute("INSERT INTO files (id, repo, path, blob) VALUES (?, ?, ?, ?)", values)
            db.execute("INSERT INTO tree SELECT id, ? FROM revisions", (number,))
            db.execute(
                "INSERT INTO documents (id, file, chunk) SELECT ?1, ?1, id FROM chunks"
                " WHERE blob = ?2",
                (number, blob),
            )

    def fields(self, documents: Sequence[int]) -> Iterator[Fields]:
        """What words are looked for in, of each document, in order of their ids."""
        query = (
            "SELECT texts.symbol, files.path, chunks.signature, texts.body FROM documents"
            " JOIN files ON files.id = documents.file JOIN chunks ON chunks.id = documents.chunk"
            " JOIN texts ON texts.id = chunks.text WHERE documents.id IN ({}) ORDER BY documents.id"
        )
        for symbol, path, signature, body in self.rows_in(query, sorted(documents)):
            yield Fields(symbol=symbol, path=path, signature=signature, body=body)

    def entries(self, documents: Iterable[int]) -> list[Entry]:
        """Documents by id, in the order asked for; those that are gone are left out."""
        wanted = [int(number) for number in documents]
        query = (
            "SELECT documents.id, files.path, blobs.language, texts.symbol, chunks.kind,"
            " chunks.signature, chunks.start_line, chunks.end_line, repos.name, hex(texts.digest)"
            " FROM documents JOIN files ON files.id = documents.file"
            " JOIN blobs ON blobs.id = files.blob JOIN repos ON repos.id = files.repo"
            " JOIN chunks ON chunks.id = documents.chunk JOIN texts ON texts.id = chunks.text"
            " WHERE documents.id IN ({})"
        )
        found = {row[0]: Entry(*row) for row in self.rows_in(query, wanted)}
        return [found[number] for number in wanted if number in found]

    def bodies(self, documents: Sequence[int]) -> dict[int, bytes]:
        """What documents say, by id."""
        query = (
            "SELECT documents.id, texts.body FROM documents JOIN chunks ON chunks.id = chunk"
            " JOIN texts ON texts.id = chunks.text WHERE documents.id IN ({})"
        )
        return dict(self.rows_in(query, [int(number) for number in documents]))


def text_digest(symbol: str, body: bytes) -> bytes:
    """Names what is embedded: the text and the symbol above it, whatever file they are in."""
    return blake2b(symbol.encode("utf-8", "replace") + b"\0" + body, digest_size=16).digest()


def as_text(body: bytes) -> str:
    """Content as text for the trigrams; NULs would end it."""
    return body.decode("utf-8", "replace").replace("\0", " ")
