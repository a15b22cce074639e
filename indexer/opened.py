"""An index that is open: its database, its words and its vectors, as they are now."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from codebyte.indexer.embedder import Embedder
from codebyte.indexer.lexical import LexicalIndex
from codebyte.indexer.schema import DATABASE
from codebyte.indexer.snapshot import Snapshot, read_snapshot
from codebyte.indexer.store import Store
from codebyte.indexer.updating import only_writer
from codebyte.indexer.vector_file import VectorFile
from codebyte.indexer.vectors import MakeNearest, VectorSearch


class OpenIndex:
    """What reading and writing have in common."""

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        embedder: Embedder | None = None,
        *,
        writable: bool = True,
        nearest: MakeNearest = VectorSearch,
    ) -> None:
        """Opens an index, or makes an empty one.

        Args:
            folder: where it is kept; None for memory.
            embedder: makes vectors; None to search by words alone.
            writable: False for one that must exist and is only read.
            nearest: searches the vectors; see `codebyte.indexer.qdrant` for another.

        Raises:
            InputError: it cannot be made or opened.
            StaleIndexError: it is damaged or of another version.
        """
        self.folder = None if folder is None else Path(folder)
        self.embedder = embedder
        self._make_nearest = nearest
        self._lock = threading.RLock()
        if self.folder is not None and writable and not (self.folder / DATABASE).exists():
            with only_writer(self.folder):
                self._store = Store(self.folder)
        else:
            self._store = Store(self.folder, writable=writable)
        self._snapshot: Snapshot | None = None
        self._words: tuple[int, LexicalIndex] | None = (0, LexicalIndex())
        self._in_memory: tuple[str, VectorFile] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the files."""
        with self._lock:
            self._snapshot = self._words = None
            self._store.close()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The index as it is now; `store` reads of the same moment inside."""
        with self._lock, self._store.reading():
            yield self._current()

    @property
    def store(self) -> Store:
        """The database, for reports about the index."""
        return self._store

    def _current(self) -> Snapshot:
        generation = int(self._store.get("generation"))
        words = self._words
        lexical = words[1] if words is not None and words[0] == generation else None
        self._snapshot = read_snapshot(
            self._store,
            self.folder,
            self._snapshot,
            lexical,
            self._open_vectors,
            self._make_nearest,
        )
        self._words = (generation, self._snapshot.lexical)
        return self._snapshot

    def _open_vectors(self, name: str, dim: int) -> VectorFile:
        if self.folder is not None:
            return VectorFile(self.folder / name, dim)
        if self._in_memory is None or self._in_memory[0] != name:
            self._in_memory = (name, VectorFile(None, dim))
        return self._in_memory[1]
