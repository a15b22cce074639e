"""Searches vectors: the nearest rows of a file to one that is given.

Axes: n rows, d width. Up to `EXACT_ROWS` all rows are compared; above that an inverted file with
one byte a number finds candidates, and the rows themselves decide.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import faiss as typed_faiss
import numpy as np

from codebyte.indexer import inverted
from codebyte.indexer.vector_file import Floats, Rows, VectorFile

__all__ = ["Floats", "MakeNearest", "Nearest", "Rows", "VectorFile", "VectorSearch"]

faiss: Any = typed_faiss  # its types lack much of what there is

EXACT_ROWS = 50_000
PROBES = 128  # lists of the inverted file that a search reads
CANDIDATES = (
    2,
    100,
)  # how many times as many as wanted are compared exactly, and how many at least
_UNSAVED = 0.02  # share of rows that the saved file may lack


class Nearest(Protocol):
    """What finds the rows nearest to a vector: `VectorSearch`, or `codebyte.indexer.qdrant`."""

    rows: Rows  # in use, ascending
    exact: bool  # whether comparing all rows is cheap

    def scores(self, query: Floats) -> Floats:
        """The cosine of every row in use, in their order."""
        ...

    def nearest(self, query: Floats, k: int, allowed: Rows | None = None) -> tuple[Rows, Floats]:
        """The k best rows, of those allowed, and their cosines, best first."""
        ...

    def of_rows(self, query: Floats, rows: Rows) -> Floats:
        """The cosines of some rows."""
        ...


MakeNearest = Callable[[VectorFile, Rows, Path | None], Nearest]


class VectorSearch:
    """Finds the rows nearest to a vector among those that are in use."""

    def __init__(self, vectors: VectorFile, rows: Rows, cache: Path | None = None) -> None:
        """Prepares a search.

        Args:
            vectors: all rows.
            rows: those in use, ascending, each once.
            cache: where the inverted file is kept, a file; it is made again where it does not fit.
        """
        self._vectors, self.rows = vectors, rows
        self.exact = len(rows) <= EXACT_ROWS
        self._matrix: Floats = np.empty((0, vectors.dim), np.float32)
        self._index: Any = None
        if self.exact:
            self._matrix = vectors.take(rows)
        else:
            self._index, changed = inverted.load(cache, vectors, rows)
            if self._index is None:
                self._index, changed = inverted.build(vectors, rows), len(rows)
            if cache is not None and changed > _UNSAVED * len(rows):
                inverted.save(self._index, cache)

    def scores(self, query: Floats) -> Floats:
        """The cosine of every row in use, in their order; only where `exact`."""
        found: Floats = self._matrix @ query
        return found

    def nearest(self, query: Floats, k: int, allowed: Rows | None = None) -> tuple[Rows, Floats]:
        """The k best rows and their cosines, best first.

        Args:
            query: (d,), a unit vector.
            k: how many, at most.
            allowed: rows to choose from, ascending; None for all.
        """
        if self.exact or (allowed is not None and len(allowed) <= EXACT_ROWS):
            if allowed is None:
                rows, scores = self.rows, self.scores(query)
            else:
                rows = np.intersect1d(allowed, self.rows, assume_unique=True)
                scores = self._vectors.take(rows) @ query
        else:
            assert self._index is not None
            parameters = faiss.SearchParametersIVF(nprobe=PROBES)
            if allowed is not None:
                parameters = faiss.SearchParametersIVF(
                    nprobe=PROBES, sel=faiss.IDSelectorBatch(allowed)
                )
            times, least = CANDIDATES
            few = min(max(k * times, least), len(self.rows))
            _, found = self._index.search(query[None], few, params=parameters)
            rows = np.sort(found[0][found[0] >= 0])
            scores = self._vectors.take(rows) @ query
        if len(rows) > k:
            best = np.argpartition(-scores, k - 1)[:k]
            rows, scores = rows[best], scores[best]
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]

    def of_rows(self, query: Floats, rows: Rows) -> Floats:
        """The cosines of some rows."""
        found: Floats = self._vectors.take(rows) @ query
        return found
