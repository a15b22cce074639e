"""Keeps the vectors of an index in Qdrant, behind what `codebyte.indexer.vectors` offers.

A point is a row, by its number. The rows stay in the index too: a collection that is lost is filled
again.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from codebyte.indexer.vectors import Floats, Rows, VectorFile

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_BATCH = 1024  # points sent at a time


class Qdrant:
    """Where to keep vectors: give it to `CodeIndex` as `nearest`."""

    def __init__(self, client: "QdrantClient", name: str = "codebyte") -> None:
        """Takes a client of `qdrant-client`, and what the collections' names are to begin with."""
        self._client, self._name = client, name

    def __call__(self, vectors: VectorFile, rows: Rows, cache: Path | None) -> "QdrantSearch":
        """Brings the collection of a file of vectors up to date."""
        stem = "memory" if vectors.file is None else vectors.file.stem
        return QdrantSearch(self._client, f"{self._name}-{stem}", vectors, rows)


class QdrantSearch:
    """Finds the rows nearest to a vector by asking Qdrant."""

    exact = False

    def __init__(
        self, client: "QdrantClient", collection: str, vectors: VectorFile, rows: Rows
    ) -> None:
        from qdrant_client import models

        self._client, self._collection, self._vectors = client, collection, vectors
        self.rows = rows
        if not client.collection_exists(collection):
            shape = models.VectorParams(size=vectors.dim, distance=models.Distance.DOT)
            client.create_collection(collection, vectors_config=shape)
        held = self._held()
        gone = np.setdiff1d(held, rows, assume_unique=True)
        new = np.setdiff1d(rows, held, assume_unique=True)
        for place in range(0, len(gone), _BATCH):
            points = models.PointIdsList(points=gone[place : place + _BATCH].tolist())
            client.delete(collection, points_selector=points)
        for place in range(0, len(new), _BATCH):
            some = new[place : place + _BATCH]
            batch = models.Batch(ids=some.tolist(), vectors=vectors.take(some).tolist())
            client.upsert(collection, points=batch)

    def scores(self, query: Floats) -> Floats:
        """The cosine of every row in use, in their order."""
        return self.of_rows(query, self.rows)

    def nearest(self, query: Floats, k: int, allowed: Rows | None = None) -> tuple[Rows, Floats]:
        """The k best rows and their cosines, best first; see `VectorSearch.nearest`."""
        from qdrant_client import models

        chosen = None
        if allowed is not None:
            chosen = models.Filter(must=[models.HasIdCondition(has_id=allowed.tolist())])
        found = self._client.query_points(
            self._collection, query=query.tolist(), limit=k, query_filter=chosen, with_payload=False
        )
        rows = np.array([int(point.id) for point in found.points], np.int64)
        scores = self.of_rows(query, rows)
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]

    def of_rows(self, query: Floats, rows: Rows) -> Floats:
        """The cosines of some rows."""
        found: Floats = self._vectors.take(rows) @ query
        return found

    def _held(self) -> Rows:
        numbers: list[int] = []
        offset = None
        while True:
            points, offset = self._client.scroll(
                self._collection,
                limit=_BATCH,
                offset=offset,
                with_payload=False,
                with_vectors=False,
            )
            numbers += [int(point.id) for point in points]
            if offset is None:
                return np.array(sorted(numbers), np.int64)
