"""Repositories as a source of files: working copies, bare ones, plain folders and URLs.

A repository is data, never instructions: no hook is run, no submodule or link is followed, and no
option is taken from a path, a URL or a revision.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from git import GitCommandError, InvalidGitRepositoryError, Repo

from codebyte.errors import CorpusError, RepoError
from codebyte.indexer.blobs import Blob, read_folder, read_git
from codebyte.indexer.clone import CLONE_SECONDS, clone, is_url, public_url, url_name
from codebyte.indexer.languages import language_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """An opened repository: a git folder and a commit, or a plain folder."""

    name: str  # "owner/name" from a URL, else the folder's name
    folder: Path
    git: Repo | None = None  # None for a plain folder
    commit: str | None = None  # 40 hex digits; None for a plain folder


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One file of one of many repositories; what a corpus is written from."""

    repo: str
    path: str
    language: str  # "" where the name tells none
    data: bytes


def open_repo(
    path_or_url: str | os.PathLike[str],
    revision: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    *,
    timeout: float = CLONE_SECONDS,
    fetch: bool = True,
) -> Repository:
    """Opens a working copy, a bare repository, a plain folder, or the clone of a URL.

    Args:
        path_or_url: a local folder, or an https or ssh URL.
        revision: a branch, tag or commit; None for what HEAD names.
        cache: where clones of URLs are kept, see `codebyte.indexer.clone`.
        timeout: seconds a clone may take.
        fetch: whether to bring a clone that is there up to date; False asks no remote for it.

    Raises:
        RepoError: it cannot be opened, has no commit, or has no such revision.
    """
    text = os.fspath(path_or_url)
    if is_url(text):
        folder, name = clone(text, revision, cache, timeout, fetch), url_name(text)
    else:
        folder = Path(text).expanduser().resolve()
        name = folder.name.removesuffix(".git") or folder.parent.name
    label = public_url(text)
    if not folder.is_dir():
        raise RepoError(f"{label} is not a folder: give a git repository, a plain folder or a URL")
    repo = open_git(folder)
    if repo is None:
        if revision is not None:
            raise RepoError(f"{label} is a plain folder without revision {revision!r}")
        return Repository(name=name, folder=folder)
    return Repository(name=name, folder=folder, git=repo, commit=_resolve(repo, revision, label))


def open_git(folder: Path) -> Repo | None:
    """The repository in a folder, which may have no commit yet; None for a plain folder."""
    try:
        repo = Repo(folder)
    except InvalidGitRepositoryError:
        return None
    repo.git.update_environment(
        GIT_DIR=os.fspath(repo.git_dir),  # also finds a bare folder that lacks its config
        GIT_OPTIONAL_LOCKS="0",
        GIT_NO_LAZY_FETCH="1",  # a blob that a partial clone lacks stays missing
        GIT_ALLOW_PROTOCOL="none",  # for git before 2.44, which ignores the line above
    )
    return repo


def read_blobs(
    repo: Repository,
    revision: str | None = None,
    skips: MutableMapping[str, int] | None = None,
) -> Iterator[Blob]:
    """Reads every file worth reading, in order of path.

    Args:
        repo: from `open_repo`.
        revision: another revision than the one it was opened at.
        skips: counts each file left out under its reason.

    Raises:
        RepoError: the revision does not exist, or git cannot list it.
    """
    skips = Counter() if skips is None else skips
    if repo.git is None:
        if revision not in (None, "HEAD"):
            raise RepoError(f"{repo.folder} is a plain folder without revision {revision!r}")
        yield from read_folder(repo.folder, skips)
        return
    commit = repo.commit if revision is None else None
    commit = commit or _resolve(repo.git, revision, str(repo.folder))
    yield from read_git(repo.git, commit, skips)


def documents(
    sources: Iterable[str | os.PathLike[str] | Repository],
    *,
    revision: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    skips: MutableMapping[str, int] | None = None,
    failures: MutableMapping[str, str] | None = None,
) -> Iterator[SourceFile]:
    """Reads many sources one after the other; one that fails is reported and left behind.

    Args:
        sources: folders, URLs, opened repositories, or single files (taken whole, unfiltered).
        revision: of every repository among the sources that is not opened yet.
        cache: where clones of URLs are kept.
        skips: counts each file left out under its reason.
        failures: source -> the sentence that says what was wrong with it.

    Raises:
        CorpusError: there was no source, or every one failed.
    """
    skips = Counter() if skips is None else skips
    failures = {} if failures is None else failures
    total = failed = 0
    for source in sources:
        total += 1
        label = str(source.folder) if isinstance(source, Repository) else os.fspath(source)
        try:
            if not isinstance(source, Repository) and os.path.isfile(label):
                yield _read_file(Path(label))
                continue
            repo = source if isinstance(source, Repository) else open_repo(source, revision, cache)
            for blob in read_blobs(repo, skips=skips):
                language = language_of(blob.path) or ""
                yield SourceFile(repo=repo.name, path=blob.path, language=language, data=blob.data)
        except (RepoError, OSError) as error:
            failed += 1
            failures[public_url(label)] = str(error)
    if not total:
        raise CorpusError("there is nothing to read: name a repository, a folder, a file or a URL")
    if failed == total:
        listed = "; ".join(failures.values())
        raise CorpusError(f"none of the {total} sources could be read: {listed}")


def _resolve(repo: Repo, revision: str | None, label: str) -> str:
    name = "HEAD" if revision is None else revision
    try:
        options = ["--verify", "--quiet", "--end-of-options"]
        return str(repo.git.rev_parse(*options, name + "^{commit}")).strip()
    except (GitCommandError, ValueError) as error:
        wanted = "give a branch, a tag or a commit id"
        problem = f"no revision {revision!r}: {wanted}"
        if revision is None:
            problem = "no commit yet: commit something first"
        raise RepoError(f"{label} has {problem}") from error


def _read_file(path: Path) -> SourceFile:
    language = language_of(path.name) or ""
    return SourceFile(repo=path.stem, path=path.name, language=language, data=path.read_bytes())
