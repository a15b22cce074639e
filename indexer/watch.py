"""Follows folders on the disk and brings their index up to date as they change."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from watchfiles import watch

from codebyte.errors import CodebyteError, InputError
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.updating import Updated

_QUIET = {".codebyte", "__pycache__", "node_modules", ".venv", "venv"}


def follow(
    index: CodeIndex,
    sources: Sequence[str | os.PathLike[str]],
    *,
    settle_ms: int = 300,
    started: Callable[[], object] = lambda: None,
) -> Iterator[Updated | CodebyteError]:
    """Updates the index at once and after each change under some folders.

    Yields what each update did, or why it failed: it is then tried again until it succeeds.

    Args:
        index: of these folders.
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
    # Folders to be updated, with what was wrong last; at first all: any may have changed meanwhile.
    waiting = dict.fromkeys(folders, "")
    first = True
    for changes in watch(
        *folders,
        watch_filter=None,
        step=settle_ms,
        debounce=10_000,
        rust_timeout=settle_ms,
        yield_on_timeout=True,
    ):
        if first:
            started()
            first = False
        for folder in folders:
            if any(_matters(Path(path), folder) for _, path in changes):
                waiting.setdefault(folder, "")
        for folder, wrong in list(waiting.items()):
            try:
                done = index.update(folders[folder])
            except CodebyteError as error:
                waiting[folder] = str(error)
                if waiting[folder] != wrong:
                    yield error
            else:
                del waiting[folder]
                yield done


def _matters(path: Path, folder: Path) -> bool:
    """Whether a change can change what is indexed of a folder; of git's own files only HEAD can."""
    if not path.is_relative_to(folder):
        return False
    parts = path.relative_to(folder).parts
    if ".git" in parts:
        return parts[-1] in ("HEAD", "index")
    return not _QUIET & set(parts)
