"""What changed since a revision: which files, from which older content, and which lines."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from git import Git, Repo

from codebyte.errors import RepoError
from codebyte.indexer.repo import open_repo
from codebyte.tasks.scan_targets import is_unborn, list_commit, safe_git

_HUNK = re.compile(rb"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """The state that a scan compares with."""

    commit: str | None  # 40 hex digits; None before the first commit
    oids: Mapping[str, str]  # path -> id of the content
    renamed: Mapping[str, str]  # path now -> path then

    def old_oid(self, path: str) -> str | None:
        """The id of what a file was, under the name it had then; None for a new file."""
        return self.oids.get(self.renamed.get(path, path))


def find_base(repo: Repo, revision: str, commit: str | None) -> Base:
    """Gives the state to compare with: where the present one branched off from a revision.

    Args:
        repo: of the scanned files.
        revision: a branch, tag or commit.
        commit: the one that is scanned; None for the working copy, that is HEAD and its changes.

    Raises:
        RepoError: there is no such revision, or too little history to find where they parted.
    """
    if commit is None and revision == "HEAD" and is_unborn(repo):
        return Base(commit=None, oids={}, renamed={})
    now = commit or "HEAD"
    wanted = open_repo(repo.git_dir, revision).commit
    assert wanted is not None
    # As a review shows it: what others did to the base since then is no change of ours.
    try:
        base = safe_git(repo, ["merge-base", wanted, now]).decode("ascii").strip()
    except RepoError as error:
        if safe_git(repo, ["rev-parse", "--is-shallow-repository"]).strip() == b"true":
            raise RepoError(
                f"{repo.git_dir} is a shallow clone without the commit where {revision!r} and "
                f"{now[:12]} parted: fetch more history (fetch-depth: 0)"
            ) from error
        base = wanted  # two histories with nothing in common
    files = {path: oid for path, (_, oid, _) in list_commit(repo, base).items()}
    renamed = _renames(repo, ["diff-tree", "-r", base, now])
    if commit is None:
        renamed |= _renames(repo, ["diff-index", "--cached", base])
    return Base(commit=base, oids=files, renamed=renamed)


def changed_lines(old: bytes, new: bytes) -> frozenset[int]:
    """The lines of `new` that `old` does not have, from 1, as git's diff tells them."""
    with tempfile.TemporaryDirectory(prefix="codebyte-") as folder:
        Path(folder, "old").write_bytes(old)
        Path(folder, "new").write_bytes(new)
        git = Git(folder)
        # Neither the user's configuration nor a repository around the folder has a say.
        git.update_environment(
            GIT_CEILING_DIRECTORIES=folder, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull
        )
        options = ["--no-index", "--unified=0", "--no-ext-diff", "--no-textconv", "--no-color"]
        options += ["--text", "--ignore-cr-at-eol", "--diff-algorithm=histogram"]
        output = git.execute(
            ["git", "diff", *options, "old", "new"], with_exceptions=False, stdout_as_string=False
        )
    lines: set[int] = set()
    for hunk in _HUNK.finditer(bytes(output)):
        start, count = int(hunk[1]), int(hunk[2] or 1)
        lines.update(range(start, start + count))
    return frozenset(lines)


def _renames(repo: Repo, arguments: list[str]) -> dict[str, str]:
    """Gives path now -> path then of the files that a comparison of git's finds renamed."""
    options = ["-M", "-z", "--diff-filter=R", "--raw", "--no-abbrev"]
    raw = safe_git(repo, [*arguments[:1], *options, *arguments[1:]])
    parts = [os.fsdecode(part) for part in raw.split(b"\0") if part]
    # Of each file: what happened, the old path, the new path.
    return {parts[i + 2]: parts[i + 1] for i in range(0, len(parts) - 2, 3)}
