"""Which repository a request belongs to, and whether a mixer that knows it takes part.

This is the one place that decides it. A mixer takes part where the request does not decline it,
its file is in a repository that is known here, that repository has been read, and nobody else has
the mixer at the moment: it follows one text at a time, and who comes meanwhile gets the model
alone. Reading goes on in the background, in turns, and again when a repository may have changed.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os.path import isfile  # unlike Path.is_file, of a name too long: no
from pathlib import Path
from typing import Any

from codebyte.apps.scheduler import Cancel, Turns
from codebyte.memory import give_back_now
from codebyte.mixing import Mixer
from codebyte.tasks.neighbours import Neighbours, root_of

MOST_KNOWN = 2  # repositories; each needs up to 100 MB
LOOK_AGAIN = 10.0  # seconds until a repository may have changed
WAIT = 0.02  # seconds for a mixer that is being told of a file


def served_repository(given: Path | None, *, local: bool, alone: bool) -> Path | None:
    """The repository that a server works in.

    Args:
        given: by name.
        local: whether only this machine is served: others see nothing that was not given by name.
        alone: whether there shall be none.
    """
    if alone or not (given or local):
        return None
    found = root_of(given or Path.cwd())
    return found or (given and given.absolute())


class Mixers:
    """The mixers of some repositories; safe to use from many threads.

    Args:
        turns: at the model, which reading a repository leaves to others.
        served: the repository that is worked in where a request does not tell.
        others: name and folder of others that requests may be about.
    """

    def __init__(
        self,
        turns: Turns,
        served: Path | None = None,
        others: Callable[[], Mapping[str, Path]] = dict,
    ) -> None:
        self._turns = turns
        self.served, self.others = served, others
        self._lock = threading.Lock()  # of the list
        self._known: OrderedDict[Path, _Known] = OrderedDict()

    @contextmanager
    def lent(
        self, path: str | None, repo: str | None = None, *, alone: bool = False
    ) -> Iterator[Mixer | None]:
        """Lends the mixer of a file's repository for one request; None where there is none.

        Args:
            path: the file, from the repository's folder on or from the root of the disk.
            repo: the repository's name, if the request says it.
            alone: whether the model shall be left alone.
        """
        place = None if alone else self.place(path, repo)
        if place is None:
            yield None
            return
        known = self._at(place[0])
        known.look(self._turns, place[1] or "")
        if not known.ready or known.lent or not known.free.acquire(timeout=WAIT):
            yield None
            return
        known.lent = True
        try:
            yield known.mixer
        finally:
            known.lent = False
            known.free.release()

    def named(self, path: str | None, repo: str | None = None) -> str | None:
        """The file's path in its repository, as the model is told it; the path if it is in none."""
        place = self.place(path, repo)
        return path if place is None else place[1] or path

    def about(self, path: str | None, repo: str | None = None) -> dict[str, Any] | None:
        """What is known of a file's repository, for people; None if it is in none."""
        place = self.place(path, repo)
        return None if place is None else self._at(place[0]).about()

    def place(self, path: str | None, repo: str | None) -> tuple[Path, str | None] | None:
        """The repository of a file, and the file's path in it; only those that are known here."""
        named = self.others() if repo or path else {}
        if repo:
            return (named[repo], path) if repo in named else None
        roots = [*([self.served] if self.served else []), *named.values()]
        if path and Path(path).is_absolute():
            inside = (root for root in roots if Path(path).is_relative_to(root))
            root = next(inside, None)
            return (root, Path(path).relative_to(root).as_posix()) if root else None
        if path and ".." not in Path(path).parts:
            root = next((root for root in roots if isfile(root / path)), self.served)
            return (root, path) if root else None
        return (self.served, None) if self.served else None

    def _at(self, root: Path) -> "_Known":
        with self._lock:
            known = self._known.setdefault(root, _Known(root))
            self._known.move_to_end(root)
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
            return known


class _Known:
    """One repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mixer = Mixer()
        self.free = threading.Lock()
        self.lent = False  # to a request, which may take long
        self.ready = False
        self._texts = Neighbours(root)
        self._looking = threading.Lock()
        self._looked = float("-inf")

    def about(self) -> dict[str, Any]:
        """Its name, and how much of it is known."""
        recall = self.mixer.recall
        return {
            "name": self.root.name,
            "files": len(recall.names),
            "bytes": recall.num_bytes,
            "ready": self.ready,
        }

    def look(self, turns: Turns, near: str) -> None:
        """Reads what is new in the background, if it is time to look again."""
        due = time.monotonic() > self._looked + LOOK_AGAIN
        if due and self._looking.acquire(blocking=False):
            threading.Thread(target=self._read, args=(turns, near), daemon=True).start()

    def _read(self, turns: Turns, near: str) -> None:
        try:
            with turns.turn(f"texts of {self.root}", Cancel()) as turn:
                turn.wrote()  # nobody waits for a first byte of this
                turn.pass_on()
                told = 0
                for change in self._texts.changes(near):
                    with self.free:  # before the turn: who has the mixer waits for turns
                        turn.take()
                        change.apply(self.mixer)
                        turn.pass_on()
                    told += 1
            self.ready = True
            if told:
                give_back_now()
        finally:
            self._looked = time.monotonic()
            self._looking.release()
