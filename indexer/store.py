"""What an index knows apart from words and vectors: contents, their chunks, and where they lie.

Contents are added first, and nobody sees them until a revision's tree names them; what no tree
names any more is swept away. See `codebyte.indexer.schema` for the tables.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from codebyte.indexer.chunk import Chunk, Symbol
from codebyte.indexer.lexical import Fields
from codebyte.indexer.listing import Listing, Stat
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

    # Trees

    def stats(self, source: str) -> dict[str, tuple[Stat, str]]:
        """What `list_source` said last of the files of a source."""
        found = self._db.execute(
            "SELECT path, size, modified, changed, inode, oid FROM stats"
            " JOIN repos ON repos.id = stats.repo WHERE source = ?",
            (source,),
        )
        return {row[0]: ((row[1], row[2], row[3], row[4]), row[5]) for row in found}

    def set_tree(
        self, listing: Listing, blobs: Mapping[str, int], skips: Mapping[str, int], name: str
    ) -> tuple[list[int], list[int]]:
        """Makes a revision what a listing says.

        Args:
            listing: of the source.
            blobs: path -> number of the content.
            skips: how many files were left out, by reason.
            name: what the repository is called where it is new.

        Returns:
            The documents that are gone and those that are new.
        """
        db = self._db
        repo = self._repo(name, listing.source)
        now = time.time()
        db.execute(
            "INSERT INTO revisions (repo, name, commit_id, updated, skips) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (repo, name) DO UPDATE SET commit_id = excluded.commit_id,"
            " updated = excluded.updated, skips = excluded.skips",
            (repo, listing.revision, listing.commit, now, json.dumps(dict(skips))),
        )
        ((revision,),) = self.rows(
            "SELECT id FROM revisions WHERE repo = ? AND name = ?", (repo, listing.revision)
        )
        if listing.commit is not None:
            db.execute(
                "INSERT INTO commits SELECT ?1, ?2, ?3, ?4 WHERE ?3 IS NOT (SELECT commit_id FROM"
                " commits WHERE repo = ?1 AND revision = ?2 ORDER BY rowid DESC LIMIT 1)",
                (repo, listing.revision, listing.commit, now),
            )
        self._note_stats(repo, listing)
        ((newest,),) = self.rows("SELECT coalesce(max(id), 0) FROM files")
        db.execute("CREATE TEMP TABLE wanted (path TEXT PRIMARY KEY, blob INTEGER)")
        try:
            db.executemany("INSERT INTO wanted VALUES (?, ?)", blobs.items())
            db.execute(
                "INSERT OR IGNORE INTO files (repo, path, blob) SELECT ?, path, blob FROM wanted"
                " ORDER BY path",
                (repo,),
            )
            there = "SELECT files.id FROM files JOIN wanted USING (path, blob) WHERE files.repo = ?"
            db.execute(
                f"DELETE FROM tree WHERE revision = ? AND file NOT IN ({there})", (revision, repo)
            )
            db.execute(
                "INSERT OR IGNORE INTO tree SELECT ?, files.id FROM files JOIN wanted"
                " USING (path, blob) WHERE files.repo = ?",
                (revision, repo),
            )
        finally:
            db.execute("DROP TABLE wanted")
        db.execute(
            "INSERT INTO documents (file, chunk) SELECT files.id, chunks.id FROM files"
            " JOIN chunks ON chunks.blob = files.blob WHERE files.id > ?"
            " ORDER BY files.id, chunks.id",
            (newest,),
        )
        new = self.rows("SELECT id FROM documents WHERE file > ?", (newest,))
        return self.sweep(), [number for (number,) in new]

    def remove_repo(self, name: str, revision: str | None = None) -> list[int]:
        """Forgets a repository, or one revision of it; the documents that are gone."""
        values = (name, revision)
        chosen = (
            "SELECT revisions.id FROM revisions JOIN repos ON repos.id = repo"
            " WHERE repos.name = ?1 AND (?2 IS NULL OR revisions.name = ?2)"
        )
        self._db.execute(f"DELETE FROM tree WHERE revision IN ({chosen})", values)
        self._db.execute(f"DELETE FROM revisions WHERE id IN ({chosen})", values)
        gone = self.sweep()
        empty = "(SELECT id FROM repos WHERE id NOT IN (SELECT repo FROM revisions))"
        for table in ("stats", "commits"):
            self._db.execute(f"DELETE FROM {table} WHERE repo IN {empty}")
        self._db.execute(f"DELETE FROM repos WHERE id IN {empty}")
        return gone

    def sweep(self) -> list[int]:
        """Deletes what no tree names any more; the documents that are gone."""
        db = self._db
        dead = "SELECT id FROM files WHERE id NOT IN (SELECT file FROM tree)"
        gone = self.rows(f"SELECT id FROM documents WHERE file IN ({dead})")
        db.execute(f"DELETE FROM documents WHERE file IN ({dead})")
        db.execute("DELETE FROM files WHERE id NOT IN (SELECT file FROM tree)")
        unused = self.rows(
            "SELECT id FROM blobs WHERE skipped IS NULL AND id NOT IN (SELECT blob FROM files)"
        )
        if unused:
            texts = [
                text
                for (blob,) in unused
                for (text,) in db.execute(
                    "SELECT DISTINCT text FROM chunks WHERE blob = ?", (blob,)
                )
            ]
            db.executemany("DELETE FROM chunks WHERE blob = ?", unused)
            db.executemany("DELETE FROM symbols WHERE blob = ?", unused)
            db.executemany("DELETE FROM blobs WHERE id = ?", unused)
            self._sweep_texts(sorted(set(texts)))
        return [number for (number,) in gone]

    def _sweep_texts(self, texts: Sequence[int]) -> None:
        query = (
            "SELECT id, body FROM texts WHERE id IN ({}) AND id NOT IN (SELECT text FROM chunks)"
        )
        unused = list(self.rows_in(query, texts))
        if self.has_trigrams:
            self._db.executemany(
                "INSERT INTO trigrams (trigrams, rowid, body) VALUES ('delete', ?, ?)",
                [(number, as_text(body)) for number, body in unused],
            )
        self._db.executemany("DELETE FROM texts WHERE id = ?", [(number,) for number, _ in unused])

    def _repo(self, name: str, source: str) -> int:
        found = self.rows("SELECT id FROM repos WHERE source = ?", (source,))
        if found:
            return int(found[0][0])
        taken = {other for (other,) in self.rows("SELECT name FROM repos")}
        number = next(i for i in range(1, len(taken) + 2) if _numbered(name, i) not in taken)
        values = (_numbered(name, number), source)
        made = self._db.execute("INSERT INTO repos (name, source) VALUES (?, ?)", values).lastrowid
        assert made is not None
        return made

    def _note_stats(self, repo: int, listing: Listing) -> None:
        if listing.folder is None:
            return
        rows = {path: (*stat, oid) for path, (stat, oid) in listing.stats.items()}
        before = {
            path: tuple(values)
            for path, *values in self.rows(
                "SELECT path, size, modified, changed, inode, oid FROM stats WHERE repo = ?",
                (repo,),
            )
        }
        gone = [(repo, path) for path in before.keys() - rows.keys()]
        self._db.executemany("DELETE FROM stats WHERE repo = ? AND path = ?", gone)
        self._db.executemany(
            "INSERT OR REPLACE INTO stats VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(repo, path, *row) for path, row in rows.items() if before.get(path) != row],
        )

    # Documents

    def add_documents(self, chunks: Sequence[Chunk]) -> None:
        """Adds each chunk as a content and a file of its own; its place is the document's id."""
        db = self._db
        repo = self._repo("documents", "documents")
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


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
