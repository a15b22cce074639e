"""Prompt caches for those who ask: whoever types on is given the one that knows the text so far.

A cache is found by what it remembers, not by a name: clients of the common APIs have none, and a
new connection for every request. At most so many are kept, the one unused for longest goes first.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from codebyte.megabyte import Megabyte
from codebyte.memory import give_back_now
from codebyte.tasks.completion import Completer

MOST_CACHES = 16  # about 2.3 KB of memory for each byte of a prompt: 5 MB for 2 KB of code
MOST_OF_ONE = 2  # of them, of one client, once the others' are at stake
_MUCH = 1024  # bytes whose reading leaves enough free to give it back: 2 MB after 2 KB
_ENOUGH = 0.5  # share of the text before the caret that must be known already


class Caches:
    """A bounded number of completers over one model, each with one request at a time."""

    def __init__(self, model: Megabyte, most: int = MOST_CACHES) -> None:
        self._model, self._most = model, most
        self._lock = threading.Lock()
        self._caches: list[_Cache] = []  # the one used last is the last

    @contextmanager
    def taken(
        self,
        client: str,
        prefix: bytes,
        suffix: bytes,
        path: str | None,
        cancel: threading.Event,
    ) -> Iterator["Lent"]:
        """Lends the completer that knows most of a prompt, for one request.

        Args:
            client: who asks; gives up caches of its own first.
            prefix: before the caret.
            suffix: after it.
            path: as told to the model.
            cancel: set once the request is of no use; who types on then waits for its completer.
        """
        with self._lock:
            cache = self._pick(client, prefix, suffix, path)
            unread = len(prefix) - cache.known(prefix, suffix, path)
            unread += 0 if unread < len(prefix) else len(suffix)
            cache.client, cache.cancel, cache.users = client, cancel, cache.users + 1
            cache.prompt = (prefix, suffix, path)
            self._caches.append(cache)
        try:
            with cache.busy:
                yield Lent(cache.completer, unread)
        finally:
            with self._lock:
                cache.users -= 1
                del self._caches[: max(0, len(self._caches) - self._most)]
            if unread >= _MUCH:
                give_back_now()

    def __len__(self) -> int:
        with self._lock:
            return len(self._caches)

    def _pick(self, client: str, prefix: bytes, suffix: bytes, path: str | None) -> "_Cache":
        """The best cache, taken off the list."""
        # One whose request was given up is free within a byte: better to wait than start anew.
        free = [it for it in self._caches if not it.users or it.cancel.is_set()]
        best = max(free, key=lambda it: it.known(prefix, suffix, path), default=None)
        if best is None or best.known(prefix, suffix, path) <= _ENOUGH * len(prefix):
            idle = [it for it in free if not it.users]
            full = len(self._caches) >= self._most
            own = [it for it in idle if it.client == client]
            best = own[0] if len(own) >= MOST_OF_ONE else idle[0] if full and idle else None
        if best is None:
            return _Cache(Completer(self._model))
        self._caches.remove(best)
        return best


@dataclass(frozen=True, slots=True)
class Lent:
    """A completer, and how many bytes of the prompt it has not been given yet."""

    completer: Completer
    unread: int


class _Cache:
    """A completer, and the prompt that it was given last."""

    def __init__(self, completer: Completer) -> None:
        self.completer = completer
        self.busy = threading.Lock()
        self.users = 0  # requests that have it or wait for it
        self.client = ""
        self.prompt: tuple[bytes, bytes, str | None] = (b"", b"", None)
        self.cancel = threading.Event()

    def known(self, prefix: bytes, suffix: bytes, path: str | None) -> int:
        """How many bytes of the prefix it has read; none if another suffix came before them."""
        return common(prefix, self.prompt[0]) if (suffix, path) == self.prompt[1:] else 0


def common(one: bytes, other: bytes) -> int:
    """Length of the longest common beginning, by halving."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
