"""The index of repositories and folders: `CodeIndex` makes it, keeps it current and searches it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codebyte.errors import InputError
from codebyte.indexer.chunk import chunk_file, chunk_whole
from codebyte.indexer.embedder import (
    Embedder,
    check_model,
    embedded_input,
    query_vector,
    usable_embedder,
)
from codebyte.indexer.embedding import Coverage
from codebyte.indexer.languages import language_of
from codebyte.indexer.lexical import LexicalIndex
from codebyte.indexer.query import Query, parse_query
from codebyte.indexer.ranking import Mode, Rules
from codebyte.indexer.searching import Hit, find
from codebyte.indexer.skips import shown_path
from codebyte.indexer.store import Entry
from codebyte.indexer.trees import ON_DISK
from codebyte.indexer.updating import replace_documents
from codebyte.indexer.writing import WritableIndex

LONGEST_QUERY = 1 << 14  # characters
_SIMILAR_WORDS = 2000  # characters of a chunk that are looked for as words


class CodeIndex(WritableIndex):
    """An index in a folder, or in memory. Threads may share it; processes open their own."""

    @classmethod
    def load(cls, folder: str | os.PathLike[str], embedder: Embedder | None = None) -> "CodeIndex":
        """Opens an index that exists.

        Raises:
            InputError: there is none.
            StaleIndexError: it is damaged, of another version, or has another model's vectors.
        """
        index = cls(folder, embedder, writable=False)
        if embedder is not None:
            check_model(embedder, index._store)
        return index

    @classmethod
    def from_documents(
        cls, documents: Sequence[tuple[str, bytes]], embedder: Embedder | None
    ) -> "CodeIndex":
        """An index in memory of pieces of code, each found as a whole.

        Args:
            documents: path and code; the place in the sequence is the id of its hits.
            embedder: None to search by words alone.
        """
        index = cls(None, embedder)
        store = index._store
        chunks = [chunk_whole(path, code, language_of(path)) for path, code in documents]
        with store.writing():
            store.add_documents(chunks)
            store.set("separate", 1)
            index._words = None
            lexical = LexicalIndex()
            replace_documents(store, None, lexical, [], list(range(len(chunks))))
            index._words = (int(store.get("generation")), lexical)
        if embedder is not None:
            index.embed()
        return index

    def search(
        self,
        text: str,
        k: int = 10,
        mode: Mode = "hybrid",
        *,
        paths: Sequence[str] = (),
        languages: Sequence[str] = (),
        repos: Sequence[str] = (),
        revision: str | None = None,
        rules: Rules | None = None,
    ) -> list[Hit]:
        """Finds code by words, meaning, or both.

        Args:
            text: words; "exact text", /regular expressions/ and the filters path:, lang:, repo:
                and sym: may be among them.
            k: how many hits at most.
            mode: "hybrid" goes by words alone where there are no vectors.
            paths: globs or parts of paths, one of which must fit.
            languages: one of which it must be.
            repos: names of repositories, or parts of them.
            revision: a branch or commit that was indexed; None for all.
            rules: of ranking; None for the usual ones, which for documents do not look at paths.

        Raises:
            InputError: the query cannot be read, or the revision is not in the index.
            StaleIndexError: the vectors are another model's.
        """
        if len(text) > LONGEST_QUERY:
            raise InputError(
                f"the query has {len(text):,} characters: ask with at most {LONGEST_QUERY:,}"
            )
        query = with_filters(parse_query(text), paths, languages, repos)
        with self._lock:
            if rules is None and self._store.get("separate"):
                rules = Rules.of_documents()
            vector = query_vector(self.embedder, self._store, query.words, mode)
            with self._store.reading():
                return find(
                    self._store,
                    self._current(),
                    query,
                    k=k,
                    mode=mode,
                    vector=vector,
                    revision=revision,
                    rules=rules,
                    embedder=self.embedder,
                )

    def similar(
        self,
        path: str,
        line: int,
        k: int = 10,
        mode: Mode = "hybrid",
        *,
        repo: str | None = None,
        data: bytes | None = None,
    ) -> list[Hit]:
        """Finds code like that at a line of a file.

        Args:
            path: in the index, as its hits have it.
            line: from 1.
            k: how many hits at most.
            mode: which kinds of scores count.
            repo: the name of the repository that has the file; None for any.
            data: what the file holds, where it is not in the index.

        Raises:
            InputError: there is no such file, or nothing at this line; or mode "dense" without
                vectors or without a model.
        """
        with self._lock, self._store.reading():
            snapshot = self._current()
            entry = self._at(path, line, repo) if data is None else None
            if entry is not None:
                symbol, body = entry.symbol, self._store.bodies([entry.id])[entry.id]
                same = self._store.rows(
                    "SELECT documents.id FROM documents JOIN chunks ON chunks.id = chunk"
                    " JOIN texts ON texts.id = chunks.text WHERE digest = ?",
                    (bytes.fromhex(entry.fingerprint),),
                )
            else:
                symbol, body = _piece_at(path, line, data or b"")
                same = []
            words = " ".join((symbol, body.decode("utf-8", "replace")[:_SIMILAR_WORDS]))
            return find(
                self._store,
                snapshot,
                Query(text=words, words=words),
                k=k,
                mode=mode,
                vector=self._vector_of(embedded_input(symbol, body), mode),
                without=[number for (number,) in same],
            )

    def coverage(self) -> Coverage:
        """How much of the index has vectors."""
        with self._lock, self._store.reading():
            catalog = self._current().catalog
            return Coverage(len(catalog), catalog.embedded)

    def place_of(self, name: str | os.PathLike[str]) -> tuple[str, str] | None:
        """The repository and the path under which the index has a file, or None.

        Args:
            name: of a file on the disk; where there is none, a path as hits have it.
        """
        file = Path(name).expanduser().resolve()
        repos = self._store.rows("SELECT name, source FROM repos ORDER BY length(source) DESC, id")
        if file.exists():  # of repositories inside each other, in the innermost that has it
            places = [
                (repo, shown_path(file.relative_to(source).as_posix()))
                for repo, source in repos
                if file.is_relative_to(source)
            ]
        else:
            places = [(repo, shown_path(os.fspath(name))) for repo, _ in repos]
        held = "SELECT 1 FROM files JOIN repos ON repos.id = repo WHERE name = ? AND path = ?"
        return next((place for place in places if self._store.rows(held, place)), None)

    def _vector_of(self, code: bytes, mode: Mode) -> NDArray[np.float32] | None:
        embedder = usable_embedder(self.embedder, self._store, mode)
        return None if embedder is None else embedder.embed_code([code])[0]

    def _at(self, path: str, line: int, repo: str | None) -> Entry:
        """What lies at a line of a file: as it is on the disk, else as it was indexed last."""
        on_disk = f"SELECT file FROM tree JOIN revisions ON revisions.id = revision WHERE {ON_DISK}"
        found = self._store.rows(
            "SELECT documents.id FROM documents JOIN chunks ON chunks.id = chunk WHERE file ="
            " (SELECT files.id FROM files JOIN repos ON repos.id = files.repo"
            " WHERE path = ?1 AND (?2 IS NULL OR repos.name = ?2)"
            f" ORDER BY files.id IN ({on_disk}) DESC, files.id DESC LIMIT 1)"
            " AND end_line >= ?3 ORDER BY start_line LIMIT 1",
            (path, repo, line),
        )
        if not found:
            raise InputError(f"{path} is not in the index, or has nothing to find at line {line}")
        return self._store.entries([found[0][0]])[0]


def with_filters(
    query: Query, paths: Sequence[str], languages: Sequence[str], repos: Sequence[str]
) -> Query:
    """A query with more filters; several of a kind are alternatives."""
    return replace(
        query,
        paths=(*query.paths, *paths),
        languages=(*query.languages, *(it.lower() for it in languages)),
        repos=(*query.repos, *repos),
    )


def _piece_at(path: str, line: int, data: bytes) -> tuple[str, bytes]:
    for chunk in chunk_file(path, data, language_of(path)):
        if chunk.start_line <= line <= chunk.end_line:
            return chunk.symbol, chunk.text
    raise InputError(f"{path} has nothing to find at line {line}")
