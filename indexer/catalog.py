"""All documents of an index in a few arrays: to filter them, and to go from vectors to documents.

Axes: n documents, ascending by id; r rows of vectors in use, ascending.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codebyte.errors import InputError
from codebyte.indexer.query import Query
from codebyte.indexer.store import Store

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Catalog:
    """The documents of an index at one moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        found = store.rows(
            "SELECT documents.id, documents.file, chunks.text FROM documents"
            " JOIN chunks ON chunks.id = documents.chunk ORDER BY documents.id"
        )
        table = np.array(found, np.int64).reshape(-1, 3)
        self.ids: Ids = np.ascontiguousarray(table[:, 0])  # (n,)
        self._texts: Ids = np.ascontiguousarray(table[:, 2])  # (n,)
        files = store.rows(
            "SELECT files.id, files.path, blobs.language, repos.name FROM files"
            " JOIN blobs ON blobs.id = files.blob JOIN repos ON repos.id = files.repo"
            " ORDER BY files.id"
        )
        numbers = np.array([number for number, *_ in files], np.int64)
        self.files: list[tuple[str, str, str]] = [
            (path, language, repo) for _, path, language, repo in files
        ]
        self._file_ids = numbers
        self.file_of: Ids = np.searchsorted(numbers, table[:, 1])  # (n,), numbers of files from 0
        self._symbols: list[str] | None = None
        self.rows: Ids = np.empty(0, np.int64)  # (r,)
        self._documents: Ids = np.empty(0, np.int64)  # those with a vector, sorted by row
        self._row_of: Ids = np.empty(0, np.int64)  # as many: places in rows
        self._by_id: Ids = np.empty(0, np.int64)  # as many: their places in order of id
        self.read_rows()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def embedded(self) -> int:
        """How many documents have a vector."""
        return len(self._documents)

    def read_rows(self) -> None:
        """Looks up which documents have which vectors."""
        found = self._store.rows(
            "SELECT texts.id, vectors.row FROM texts JOIN vectors USING (digest) ORDER BY texts.id"
        )
        table = np.array(found, np.int64).reshape(-1, 2)
        place = np.searchsorted(table[:, 0], self._texts)
        place = np.minimum(place, max(len(table) - 1, 0))
        has = table[place, 0] == self._texts if len(table) else np.zeros(len(self.ids), np.bool_)
        rows = table[place[has], 1]
        order = np.argsort(rows, kind="stable")
        self._documents = self.ids[has][order]
        self.rows, self._row_of = np.unique(rows[order], return_inverse=True)
        self._by_id = np.argsort(self._documents)

    def allowed(
        self, query: Query, texts: Sequence[int] | None, revision: str | None
    ) -> Mask | None:
        """Which documents pass the filters, (n,), or None for all.

        Args:
            query: with its filters.
            texts: what documents must say, by number; None for anything.
            revision: None for any.

        Raises:
            InputError: the revision is not in the index.
        """
        mask: Mask | None = None
        if query.paths or query.languages or query.repos:
            one = Query(
                text="", words="", paths=query.paths, languages=query.languages, repos=query.repos
            )
            passes = [one.accepts(path, language, repo, "") for path, language, repo in self.files]
            mask = np.array(passes, np.bool_)[self.file_of]
        if query.symbols:
            mask = _both(mask, self._named(query))
        if revision is not None:
            mask = _both(mask, self._of_revision(revision))
        if texts is not None:
            mask = _both(mask, np.isin(self._texts, np.array(texts, np.int64)))
        return mask

    def keep(self, ids: Ids, scores: Floats, mask: Mask | None) -> tuple[Ids, Floats]:
        """Those of some documents that pass a filter."""
        if mask is None or not len(ids):
            return ids, scores
        passes = mask[np.searchsorted(self.ids, ids)]
        return ids[passes], scores[passes]

    def documents_of(self, scores: Floats) -> tuple[Ids, Floats]:
        """The documents with a vector, and their scores, from the scores of all rows (r,)."""
        return self._documents, scores[self._row_of]

    def documents_at(self, rows: Ids, scores: Floats) -> tuple[Ids, Floats]:
        """The documents that have some rows, with the scores of these."""
        order = np.argsort(rows)
        rows, scores = rows[order], scores[order]
        wanted = np.searchsorted(self.rows, rows)
        first = np.searchsorted(self._row_of, wanted, "left")
        last = np.searchsorted(self._row_of, wanted, "right")
        counts = last - first
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(first, counts) + steps
        return self._documents[places], np.repeat(scores, counts)

    def rows_of(self, ids: Ids) -> tuple[Ids, Ids]:
        """The rows of those of some documents that have one, and these documents."""
        order = self._by_id
        if not len(order):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        place = np.minimum(np.searchsorted(self._documents, ids, sorter=order), len(order) - 1)
        has = self._documents[order[place]] == ids
        return self.rows[self._row_of[order[place[has]]]], ids[has]

    def rows_allowed(self, mask: Mask) -> Ids:
        """The rows of the documents that pass a filter, ascending."""
        passes = mask[np.searchsorted(self.ids, self._documents)]
        return np.unique(self.rows[self._row_of[passes]])

    def _of_revision(self, revision: str) -> Mask:
        chosen = "SELECT id FROM revisions WHERE name = ?1 OR commit_id LIKE ?1 || '%'"
        if not self._store.rows(chosen, (revision,)):
            names = self._store.rows("SELECT DISTINCT name FROM revisions ORDER BY name")
            listed = ", ".join(name for (name,) in names) or "none"
            raise InputError(f"revision {revision!r} is not in the index, which has: {listed}")
        found = self._store.rows(f"SELECT file FROM tree WHERE revision IN ({chosen})", (revision,))
        return np.isin(self._file_ids, [file for (file,) in found])[self.file_of]

    def _named(self, query: Query) -> Mask:
        if self._symbols is None:
            found = self._store.stream(
                "SELECT texts.symbol FROM documents JOIN chunks ON chunks.id = documents.chunk"
                " JOIN texts ON texts.id = chunks.text ORDER BY documents.id"
            )
            self._symbols = [symbol for (symbol,) in found]
        one = Query(text="", words="", symbols=query.symbols)
        return np.array([one.accepts("", "", "", symbol) for symbol in self._symbols], np.bool_)


def _both(mask: Mask | None, other: Mask) -> Mask:
    return other if mask is None else mask & other
