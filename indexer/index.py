"""The index of repositories and folders: `CodeIndex` makes it, keeps it current and searches it."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from codebyte.errors import InputError
from codebyte.indexer.chunk import chunk_file, chunk_whole
from codebyte.indexer.embedding import (
    Coverage,
    compact,
    embed_pending,
    embedded_input,
    start_anew,
)
from codebyte.indexer.languages import language_of
from codebyte.indexer.lexical import LexicalIndex
from codebyte.indexer.listing import list_source, shown_path
from codebyte.indexer.query import Query, parse_query
from codebyte.indexer.ranking import Mode, Rules
from codebyte.indexer.schema import DATABASE, translated
from codebyte.indexer.searching import (
    Embedder,
    Hit,
    Snapshot,
    check_model,
    find,
    query_vector,
    read_snapshot,
)
from codebyte.indexer.store import Entry, Store
from codebyte.indexer.trees import remove_repo, set_tree, stats
from codebyte.indexer.updating import (
    Progress,
    Updated,
    add_contents,
    clear_old_files,
    only_writer,
    replace_documents,
    silent,
)
from codebyte.indexer.vectors import MakeNearest, VectorFile, VectorSearch

LONGEST_QUERY = 1 << 14  # characters
_SIMILAR_WORDS = 2000  # characters of a chunk that are looked for as words


class CodeIndex:
    """An index in a folder, or in memory. Threads may share it; processes open their own."""

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

    def __enter__(self) -> "CodeIndex":
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

    # Writing

    def update(
        self,
        source: str | os.PathLike[str],
        revision: str | None = None,
        *,
        name: str | None = None,
        embed: bool = True,
        cache: str | os.PathLike[str] | None = None,
        progress: Progress = silent,
    ) -> Updated:
        """Brings the index up to what a repository, a folder or a URL holds now.

        Args:
            source: a working copy, a bare repository, a plain folder, or an https or ssh URL.
            revision: a branch, tag or commit; None for a working copy as it lies on the disk,
                uncommitted work included, and for HEAD elsewhere.
            name: what the repository is to be called; None for its own name.
            embed: whether to wait for the vectors; words can be searched without.
            cache: where clones of URLs are kept.
            progress: told of each step.

        Raises:
            RepoError: the source cannot be read.
            InputError: the index cannot be written.
            StaleIndexError: its vectors are another model's.
        """
        if embed and self.embedder is not None:
            check_model(self.embedder, self._store)
        with self._lock, only_writer(self.folder):
            store = self._store
            known = stats(store, str(Path(source).expanduser().resolve()))
            listing = list_source(source, revision, known=known, cache=cache)
            blobs, skips, new = add_contents(store, listing, progress)
            lexical = self._lexical()
            self._words = None  # in case that what follows fails
            with store.writing():
                removed, added = set_tree(store, listing, blobs, skips, name or listing.name)
                progress("words", 0, len(added))
                replace_documents(store, self.folder, lexical, removed, added)
                compact(store, self.folder)
            self._words = (int(store.get("generation")), lexical)
            if self.folder is not None:
                clear_old_files(store, self.folder)
        if embed:
            self.embed(progress)
        return Updated(
            repo=self._name_of(listing.source),
            revision=listing.revision,
            commit=listing.commit,
            files=len(blobs),
            new_contents=new,
            added=len(added),
            removed=len(removed),
            skips=dict(skips),
        )

    def embed(
        self, progress: Progress = silent, *, stopped: Callable[[], bool] = lambda: False
    ) -> int:
        """Makes the vectors that are missing; how many there were. Without an embedder, none.

        It may run in a thread of its own, while others search.

        Args:
            progress: told of each step.
            stopped: asked before each batch whether to end here.

        Raises:
            StaleIndexError: the index has vectors of another model: see `reembed`.
        """
        if self.embedder is None:
            return 0
        return embed_pending(
            self._store,
            self.folder,
            self.embedder,
            self._open_vectors,
            progress,
            stopped,
            self._lock,
        )

    def reembed(self) -> None:
        """Forgets all vectors, for a changed model; `embed` makes them again."""
        if self.embedder is None:
            raise InputError("vectors cannot be made again without a model: give an embedder")
        with self._lock:
            start_anew(self._store, self.folder, self.embedder)

    def remove(self, name: str, revision: str | None = None) -> int:
        """Forgets a repository, or one revision of it; how many documents are gone.

        Raises:
            InputError: it is not in the index.
        """
        with self._lock, only_writer(self.folder):
            lexical = self._lexical()
            self._words = None
            with self._store.writing():
                before = self._store.rows("SELECT count(*) FROM revisions")
                gone = remove_repo(self._store, name, revision)
                if self._store.rows("SELECT count(*) FROM revisions") == before:
                    listed = ", ".join(it for (it,) in self._store.rows("SELECT name FROM repos"))
                    what = name if revision is None else f"{name} at {revision}"
                    raise InputError(
                        f"{what} is not in the index, which has: {listed or 'nothing'}"
                    )
                replace_documents(self._store, self.folder, lexical, gone, [])
                compact(self._store, self.folder)
            self._words = (int(self._store.get("generation")), lexical)
            return len(gone)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes a copy of the index to a folder that does not exist yet.

        Raises:
            InputError: the folder exists, or cannot be written.
        """
        target = Path(folder)
        if target.exists():
            raise InputError(f"{target} exists already: give a folder that does not")
        with self._lock, translated(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".saving-") as temporary:
                whole = Path(temporary, "index")
                whole.mkdir()
                with self._store.reading():
                    snapshot = self._current()
                    snapshot.lexical.save(whole / str(self._store.get("words") or "words"))
                    if snapshot.vectors is not None:
                        snapshot.vectors.copy_to(whole / str(self._store.get("vectors")))
                self._store.copy_to(whole / DATABASE)
                whole.rename(target)

    # Reading

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
            InputError: the query cannot be read.
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
                )

    def similar(
        self, path: str, line: int, k: int = 10, mode: Mode = "hybrid", *, data: bytes | None = None
    ) -> list[Hit]:
        """Finds code like that at a line of a file.

        Args:
            path: in the index, as its hits have it.
            line: from 1.
            k: how many hits at most.
            mode: which kinds of scores count.
            data: what the file holds, where it is not in the index.

        Raises:
            InputError: there is no such file, or nothing at this line.
        """
        with self._lock, self._store.reading():
            snapshot = self._current()
            entry = self._at(path, line) if data is None else None
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

    def path_of(self, name: str | os.PathLike[str]) -> str | None:
        """The path under which the index has a file on the disk, or None."""
        file = Path(name).expanduser().resolve()
        candidates = [shown_path(os.fspath(name))]
        for (source,) in self._store.rows("SELECT source FROM repos"):
            if file.is_relative_to(source):
                candidates.insert(0, shown_path(file.relative_to(source).as_posix()))
        for path in candidates:
            if self._store.rows("SELECT 1 FROM files WHERE path = ? LIMIT 1", (path,)):
                return path
        return None

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

    def _lexical(self) -> LexicalIndex:
        """The words as they are now, to be changed."""
        generation, name = int(self._store.get("generation")), self._store.get("words")
        if self._words is not None and self._words[0] == generation:
            return self._words[1]
        if self.folder is None or name is None:
            return LexicalIndex()
        return LexicalIndex.load(self.folder / name)

    def _name_of(self, source: str) -> str:
        return str(self._store.rows("SELECT name FROM repos WHERE source = ?", (source,))[0][0])

    def _vector_of(self, code: bytes, mode: Mode) -> NDArray[np.float32] | None:
        if mode == "lexical" or self.embedder is None or self._store.get("model") is None:
            return None
        check_model(self.embedder, self._store)
        found: NDArray[np.float32] = self.embedder.embed_code([code])[0]
        return found

    def _at(self, path: str, line: int) -> Entry:
        found = self._store.rows(
            "SELECT documents.id FROM documents JOIN files ON files.id = file"
            " JOIN chunks ON chunks.id = chunk WHERE files.path = ? AND end_line >= ?"
            " ORDER BY start_line LIMIT 1",
            (path, line),
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
