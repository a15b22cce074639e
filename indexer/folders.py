"""Walks a plain folder as its ignore files say, where there is no git to ask."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

from codebyte.indexer.skips import leave_out

IGNORE_FILES = (".gitignore", ".ignore")
LARGEST_IGNORE_FILE = 1 << 20  # bytes
_PRUNED = {".git", ".hg", ".svn", ".tox", ".venv", "venv", "node_modules", "__pycache__"}
_PRUNED |= {".codebyte", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def walk(folder: Path, skips: Counter[str]) -> Iterator[str]:
    """Yields the path of each file that no ignore file names, in order; links are not followed.

    Args:
        folder: where to start; the ignore files above it do not count.
        skips: counts links under "link".
    """
    rules: dict[str, list[tuple[str, GitIgnoreSpec]]] = {}  # by folder: its own and those above
    for parent, folders, names in os.walk(folder, followlinks=False):
        inside = os.path.relpath(parent, folder).replace(os.sep, "/")
        inside = "" if inside == "." else inside + "/"
        above = rules.get(os.path.dirname(inside.rstrip("/")), []) if inside else []
        here = [spec for name in IGNORE_FILES if name in names and (spec := _load(parent, name))]
        held = rules[inside.rstrip("/")] = [*above, *((inside, spec) for spec in here)]
        kept = []
        for name in sorted(set(folders) - _PRUNED):
            if os.path.islink(os.path.join(parent, name)):
                leave_out(skips, "link", inside + name)
            elif not _ignored(f"{inside}{name}/", held):
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            path = inside + name
            if _ignored(path, held):
                continue
            if os.path.islink(os.path.join(parent, name)):
                leave_out(skips, "link", path)
            else:
                yield path


def _load(parent: str, name: str) -> GitIgnoreSpec | None:
    try:
        with Path(parent, name).open("rb") as file:
            text = file.read(LARGEST_IGNORE_FILE).decode("utf-8", "replace")
        return GitIgnoreSpec.from_lines(text.splitlines())
    except (OSError, ValueError):
        return None  # as git does with one it cannot read


def _ignored(path: str, rules: list[tuple[str, GitIgnoreSpec]]) -> bool:
    """Whether the last rule that speaks about a path, innermost file first, leaves it out."""
    for base, spec in reversed(rules):
        include = spec.check_file(path.removeprefix(base)).include
        if include is not None:
            return include
    return False
