"""Reads files worth reading, from git objects with no checkout or from a plain folder.

Each file left out is counted under its reason. Objects are read by one `git cat-file --batch`.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from git import GitCommandError, Repo

from codebyte.errors import RepoError
from codebyte.indexer.clone import git_reason
from codebyte.indexer.filters import MAX_BYTES, skip_content, skip_path
from codebyte.indexer.languages import language_of
from codebyte.indexer.skips import leave_out

NOT_FILES = {"160000": "submodule", "120000": "link"}  # by git's mode
_PRUNED = {".git", ".hg", ".svn", ".tox", ".venv", "venv", "node_modules", "__pycache__"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """One file, as it is stored."""

    path: str  # inside its repository, with forward slashes
    oid: str  # git's id of the content, computed for a plain folder too
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What to leave out; of each judgement, the reason or None."""

    path: Callable[[str], str | None] = skip_path
    content: Callable[[bytes, str | None], str | None] = skip_content
    largest: int = MAX_BYTES  # more is never read


TRAINING = Rules()


def read_git(repo: Repo, commit: str, skips: MutableMapping[str, int]) -> Iterator[Blob]:
    """Yields the files of a commit in order of path.

    Raises:
        RepoError: git cannot list the commit.
    """
    for blob, reason in read_objects(repo, list_files(repo, commit, skips)):
        if reason is None:
            yield blob
        else:
            leave_out(skips, reason, blob.path)


def read_objects(
    repo: Repo, wanted: Sequence[tuple[str, str]], rules: Rules = TRAINING
) -> Iterator[tuple[Blob, str | None]]:
    """Reads blobs, given by path and id, in order: each with the reason to leave it out, or None.

    A blob that is left out may come without its data.
    """
    while wanted:
        # git before 2.44 dies on an object it may not fetch: count that one and go on behind it.
        done = 0
        for found in _cat_files(repo, wanted, rules):
            done += 1
            yield found
        if done < len(wanted):
            path, oid = wanted[done]
            yield Blob(path=path, oid=oid, data=b""), "missing in the clone"
        wanted = wanted[done + 1 :]


def read_folder(folder: Path, skips: MutableMapping[str, int]) -> Iterator[Blob]:
    """Yields the files under a folder; links are counted, not followed."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(set(folders) - _PRUNED)
        for name in sorted(names):
            file = Path(parent, name)
            path = file.relative_to(folder).as_posix()
            data = b""
            try:
                reason = _skip_file(file) or skip_path(path)
                if reason is None:
                    data = file.read_bytes()
                    reason = skip_content(data, language_of(path))
            except OSError:
                reason = "unreadable"
            if reason is None:
                yield Blob(path=path, oid=blob_id(data), data=data)
            else:
                leave_out(skips, reason, path)


def list_files(
    repo: Repo, commit: str, skips: MutableMapping[str, int], rules: Rules = TRAINING
) -> list[tuple[str, str]]:
    """Path and object id of each file of a commit that its path does not rule out.

    Raises:
        RepoError: git cannot list the commit.
    """
    listed = []
    options = ["-r", "-z", "--full-tree"]
    try:
        listing: bytes = repo.git.ls_tree(*options, commit, stdout_as_string=False)
    except GitCommandError as error:
        message = f"{repo.git_dir} cannot list commit {commit[:12]}: {git_reason(error)}"
        raise RepoError(message) from error
    for entry in listing.split(b"\0"):
        if not entry.strip():
            continue
        described, _, raw_path = entry.partition(b"\t")
        mode, _, oid = described.decode("ascii").split(" ")
        path = os.fsdecode(raw_path)
        reason = NOT_FILES.get(mode) or rules.path(path)
        if reason is None:
            listed.append((path, oid))
        else:
            leave_out(skips, reason, path)
    return listed


def _cat_files(
    repo: Repo, wanted: Sequence[tuple[str, str]], rules: Rules
) -> Iterator[tuple[Blob, str | None]]:
    """Yields each wanted file and the reason to leave it out or None, until git stops."""
    with tempfile.TemporaryFile() as requests:  # not a pipe: neither side can block the other
        requests.write("".join(oid + "\n" for _, oid in wanted).encode("ascii"))
        requests.seek(0)
        process = repo.git.cat_file("--batch", istream=requests, as_process=True)
        output: IO[bytes] = process.stdout
        try:
            for path, oid in wanted:
                header = output.readline().split()
                if header[1:] == [b"missing"]:
                    yield Blob(path=path, oid=oid, data=b""), "missing in the clone"
                    continue
                if len(header) != 3:
                    return
                size = int(header[2])
                if size > rules.largest:
                    _pass_over(output, size + 1)
                    yield Blob(path=path, oid=oid, data=b""), "too big"
                else:
                    data = output.read(size + 1)[:size]
                    reason = rules.content(data, language_of(path))
                    yield Blob(path=path, oid=oid, data=data), reason
        finally:
            process.proc.kill()
            process.proc.wait()
            output.close()
            process.stderr.close()


def blob_id(data: bytes) -> str:
    """The id that git gives content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _pass_over(stream: IO[bytes], size: int) -> None:
    while size > 0 and (piece := stream.read(min(size, 1 << 20))):
        size -= len(piece)


def _skip_file(file: Path) -> str | None:
    if file.is_symlink():
        return "link"
    if not file.is_file():
        return "not a file"  # a pipe or a device: reading could block
    return "too big" if file.stat().st_size > MAX_BYTES else None
