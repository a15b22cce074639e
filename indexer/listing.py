"""What is in a source right now: the path and blob id of each file to search, and how to read them.

A commit is listed from git's trees. A working copy is listed as it lies on the disk, uncommitted
work included: git names the files, and each is hashed here, or not even opened where its size
and times are the same as last time. (`git status` is never run: it would run filters and monitors
that the repository names.) A plain folder is walked, honouring .gitignore and .ignore files.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from git import GitCommandError, Repo

from codebyte.errors import RepoError
from codebyte.indexer.blobs import NOT_FILES, Blob, Rules, blob_id, list_files, read_objects
from codebyte.indexer.clone import git_reason, is_url, public_url
from codebyte.indexer.filters import skip_content, skip_path
from codebyte.indexer.folders import walk
from codebyte.indexer.languages import language_of
from codebyte.indexer.repo import Repository, open_repo
from codebyte.indexer.skips import Skips, leave_out, shown_path

WORKING_TREE = "working tree"  # the revision's name for files as they lie on the disk
# Reasons about a file at one moment, which say nothing about the content that its id names.
PASSING = {"changed while it was read", "link", "missing in the clone", "not a file", "unreadable"}
LARGEST = 1 << 20  # bytes of a file to search
LONGEST_LINE = 1 << 16  # bytes; a long string in a source is no reason to leave it out
_UNSETTLED = 50_000_000  # ns; a file changed later than this before we looked may change unseen
_SEARCHED = {"sample data", "change log", "data-like", "near-empty"}  # trained on no, found yes
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")

Stat = tuple[int, int, int, int]  # size, modified and changed in ns, inode


@dataclass(kw_only=True, slots=True)
class Listing:
    """The files of a source at one moment."""

    name: str
    source: str  # the absolute folder, or the URL
    revision: str
    commit: str | None  # 40 hex digits; None for a plain folder
    files: dict[str, str] = field(default_factory=dict)  # path -> blob id
    skips: Skips = field(default_factory=Skips)
    stats: dict[str, tuple[Stat, str]] = field(
        default_factory=dict
    )  # path -> what its id holds for
    git: Repo | None = None  # None for a plain folder
    repo: Repo | None = None  # where contents are read from git
    folder: Path | None = None  # where files are read from the disk
    raw: dict[str, str] = field(default_factory=dict)  # names on the disk that are not UTF-8

    def read(self, wanted: Sequence[tuple[str, str]]) -> Iterator[tuple[Blob, str | None]]:
        """Yields the blobs given by path and id, each with the reason to leave it out or None.

        The id that comes back differs from the one asked for where a file has just changed.
        """
        if self.folder is None:
            assert self.repo is not None
            yield from read_objects(self.repo, wanted, SEARCHING)
            return
        for path, oid in wanted:
            data, reason = _read(self.folder / self.raw.get(path, path))
            if reason is None:
                oid, reason = blob_id(data), searched_content(data, language_of(path))
            elif reason not in PASSING:  # it was not so when it was listed
                reason = "changed while it was read"
            yield Blob(path=path, oid=oid, data=data), reason


def searched_path(path: str) -> str | None:
    """The reason to leave a file out of a search by its path alone, or None."""
    reason = skip_path(path)
    return None if reason in _SEARCHED else reason


def searched_content(data: bytes, language: str | None) -> str | None:
    """The reason to leave a file out of a search for what it holds, or None."""
    reason = skip_content(data, language, smallest=1, largest=LARGEST, longest_line=LONGEST_LINE)
    if reason == "too small":
        return "empty"
    return None if reason in _SEARCHED else reason


SEARCHING = Rules(path=searched_path, content=searched_content, largest=LARGEST)


def list_source(
    source: str | os.PathLike[str],
    revision: str | None = None,
    *,
    known: Mapping[str, tuple[Stat, str]] | None = None,
    opened: Repository | None = None,
) -> Listing:
    """Lists a repository, a plain folder or a URL.

    Args:
        source: a working copy, a bare repository, a plain folder, or an https or ssh URL.
        revision: a branch, tag or commit; None for a working copy as it lies on the disk, and for
            what HEAD names elsewhere.
        known: the `stats` of an earlier listing of the same source.
        opened: the source at this revision, where `open_repo` has been called already.

    Raises:
        RepoError: it cannot be opened or listed.
    """
    text = os.fspath(source)
    where = public_url(text) if is_url(text) else str(Path(text).expanduser().resolve())
    opened = opened or open_repo(text, revision)
    if opened.git is None:
        listing = Listing(name=opened.name, source=where, revision="folder", commit=None)
        listing.folder = opened.folder
        _stat_files(listing, walk(opened.folder, listing.skips), known or {})
        return listing
    name, commit = opened.name, opened.commit
    if revision is None and (opened.folder / ".git").exists():
        listing = Listing(name=name, source=where, revision=WORKING_TREE, commit=commit)
        listing.folder, listing.git = opened.folder, opened.git
        _stat_files(listing, _tracked(opened.git, listing.skips), known or {})
        return listing
    listing = Listing(name=name, source=where, revision=revision or "HEAD", commit=commit)
    listing.repo = listing.git = opened.git
    assert commit is not None
    listed = list_files(opened.git, commit, listing.skips, SEARCHING)
    listing.files = {shown_path(path): oid for path, oid in listed}
    return listing


def working_paths(folder: Path) -> Iterator[str]:
    """The files of a working copy or a plain folder that may be searched, by their names alone.

    Raises:
        RepoError: it cannot be opened or listed.
    """
    opened = open_repo(folder)
    listed = walk(folder, Counter()) if opened.git is None else _tracked(opened.git, Counter())
    yield from (path for path in listed if searched_path(path) is None)


def _tracked(repo: Repo, skips: Counter[str]) -> Iterator[str]:
    """The files of a working copy that git tracks or does not ignore."""
    try:
        staged: bytes = repo.git.execute(
            ["git", *_SAFE, "ls-files", "-s", "-z"], stdout_as_string=False
        )
        others: bytes = repo.git.execute(
            ["git", *_SAFE, "ls-files", "-o", "-z", "--exclude-standard"], stdout_as_string=False
        )
    except GitCommandError as error:
        raise RepoError(f"{repo.working_dir} cannot be listed: {git_reason(error)}") from error
    seen = set()
    for entry in staged.split(b"\0"):
        described, _, raw = entry.partition(b"\t")
        path = os.fsdecode(raw)
        if not raw or path in seen:  # the stages of a conflict
            continue
        seen.add(path)
        mode = described.split(b" ", 1)[0].decode("ascii")
        if mode in NOT_FILES:
            leave_out(skips, NOT_FILES[mode], path)
        else:
            yield path
    yield from (os.fsdecode(raw) for raw in others.split(b"\0") if raw and not raw.endswith(b"/"))


def _stat_files(
    listing: Listing, paths: Iterator[str], known: Mapping[str, tuple[Stat, str]]
) -> None:
    """Fills a listing with the ids of files on the disk."""
    assert listing.folder is not None
    now = time.time_ns()
    for path in paths:
        reason = searched_path(path)
        if reason is None:
            file = listing.folder / path
            try:
                found = file.lstat()
            except OSError:
                continue  # deleted and not committed yet
            stat = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            shown = shown_path(path)
            before, oid = known.get(shown, (None, ""))
            if before != stat:
                data, reason = _read(file)
                oid = blob_id(data)
        if reason is not None:
            listing.skips.add(reason, path)
            continue
        listing.files[shown] = oid
        if shown != path:
            listing.raw[shown] = path
        if now - max(stat[1], stat[2]) > _UNSETTLED:
            listing.stats[shown] = (stat, oid)


def _read(file: Path) -> tuple[bytes, str | None]:
    """A file's bytes, or none and the reason why it is not read; a link is never followed."""
    try:
        if file.is_symlink():
            return b"", "link"
        if not file.is_file():
            return b"", "not a file"  # a pipe or a device: reading could block
        if file.stat().st_size > LARGEST:
            return b"", "too big"
        with file.open("rb") as opened:
            return opened.read(LARGEST + 1), None
    except OSError:
        return b"", "unreadable"
