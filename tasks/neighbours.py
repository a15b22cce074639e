"""The other files of a repository, for a mixer to know: which, in what order, and what changed.

names -> nearest first, up to a limit -> read -> Mixer, nearest last: of equals the last is found
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from codebyte.errors import CodebyteError
from codebyte.indexer.languages import language_of
from codebyte.indexer.listing import searched_content, working_paths
from codebyte.mixing import Mixer

MOST_BYTES = 2 << 20  # of a repository; the mixer needs 64 MB and 18 bytes for each
MOST_AT_ONCE = 1 << 20  # where somebody waits for it: 1 s of processor time
LARGEST = 256 << 10  # bytes of one file
MOST_PATHS = 100_000  # looked at in a repository

_Stat = tuple[int, int]  # size, modified in ns


@dataclass(frozen=True, slots=True)
class Change:
    """One file to be told to a mixer: its text, or None where it is gone."""

    name: str
    text: bytes | None

    def apply(self, mixer: Mixer) -> None:
        """Tells it."""
        if self.text is None:
            mixer.recall.remove(self.name)
        else:
            mixer.recall.add(self.name, self.text)


class Neighbours:
    """What a mixer was told of a repository, and what it has to be told now.

    Args:
        root: the repository's folder.
        most: bytes of all files together.
    """

    def __init__(self, root: Path, most: int = MOST_BYTES) -> None:
        self.root = root
        self._most = most
        self._told: dict[str, tuple[_Stat, int]] = {}  # and how many bytes it has
        self._refused: dict[str, _Stat] = {}  # what was read and is not to be told

    def changes(self, near: str = "") -> Iterator[Change]:
        """What is new, changed or gone since the last time; nothing that is the same is read.

        Args:
            near: the path of the file that is worked in, whose neighbours matter most.
        """
        listed = self._listed()
        for name in [name for name in self._told if name not in listed]:
            del self._told[name]
            yield Change(name, None)
        new = {name for name in listed if self._told.get(name, (None,))[0] != listed[name]}
        left = self._most - sum(size for name, (_, size) in self._told.items() if name not in new)
        found = []
        for name in sorted(new, key=lambda name: _distance(name, near)):
            text = self._read(name, listed[name], left)
            known = self._told.pop(name, None)
            if text is None:
                if known is not None:
                    yield Change(name, None)
                continue
            left -= len(text)
            self._told[name] = listed[name], len(text)
            found.append(Change(name, text))
        yield from reversed(found)

    def _listed(self) -> dict[str, _Stat]:
        listed: dict[str, _Stat] = {}
        try:
            for name, _ in zip(working_paths(self.root), range(MOST_PATHS), strict=False):
                try:
                    stat = (self.root / name).lstat()
                except OSError:
                    continue  # deleted and not committed yet
                if 0 < stat.st_size <= LARGEST:
                    listed[name] = stat.st_size, stat.st_mtime_ns
        except CodebyteError:
            return {}  # a repository that git cannot list helps nobody
        return listed

    def _read(self, name: str, stat: _Stat, left: int) -> bytes | None:
        """A file's text, if it is worth telling and takes no more than what is left of the room."""
        if stat[0] > left or self._refused.get(name) == stat:
            return None
        file = self.root / name
        try:
            if file.is_symlink() or not file.is_file():
                return None
            with file.open("rb") as opened:
                text = opened.read(LARGEST + 1)
        except OSError:
            return None
        if len(text) <= left and searched_content(text, language_of(name)) is None:
            return text
        self._refused[name] = stat
        return None


def mixer_for(root: Path, near: str = "", most: int = MOST_BYTES) -> Mixer:
    """A mixer that knows a repository, nearest files first.

    Args:
        root: the repository's folder.
        near: the path of the file that is worked in.
        most: bytes of all files together.
    """
    mixer = Mixer()
    for change in Neighbours(root, most).changes(near):
        change.apply(mixer)
    return mixer


def mixer_in(path: str | None) -> tuple[str | None, Mixer | None]:
    """For one completion: a file's path in its repository, and a mixer that knows the others.

    Args:
        path: the file, which need not exist; a text without a name is in no repository.
    """
    root = root_of(Path(path)) if path else None
    if path is None or root is None:
        return path, None
    name = Path(os.path.normpath(Path(path).absolute())).relative_to(root).as_posix()
    return name, mixer_for(root, name, MOST_AT_ONCE)


def root_of(file: Path) -> Path | None:
    """The folder of the repository that a file or folder is in; None if it is in none."""
    file = Path(os.path.normpath(file.absolute()))
    return next((it for it in (file, *file.parents) if (it / ".git").exists()), None)


def _distance(name: str, near: str) -> tuple[bool, int, str]:
    """Of a file from another: another language, then folders to go up and down."""
    folders, others = PurePosixPath(name).parts[:-1], PurePosixPath(near).parts[:-1]
    same = next((i for i, (a, b) in enumerate(zip(folders, others, strict=False)) if a != b), None)
    same = min(len(folders), len(others)) if same is None else same
    return language_of(name) != language_of(near), len(folders) + len(others) - 2 * same, name
