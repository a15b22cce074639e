"""Which files a scan looks at: of a working copy as it stands, a commit, a folder, or one file.

A working copy is read from its folder, so that work in progress counts: the files that git tracks
and new ones that it does not ignore. Links and submodules are not followed, and nothing that the
repository's own configuration names is run.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from git import GitCommandError, Repo

from codebyte.errors import InputError, RepoError
from codebyte.indexer.clone import git_reason, is_url, public_url
from codebyte.indexer.repo import open_git, open_repo

_NO_WALK = {".git", ".hg", ".svn", ".tox", ".venv", "venv", "node_modules", "__pycache__"}
_SAFE_GIT = ("git", "-c", "core.fsmonitor=false", "--literal-pathspecs")
_NOT_FILES = {"160000": "submodule", "120000": "link"}  # by git's mode


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One file to look at."""

    path: str  # from the top of the repository or folder, with forward slashes
    size: int  # bytes
    oid: str | None  # git's id of the content; None where it is only known once read


@dataclass(kw_only=True, slots=True)
class Tree:
    """The files under one place, and how to read them."""

    name: str  # what people called it, without any password in it
    root: Path  # what paths are relative to
    targets: list[Target]  # in order of path
    inside: str = ""  # what below the root was asked for; "" for all
    repo: Repo | None = None  # None for a plain folder
    commit: str | None = None  # None for a folder as it stands
    skipped: dict[str, str] = field(default_factory=dict)  # path -> why it is no target

    @property
    def scope(self) -> str:
        """What tells the files that are looked at together from those of any other place."""
        return f"{self.root}\0{self.inside}"

    def read(self, target: Target) -> bytes:
        """The content of a file.

        Raises:
            OSError: it cannot be read, or is no longer the regular file that was listed.
        """
        if self.commit is not None:
            assert target.oid is not None
            return self.read_object(target.oid)
        path = self.root / target.path
        # Between the listing and now, nothing outside the folder may have come into its place.
        if not _is_inside(path.parent, self.root):
            raise OSError("it lies behind a link")
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | _NO_BLOCK | _BINARY)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError("it is not a file")
            data = file.read(target.size + 1)
            if len(data) > target.size:  # it grew: read on, though not without end
                data += file.read(target.size + (1 << 20))
            return data

    def read_object(self, oid: str) -> bytes:
        """The content that git keeps under an id.

        Raises:
            OSError: the object is missing.
        """
        assert self.repo is not None
        try:
            data: bytes = self.repo.git.get_object_data(oid)[3]
        except (ValueError, GitCommandError, OSError) as error:
            self.repo.git.clear_cache()  # git may have ended with the object
            raise OSError("it is missing in the clone") from error
        return data


_NO_BLOCK = getattr(os, "O_NONBLOCK", 0)  # a pipe that took a file's place would block
_BINARY = getattr(os, "O_BINARY", 0)


def open_tree(
    path_or_url: str | os.PathLike[str],
    revision: str | None = None,
    *,
    history: bool = False,
    cache: str | os.PathLike[str] | None = None,
    fetch: bool = True,
) -> Tree:
    """Lists the files of a place.

    Args:
        path_or_url: a file, a folder, a repository or a folder inside one, or a URL to clone.
        revision: of a repository; None for a working copy as it stands, or HEAD of a bare one.
        history: whether a clone needs the history, to compare with an older revision.
        cache: where clones of URLs are kept.
        fetch: whether to bring a clone that is there up to date; False asks no remote for it.

    Raises:
        InputError: there is no such file or folder.
        RepoError: it cannot be opened, or has no such revision.
    """
    text = os.fspath(path_or_url)
    if is_url(text):
        wanted = revision or ("HEAD" if history else None)
        opened = open_repo(text, wanted, cache, fetch=fetch)
        assert opened.git is not None
        assert opened.commit is not None
        return _commit_tree(opened.git, opened.commit, opened.folder, public_url(text), "")
    place = Path(text).expanduser()
    if not place.exists():
        raise InputError(f"{text} does not exist: give a file, a folder, a repository or a URL")
    place = place.resolve()
    top = _top(place)
    if top is None:
        if revision is not None:
            raise RepoError(f"{text} is in no git repository, so it has no revision {revision!r}")
        return _plain_tree(place, text)
    inside = place.relative_to(top).as_posix() if place != top else ""
    if revision is not None or _is_bare(top):
        opened = open_repo(top, revision)
        assert opened.git is not None
        assert opened.commit is not None
        return _commit_tree(opened.git, opened.commit, top, text, inside)
    try:
        repo = open_repo(top).git
    except RepoError:
        repo = _before_commits(top)
        if repo is None and history:
            raise
    if repo is None:  # an empty .git, or a broken one: its files can be read all the same
        return _plain_tree(place, text)
    tree = _working_tree(repo, top, text, inside)
    # What git ignores is still scanned where it was asked for by name.
    return tree if tree.targets or history else _plain_tree(place, text)


def blob_id(data: bytes) -> str:
    """Git's id of a content."""
    head = b"blob %d\0" % len(data)
    return hashlib.sha1(head + data, usedforsecurity=False).hexdigest()


def is_unborn(repo: Repo) -> bool:
    """Whether HEAD names a branch that has no commit yet."""
    try:
        safe_git(repo, ["rev-parse", "--verify", "--quiet", "HEAD"])
    except RepoError:
        return True
    return False


def _before_commits(top: Path) -> Repo | None:
    """The repository of a working copy before its first commit, which `open_repo` refuses."""
    repo = open_git(top)
    return repo if repo is not None and is_unborn(repo) else None


def _top(place: Path) -> Path | None:
    """The top folder of the working copy, or the bare repository, that a place lies in."""
    if place.is_dir() and _is_bare(place):
        return place
    return next((parent for parent in (place, *place.parents) if (parent / ".git").exists()), None)


def _is_bare(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir()


def _plain_tree(place: Path, name: str) -> Tree:
    if not place.is_dir():
        size = place.stat().st_size if place.is_file() else 0
        tree = Tree(name=name, root=place.parent, targets=[], inside=place.name)
        if place.is_file():
            tree.targets.append(Target(path=place.name, size=size, oid=None))
        else:
            tree.skipped[place.name] = "not a file"
        return tree
    tree = Tree(name=name, root=place, targets=[])
    for path in _walk(place, tree.skipped):
        _add(tree, path)
    return tree


def _walk(folder: Path, skipped: dict[str, str]) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        path = os.path.relpath(error.filename, folder)
        skipped[path] = f"unreadable: {error.strerror}"

    for parent, folders, names in os.walk(folder, followlinks=False, onerror=unreadable):
        folders[:] = sorted(set(folders) - _NO_WALK)
        for name in sorted(names):
            yield Path(parent, name).relative_to(folder).as_posix()


def _working_tree(repo: Repo, top: Path, name: str, inside: str) -> Tree:
    # The work tree is named, since the repository's own configuration may name another folder.
    repo.git.update_environment(GIT_WORK_TREE=os.fspath(top))
    options = ["-z", "--cached", "--others", "--exclude-standard", "--full-name"]
    listed = safe_git(repo, ["ls-files", *options, "--", inside or "."])
    tree = Tree(name=name, root=top, targets=[], inside=inside, repo=repo)
    for path in sorted({os.fsdecode(raw) for raw in listed.split(b"\0") if raw}):
        _add(tree, path)
    return tree


def _add(tree: Tree, path: str) -> None:
    """Adds a file of the folder to the targets, or to what is skipped."""
    file = tree.root / path
    try:
        found = file.lstat()
        if stat.S_ISLNK(found.st_mode) or not _is_inside(file.parent, tree.root):
            tree.skipped[path] = "link"
        elif stat.S_ISDIR(found.st_mode):
            tree.skipped[path] = "submodule"
        elif not stat.S_ISREG(found.st_mode):
            tree.skipped[path] = "not a file"
        else:
            tree.targets.append(Target(path=path, size=found.st_size, oid=None))
    except FileNotFoundError:
        pass  # deleted, and not yet committed
    except OSError as error:
        tree.skipped[path] = f"unreadable: {error.strerror or error}"


def _is_inside(folder: Path, root: Path) -> bool:
    return Path(os.path.realpath(folder)).is_relative_to(root)


def _commit_tree(repo: Repo, commit: str, root: Path, name: str, inside: str) -> Tree:
    tree = Tree(name=name, root=root, targets=[], inside=inside, repo=repo, commit=commit)
    for path, (mode, oid, size) in list_commit(repo, commit, inside).items():
        if mode in _NOT_FILES:
            tree.skipped[path] = _NOT_FILES[mode]
        else:
            tree.targets.append(Target(path=path, size=size, oid=oid))
    if inside and not tree.targets:
        raise InputError(f"{inside} does not exist at {commit[:12]}: give a path that it has")
    return tree


def list_commit(repo: Repo, commit: str, inside: str = "") -> dict[str, tuple[str, str, int]]:
    """The files of a commit: path -> git's mode, id of the content, and bytes.

    Raises:
        RepoError: git cannot list the commit.
    """
    where = ["--", inside] if inside else []
    listing = safe_git(repo, ["ls-tree", "-r", "-z", "-l", "--full-tree", commit, *where])
    found = {}
    for entry in listing.split(b"\0"):
        if entry.strip():
            described, _, path = entry.partition(b"\t")
            mode, _, oid, size = described.decode("ascii").split()
            found[os.fsdecode(path)] = (mode, oid, int(size) if size.isdecimal() else 0)
    return found


def safe_git(repo: Repo, arguments: list[str]) -> bytes:
    """The output of a git command, with no program run that the repository's settings name.

    Raises:
        RepoError: git ends with an error.
    """
    try:
        output: bytes = repo.git.execute([*_SAFE_GIT, *arguments], stdout_as_string=False)
    except GitCommandError as error:
        reason = git_reason(error)
        raise RepoError(f"git {arguments[0]} fails in {repo.git_dir}: {reason}") from error
    return output
