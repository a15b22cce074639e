"""Follows folders on the disk and brings their index up to date as they change."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from watchfiles import watch

from codebyte.errors import InputError
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.updating import Updated

_QUIET = {".codebyte", "__pycache__", "node_modules", ".venv", "venv"}


def follow(
    index: CodeIndex,
    sources: Sequence[str | os.PathLike[str]],
    *,
    settle_ms: int = 300,
    started: Callable[[], object] = lambda: None,
) -> Iterator[Updated]:
    """Updates the index after each change under some folders, and says what that did.

    Args:
        index: which has these folders already.
        sources: local folders.
        settle_ms: how long nothing must change before what changed is read.
        started: called once changes are seen.

    Raises:
        InputError: a source is not a local folder.
    """
    folders = {Path(source).expanduser().resolve(): source for source in sources}
    for folder, source in folders.items():
        if not folder.is_dir():
            raise InputError(f"{source} is not a folder, so it cannot be watched")
    first = True
    for changes in watch(
        *folders,
        watch_filter=lambda _, path: _matters(path),
        step=settle_ms,
        debounce=10_000,
        rust_timeout=settle_ms,
        yield_on_timeout=True,
    ):
        if first:
            started()
            first = False
        changed = {Path(path) for _, path in changes}
        for folder, source in folders.items():
            if any(path.is_relative_to(folder) for path in changed):
                yield index.update(source)


def _matters(path: str) -> bool:
    """Whether a change of a path can change what is indexed; of git's own files only HEAD can."""
    parts = Path(path).parts
    if ".git" in parts:
        return parts[-1] in ("HEAD", "index")
    return not _QUIET & set(parts)
