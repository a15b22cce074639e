"""Vectors of texts: an append-only file of float16 rows, and a FAISS index to search many of them.

Axes: n rows, d width. A row is never changed; rows that the database does not count were left by a
run that was killed, and the next writer cuts them off. Up to `EXACT_ROWS` all rows are compared;
above that an inverted file with one byte a number finds candidates, and the rows themselves decide.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import faiss as typed_faiss
import numpy as np
from numpy.typing import NDArray

from codebyte.errors import StaleIndexError

faiss: Any = typed_faiss  # its types lack much of what there is

EXACT_ROWS = 50_000
PROBES = 128  # lists of the inverted file that a search reads
CANDIDATES = (
    2,
    100,
)  # how many times as many as wanted are compared exactly, and how many at least
_TRAINED_ON = 40  # vectors for each list
_UNSAVED = 0.02  # share of rows that the saved file may lack
_BLOCK = 1 << 16  # rows

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class VectorFile:
    """Rows of float16, in a file or, without one, in memory."""

    def __init__(self, file: Path | None, dim: int, count: int = 0) -> None:
        """Opens rows.

        Args:
            file: made where it is missing, once something is added.
            dim: d.
            count: how many rows the file is known to have.

        Raises:
            StaleIndexError: it has fewer.
        """
        self.file, self.dim = file, dim
        self._memory = np.empty((0, dim), np.float16)
        self._map: NDArray[np.float16] = self._memory
        self.count = 0
        self.grow(count)

    def grow(self, count: int) -> None:
        """Takes rows into account that another process has added."""
        if count == self.count:
            return
        if self.file is None:
            self._map, self.count = self._memory[:count], count
            return
        size = self.file.stat().st_size if self.file.exists() else 0
        if size < count * self.dim * 2:
            raise StaleIndexError(
                f"{self.file} has {size} of {count * self.dim * 2} bytes: "
                "make its vectors again with `codebyte index --reembed`"
            )
        if count:
            mapped = np.memmap(self.file, np.float16, "r", shape=(count, self.dim))
            self._map = np.asarray(mapped)  # the plain class is quicker to take rows from
        self.count = count

    def append(self, rows: Floats) -> int:
        """Adds rows, written through to the disk; the number of the first."""
        first = self.count
        halves = np.ascontiguousarray(rows, np.float16)
        if self.file is None:
            self._memory = np.concatenate([self._memory[:first], halves])
        else:
            start = first * self.dim * 2
            with self.file.open("r+b" if self.file.exists() else "w+b") as file:
                file.truncate(start)  # what a killed run had added
                file.seek(start)
                file.write(halves.tobytes())
                file.flush()
                os.fsync(file.fileno())
        self.grow(first + len(halves))
        return first

    def copy_to(self, file: Path) -> None:
        """Writes all rows to a new file."""
        with file.open("wb") as output:
            for place in range(0, self.count, _BLOCK):
                output.write(self._map[place : place + _BLOCK].tobytes())
            output.flush()
            os.fsync(output.fileno())

    def take(self, rows: Rows | Sequence[int]) -> Floats:
        """Some rows, (n, d)."""
        return np.asarray(self._map[np.asarray(rows, np.int64)], np.float32)

    def blocks(self, rows: Rows) -> list[Rows]:
        """Cuts row numbers into blocks small enough to hold as float32."""
        return [rows[place : place + _BLOCK] for place in range(0, len(rows), _BLOCK)]


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
            self._index, changed = _load(cache, vectors, rows)
            if self._index is None:
                self._index, changed = _build(vectors, rows), len(rows)
            if cache is not None and changed > _UNSAVED * len(rows):
                _save(self._index, cache)

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


def _build(vectors: VectorFile, rows: Rows) -> Any:
    num_lists = int(4 * np.sqrt(len(rows)))
    quantizer = faiss.IndexFlatIP(vectors.dim)
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, vectors.dim, num_lists, kind, faiss.METRIC_INNER_PRODUCT
    )
    index.own_fields = True
    quantizer.this.disown()
    drawn = np.random.default_rng(0).permutation(len(rows))[: num_lists * _TRAINED_ON]
    index.cp.seed, index.cp.niter = 0, 6
    index.train(vectors.take(rows[np.sort(drawn)]))
    index.set_direct_map_type(faiss.DirectMap.Hashtable)
    for block in vectors.blocks(rows):
        index.add_with_ids(vectors.take(block), block)
    return index


def _load(cache: Path | None, vectors: VectorFile, rows: Rows) -> tuple[Any, int]:
    """The cached index brought up to date, or None where it has to be made again.

    With it, how many rows that took.
    """
    if cache is None or not cache.exists():
        return None, 0
    try:
        index = faiss.read_index(os.fspath(cache))
    except RuntimeError:
        return None, 0  # damaged: it is only a cache
    if not isinstance(index, faiss.IndexIVF) or index.d != vectors.dim:
        return None, 0
    if len(rows) > 2 * (index.nlist / 4) ** 2:
        return None, 0  # twice as many as it was trained for
    held = np.sort(_ids(index))
    gone = np.setdiff1d(held, rows, assume_unique=True)
    new = np.setdiff1d(rows, held, assume_unique=True)
    if len(gone):
        index.remove_ids(faiss.IDSelectorArray(gone))
    for block in vectors.blocks(new):
        index.add_with_ids(vectors.take(block), block)
    return index, len(gone) + len(new)


def _ids(index: Any) -> Rows:
    lists = index.invlists
    sizes = [lists.list_size(number) for number in range(index.nlist)]
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(number), size).copy()
        for number, size in enumerate(sizes)
        if size
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _save(index: Any, cache: Path) -> None:
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
    try:
        faiss.write_index(index, os.fspath(temporary))
        temporary.replace(cache)
    except (RuntimeError, OSError):
        pass  # no space or no permission: the next one who opens the index makes it again
    finally:
        temporary.unlink(missing_ok=True)
