"""The repositories that the page works on: one index, what may be read through it, and no more."""

import heapq
import threading
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from git.exc import GitError
from platformdirs import user_data_path

from codebyte.errors import CodebyteError, InputError
from codebyte.indexer.clone import is_url
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.repo import open_repo
from codebyte.indexer.report import report
from codebyte.indexer.schema import DATABASE
from codebyte.indexer.searching import Hit

if TYPE_CHECKING:
    from codebyte.indexer.updating import Progress, Updated

LARGEST_OPENED = 1 << 20  # bytes of a file that is opened in the editor


class Library:
    """One index, shared by all who use the page; safe to use from many threads.

    Args:
        folder: of the index; made when the first repository is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: CodeIndex | None = None
        self._lock = threading.Lock()  # of opening
        self._writing = threading.Lock()

    @property
    def exists(self) -> bool:
        """Whether anything has been indexed."""
        return (self.folder / DATABASE).exists()

    def index(self) -> CodeIndex:
        """The opened index.

        Raises:
            StaleIndexError: it is damaged or of another version.
        """
        with self._lock:
            if self._opened is None:
                self._opened = CodeIndex(self.folder, _embedder())
            return self._opened

    def repositories(self) -> list[dict[str, Any]]:
        """What is indexed, as `codebyte status` says it."""
        return report(self.index())["revisions"] if self.exists else []

    def names(self) -> list[str]:
        """The names of the repositories."""
        if not self.exists:
            return []
        return [name for (name,) in self.index().store.rows("SELECT name FROM repos ORDER BY name")]

    def folders(self) -> dict[str, Path]:
        """Those of the repositories that are folders on this machine, by name."""
        if not self.exists:
            return {}
        rows = self.index().store.rows("SELECT name, source FROM repos ORDER BY name")
        return {name: Path(source) for name, source in rows if Path(source).is_dir()}

    def languages(self) -> list[str]:
        """The languages of what is indexed."""
        if not self.exists:
            return []
        rows = self.index().store.rows("SELECT DISTINCT language FROM blobs ORDER BY language")
        return [language for (language,) in rows if language]

    def add(self, source: str, progress: "Progress") -> "Updated":
        """Indexes a repository, a folder or a URL, or brings it up to date; words first.

        Raises:
            CodebyteError: what was wrong with it.
        """
        with self._writing:
            index = self.index()
            done = index.update(_checked(source), embed=False, progress=progress)
            index.embed(progress)
            return done

    def update(self, name: str, progress: "Progress") -> "Updated":
        """Brings a repository up to date."""
        return self.add(self.source(name), progress)

    def remove(self, name: str) -> int:
        """Forgets a repository; its files stay where they are."""
        with self._writing:
            return self.index().remove(name)

    def source(self, name: str) -> str:
        """Where a repository lies, or its URL.

        Raises:
            InputError: there is none of this name.
        """
        rows = self.index().store.rows("SELECT source FROM repos WHERE name = ?", (name,))
        for (source,) in rows:
            return str(source)
        raise InputError(f"{name} is not among the repositories: {', '.join(self.names())}")

    def search(
        self, text: str, *, path: str = "", languages: Sequence[str] = (), repos: Sequence[str] = ()
    ) -> list[Hit]:
        """Finds code; see `CodeIndex.search`."""
        paths = [path] if path.strip() else []
        return self.index().search(text, 12, paths=paths, languages=languages, repos=repos)

    def paths(self, name: str, part: str, most: int) -> tuple[list[str], int]:
        """The paths of a repository's files that hold every word of `part`, in any order and case.

        Returns:
            At most `most` of them, first those whose last name holds the last word, the shortest
            first; and how many there are.

        Raises:
            InputError: there is no such repository.
        """
        if name not in self.names():
            raise InputError(f"{name} is not among the repositories")
        rows = self.index().store.rows(
            "SELECT DISTINCT path FROM files JOIN repos ON repos.id = files.repo"
            " WHERE repos.name = ?",
            (name,),
        )
        words = part.lower().split()
        last = words[-1] if words else ""
        found = [path for (path,) in rows if all(word in path.lower() for word in words)]
        first = heapq.nsmallest(
            most,
            found,
            lambda path: (last not in PurePosixPath(path).name.lower(), len(path), path),
        )
        return first, len(found)

    def read(self, name: str, path: str) -> bytes:
        """A file of a repository, as it lies on the disk or as it was indexed.

        Raises:
            InputError: it is not in the index, gone, or larger than the editor takes.
            RepoError: the repository is gone; or its clone is, and its URL does not answer.
        """
        rows = self.index().store.rows(
            "SELECT blobs.oid FROM files JOIN repos ON repos.id = files.repo"
            " JOIN blobs ON blobs.id = files.blob WHERE repos.name = ? AND files.path = ?",
            (name, path),
        )
        oids = [oid for (oid,) in rows]
        if not oids:
            raise InputError(f"{path} is not in the index of {name}")
        data = _content(self.source(name), path, oids[-1])
        if len(data) > LARGEST_OPENED:
            raise InputError(f"{path} has {len(data):,} bytes, more than are opened here")
        return data


def own_folder() -> Path:
    """Where a user's own index is, outside of any repository."""
    return user_data_path("codebyte") / "index"


def _embedder() -> Any:
    from codebyte.tasks.search import Embedder

    try:
        return Embedder()
    except CodebyteError:  # no search head: words only
        return None


def _checked(source: str) -> str:
    """A source that may be indexed from the page: an https or ssh URL, or a folder."""
    text = source.strip()
    if not text or text.startswith("-") or "\0" in text:
        raise InputError(f"{source!r} is no repository: give a folder, or an https or ssh URL")
    if is_url(text):
        return text
    if not Path(text).expanduser().is_dir():
        raise InputError(f"{text} is not a folder on this machine: give one, or a URL")
    return text


def _content(source: str, path: str, oid: str) -> bytes:
    problem = f"{path} is gone from {source}, or too large to be opened: update the repository"
    try:
        if not is_url(source):
            top = Path(source).resolve()
            file = (top / path).resolve()
            if (
                file.is_relative_to(top)
                and file.is_file()
                and file.stat().st_size <= LARGEST_OPENED
            ):
                return file.read_bytes()
        repo = open_repo(source, fetch=False).git
        if repo is None:
            raise InputError(problem)
        read: Callable[..., Any] = repo.git.cat_file
        return bytes(read("blob", oid, stdout_as_string=False, strip_newline_in_stdout=False))
    except (GitError, OSError) as error:
        raise InputError(problem) from error
