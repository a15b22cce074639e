"""An index as it is at one moment, in memory, read anew as far as it has changed."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.catalog import Catalog
from codebyte.indexer.evidence import FileEvidence
from codebyte.indexer.history import History
from codebyte.indexer.lexical import LexicalIndex
from codebyte.indexer.store import Entry, Store
from codebyte.indexer.vectors import MakeNearest, Nearest, VectorFile, VectorSearch

OpenVectors = Callable[[str, int], VectorFile]


@dataclass(slots=True)
class Snapshot:
    """An index as it was at one moment, in memory."""

    generation: int
    num_rows: int
    lexical: LexicalIndex
    catalog: Catalog
    vectors: VectorFile | None = None
    nearest: Nearest | None = None
    entries: dict[int, Entry] = field(default_factory=dict)  # those looked at so far
    path_vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # the same
    _files: FileEvidence | None = None

    def files(self, store: Store) -> FileEvidence:
        """Its files, gathered when they are first asked for; call it inside `store.reading`."""
        if self._files is None:
            self._files = FileEvidence(self.lexical, self.catalog, _histories(store))
        return self._files


def read_snapshot(
    store: Store,
    folder: Path | None,
    before: Snapshot | None,
    lexical: LexicalIndex | None,
    open_vectors: OpenVectors,
    make_nearest: MakeNearest = VectorSearch,
) -> Snapshot:
    """Reads what has changed since an earlier snapshot; call it inside `store.reading`.

    Args:
        store: of the index.
        folder: of the index; None for one in memory.
        before: an earlier snapshot, which is not to be used any more.
        lexical: the words of this moment, where they are at hand.
        open_vectors: opens the file of vectors of a name and width.
        make_nearest: searches them.

    Raises:
        StaleIndexError: a file of the index is missing or damaged.
    """
    generation, num_rows = int(store.get("generation")), int(store.get("rows"))
    if before is not None and (before.generation, before.num_rows) == (generation, num_rows):
        return before
    if before is not None and before.generation == generation:
        now = replace(before, num_rows=num_rows)
        now.catalog.read_rows()
    else:
        name = store.get("words")
        if lexical is None:
            lexical = LexicalIndex.load(folder / name) if folder and name else words_of(store)
        now = Snapshot(generation, num_rows, lexical, Catalog(store))
    name, dim = store.get("vectors"), store.get("dim")
    if name is None:
        now.vectors = now.nearest = None
        return now
    now.vectors = open_vectors(name, dim)
    now.vectors.grow(num_rows)
    cache = None if folder is None else (folder / name).with_suffix(".faiss")
    now.nearest = make_nearest(now.vectors, now.catalog.rows, cache)
    return now


def _histories(store: Store) -> dict[str, History]:
    """The histories of repositories by their names."""
    found = store.rows("SELECT repos.name, packed FROM histories JOIN repos ON repos.id = repo")
    return {name: History.unpack(packed) for name, packed in found}


def words_of(store: Store) -> LexicalIndex:
    """The words of all documents, counted anew."""
    lexical = LexicalIndex()
    documents = [number for (number,) in store.rows("SELECT id FROM documents ORDER BY id")]
    lexical.add(documents, store.fields(documents))
    return lexical
