"""Writes an index: brings it up to date, makes its vectors, forgets, copies."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codebyte.errors import InputError, StaleIndexError
from codebyte.indexer.clone import is_url
from codebyte.indexer.embedder import check_model
from codebyte.indexer.embedding import compact, embed_pending, start_anew
from codebyte.indexer.lexical import LexicalIndex
from codebyte.indexer.listing import list_source
from codebyte.indexer.opened import OpenIndex
from codebyte.indexer.repo import open_repo
from codebyte.indexer.schema import DATABASE, translated
from codebyte.indexer.snapshot import words_of
from codebyte.indexer.trees import remove_repo, set_tree, stats
from codebyte.indexer.updating import (
    Progress,
    Updated,
    add_contents,
    bring_history,
    clear_old_files,
    only_writer,
    replace_documents,
    silent,
)


class WritableIndex(OpenIndex):
    """An open index with what changes it."""

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
        # Cloning may take minutes, in which others search and write.
        opened = open_repo(source, revision, cache) if is_url(os.fspath(source)) else None
        with self._lock, only_writer(self.folder):
            store = self._store
            known = stats(store, str(Path(source).expanduser().resolve()))
            listing = list_source(source, revision, known=known, opened=opened)
            blobs, skips, new = add_contents(store, listing, progress)
            with self._changing() as lexical:
                removed, added = set_tree(store, listing, blobs, skips, name or listing.name)
                progress("words", 0, len(added))
                bring_history(store, listing)
                replace_documents(store, self.folder, lexical, removed, added)
                compact(store, self.folder)
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
            with self._changing() as lexical:
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

    @contextmanager
    def _changing(self) -> Iterator[LexicalIndex]:
        """The words, to be changed in place together with the database, or not at all."""
        try:
            with self._store.writing():
                lexical = self._lexical()
                yield lexical
            self._words = (int(self._store.get("generation")), lexical)
        except BaseException:
            self._words = self._snapshot = None  # both may hold the words that were changed
            raise

    def _lexical(self) -> LexicalIndex:
        """The words as they are now; counted anew where their file cannot be used."""
        generation, name = int(self._store.get("generation")), self._store.get("words")
        if self._words is not None and self._words[0] == generation:
            return self._words[1]
        if self.folder is not None and name is not None:
            try:
                return LexicalIndex.load(self.folder / name)
            except StaleIndexError:
                self._store.set("words", None)  # so that they are written though nothing changes
        return words_of(self._store)

    def _name_of(self, source: str) -> str:
        return str(self._store.rows("SELECT name FROM repos WHERE source = ?", (source,))[0][0])
