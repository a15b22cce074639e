"""Which files of a repository adaptation is measured on: the newest ones, which it never reads.

Where there is history, "newest" is by the commit that added the file, so the figures answer what
matters: how the model does on code that is yet to be written. Without history, files are drawn by a
hash of their path.
"""

import hashlib
from collections.abc import Sequence

from git import GitCommandError

from codebyte.errors import CorpusError
from codebyte.indexer.repo import Repository, SourceFile

SHARE = 0.1  # of the bytes that are held out
MOST_BYTES = 128 << 10  # and no more than these


def split_files(
    repo: Repository, files: Sequence[SourceFile]
) -> tuple[list[SourceFile], list[SourceFile], str]:
    """Splits files into those to learn from and those held out.

    Returns:
        Both, in order of path, and what the choice went by: "commit time" or "path".

    Raises:
        CorpusError: if there are fewer than two files.
    """
    if len(files) < 2:
        raise CorpusError(
            f"{repo.name} has {len(files)} files worth reading, and adaptation needs two or more: "
            "one to learn from and one to measure on"
        )
    times = added_at(repo)
    known = len({times[file.path] for file in files if file.path in times}) > 1
    ordered = sorted(
        files, key=lambda file: (-times.get(file.path, 0) if known else 0, _digest(file))
    )
    wanted = min(MOST_BYTES, SHARE * sum(len(file.data) for file in files))
    held: list[SourceFile] = []
    total = 0
    for file in ordered[:-1]:
        if total and total + len(file.data) > 1.5 * wanted:
            continue
        held.append(file)
        total += len(file.data)
        if total >= wanted:
            break
    paths = {file.path for file in held}
    rest = [file for file in files if file.path not in paths]
    return rest, sorted(held, key=lambda file: file.path), "commit time" if known else "path"


def added_at(repo: Repository) -> dict[str, int]:
    """When each path was last added, in seconds since 1970; empty without a readable history."""
    if repo.git is None or repo.commit is None:
        return {}
    options = ["-z", "--format=%x01%ct", "--diff-filter=A", "--no-renames", "--name-only"]
    try:
        log: str = repo.git.git.log(*options, repo.commit, "--")
    except GitCommandError:
        return {}
    times: dict[str, int] = {}
    moment = 0
    for part in log.replace("\n", "\0").split("\0"):
        if part.startswith("\x01"):
            moment = int(part[1:])
        elif part:
            times.setdefault(part, moment)
    return times


def _digest(file: SourceFile) -> bytes:
    path = file.path.encode("utf-8", "surrogateescape")
    return hashlib.sha1(path, usedforsecurity=False).digest()
