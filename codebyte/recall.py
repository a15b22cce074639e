r"""What stands in a repository: where each context stood last, and what followed it how often.

A context is the bytes before a place. For some lengths a table has the last place where a context
of the same hash stood, from which older places in other files are reached; the bytes there are
compared, so a hash is never trusted. For some shorter lengths, hashed counters tell how often each
byte followed.

    x = foo(1)\ny = foo(      the context " = foo(" stood before the "1", and "1" followed it once

Files come and go: what a file added is taken off again. A file may also be hidden for a while, so
that its own text does not tell what stands in it.

Axes: n places, m lengths of matches, o lengths of counted contexts, k candidates.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from codebyte.contexts import REACH, Bytes, Hashes, context_hashes, mixed

MATCHED = (24, 12, 6, 4)  # lengths of the contexts whose last place is known
COUNTED = (2, 3, 4, 5, 6)  # lengths of those after which bytes are counted
MOST_BYTES = 8 << 20  # kept of a repository; memory is 18 bytes for each, and 64 MB
_HEAD_BITS = 21  # of a slot in the table of last places
_COUNTER_BITS = 23  # of the number of a counter
_HOPS = 8  # older places tried where the last one is hidden or gone
_SLACK = 1 << 20  # bytes of removed files that are left lying
_STEP = np.uint64(0x9E3779B97F4A7C15)

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Matches:
    """Where contexts stood before."""

    places: Ints  # (m, n), of the byte that followed; 0 for none
    lengths: Ints  # (m, n), bytes that agree before it, at most REACH; 0 for none
    bytes: Bytes  # (m, n), the byte that followed


class Recall:
    """The texts of a repository, to be asked what followed a context."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._clear(1 << 16)

    def _clear(self, room: int) -> None:
        self._text = np.zeros(room, np.uint8)
        self._shown = np.zeros(room, bool)
        self._older = np.zeros((room, len(MATCHED)), np.int32)
        self._heads = np.zeros((len(MATCHED), 1 << _HEAD_BITS), np.int32)
        self._counters = np.zeros(1 << _COUNTER_BITS, np.uint32)
        self._end = 0
        self._files: dict[str, tuple[int, int]] = {}
        self._hidden: set[str] = set()
        self._bytes = 0

    def __contains__(self, name: str) -> bool:
        return name in self._files

    @property
    def names(self) -> list[str]:
        """The files, the one added first at the start."""
        return list(self._files)

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return self._bytes

    def text(self, name: str) -> bytes:
        """A file's bytes."""
        start, end = self._files[name]
        return self._text[start:end].tobytes()

    def add(self, name: str, data: bytes) -> None:
        """Adds a file, or puts new text in the place of its old one.

        Where there is no room, the files added first go; of a file larger than all the room, its
        beginning is kept.
        """
        self.remove(name)
        data = data[: self._most]
        while self._files and self._bytes + len(data) > self._most:
            self.remove(next(iter(self._files)))
        start = self._end + REACH
        self._make_room(start)
        self._text[self._end : start] = 0
        self._files[name] = start, start
        self._end = start
        self.extend(name, data)

    def extend(self, name: str, data: bytes) -> None:
        """Adds bytes at the end of the file that was added last."""
        start, end = self._files[name]
        assert end == self._end, "only the last file grows"
        new = end + len(data)
        self._make_room(new)
        self._text[end:new] = np.frombuffer(data, np.uint8)
        self._shown[end:new] = True
        self._files[name] = start, new
        self._end, self._bytes = new, self._bytes + len(data)
        places = np.arange(end, new, dtype=np.int32)
        for heads, older, slots in zip(
            self._heads, self._older.T, _head_slots(self._text[end - REACH : new]), strict=True
        ):
            older[end:new] = heads[slots[:-1]]
            heads[slots[:-1]] = places  # of equal slots the last one stays
        self._count(end, new, np.add)

    def remove(self, name: str) -> None:
        """Takes a file and all that it added off again; nothing if there is none."""
        if name not in self._files:
            return
        self.hide(name)
        self._hidden.remove(name)
        start, end = self._files.pop(name)
        self._bytes -= end - start
        for heads, older, slots in zip(
            self._heads, self._older.T, _head_slots(self._text[start - REACH : end]), strict=True
        ):
            slots = np.unique(slots[:-1])
            places = heads[slots]
            gone = np.flatnonzero((start <= places) & (places < end))
            places[gone] = older[places[gone]]
            while len(gone := gone[(start <= places[gone]) & (places[gone] < end)]):
                places[gone] = older[places[gone]]
            heads[slots] = places
        if end == self._end:
            self._end = start - REACH
        elif self._end > 2 * self._bytes + _SLACK:
            self._compact()

    def hide(self, name: str) -> None:
        """Leaves a file out until it is shown again; nothing if there is none."""
        if name in self._files and name not in self._hidden:
            start, end = self._files[name]
            self._hidden.add(name)
            self._shown[start:end] = False
            self._count(start, end, np.subtract)

    def show(self, name: str) -> None:
        """Takes a hidden file in again."""
        if name in self._hidden:
            start, end = self._files[name]
            self._hidden.remove(name)
            self._shown[start:end] = True
            self._count(start, end, np.add)

    @contextmanager
    def hidden(self, name: str | None) -> Iterator[None]:
        """Leaves a file out for a while."""
        hide = name is not None and name in self._files and name not in self._hidden
        if name is not None and hide:
            self.hide(name)
        try:
            yield
        finally:
            if name is not None and hide:
                self.show(name)

    def matches(self, context: Bytes) -> Matches:
        """Where the contexts of n places stood before.

        Args:
            context: (REACH + n - 1,), the bytes before the first place, and on to the last one.
        """
        if len(context) == REACH:
            return self._match(context)
        own = sliding_window_view(context, REACH)
        windows = sliding_window_view(self._text, REACH)
        places = np.zeros((len(MATCHED), len(own)), np.int64)
        lengths = np.zeros_like(places)
        for i, slots in enumerate(_head_slots(context)):
            found = self._heads[i][slots]
            for _ in range(_HOPS):
                out = np.flatnonzero(~self._shown[found] & (found > 0))
                if not len(out):
                    break
                found[out] = self._older[found[out], i]
            at = np.flatnonzero(self._shown[found])
            differs = (windows[found[at] - REACH] != own[at])[:, ::-1]
            same = np.where(differs.any(axis=1), differs.argmax(axis=1), REACH)
            good = same >= MATCHED[i]
            places[i, at[good]] = found[at[good]]
            lengths[i, at[good]] = same[good]
        return Matches(places, lengths, self._text[places])

    def _match(self, context: Bytes) -> Matches:
        """As `matches` at one place, where calls of NumPy would cost more than what they do."""
        own, slots = context.tobytes()[::-1], _head_slots(context)
        places, lengths = [0] * len(MATCHED), [0] * len(MATCHED)
        for i, length in enumerate(MATCHED):
            place = int(self._heads[i, slots[i][0]])
            for _ in range(_HOPS):
                if self._shown[place] or not place:
                    break
                place = int(self._older[place, i])
            if not self._shown[place]:
                continue
            there = self._text[place - REACH : place].tobytes()[::-1]
            same = next((j for j in range(REACH) if own[j] != there[j]), REACH)
            if same >= length:
                places[i], lengths[i] = place, same
        found = np.array(places)[:, None]
        return Matches(found, np.array(lengths)[:, None], self._text[found])

    def counts(self, context: Bytes, candidates: Ints) -> tuple[Floats, Floats]:
        """How often bytes followed the contexts of n places.

        Args:
            context: (REACH + n - 1,), as for `matches`.
            candidates: (n, k), bytes.

        Returns:
            (n, k, o) of each candidate, and (n, 1, o) of any byte.
        """
        hashes = np.array(context_hashes(context, COUNTED)).T[:, None]  # (n, 1, o)
        followed = self._counters[_counter(hashes, candidates[..., None])]
        return followed.astype(np.float32), self._counters[_counter(hashes)].astype(np.float32)

    def read(self, place: int, most: int) -> bytes:
        """The text from a place on, to the end of its file or `most` bytes."""
        shown = self._shown[place : place + most]
        end = len(shown) if shown.all() else int(shown.argmin())
        return self._text[place : place + end].tobytes()

    def file_at(self, place: int) -> tuple[str, int]:
        """The file that a place is in, and how far from its start; of a place that is shown."""
        for name, (start, end) in self._files.items():
            if start <= place < end:
                return name, place - start
        raise KeyError(place)

    def _count(self, start: int, end: int, change: np.ufunc) -> None:
        followed = self._text[start:end].astype(np.int64)
        one = np.uint32(1)
        for hashes in context_hashes(self._text[start - REACH : end], COUNTED):
            change.at(self._counters, _counter(hashes[:-1], followed), one)
            change.at(self._counters, _counter(hashes[:-1]), one)

    def _make_room(self, end: int) -> None:
        if end + REACH > len(self._text):
            room = max(end + REACH, 2 * len(self._text))
            self._text, self._shown = _longer(self._text, room), _longer(self._shown, room)
            self._older = _longer(self._older, room)

    def _compact(self) -> None:
        """Closes the gaps that removed files left."""
        files, hidden = {name: self.text(name) for name in self._files}, self._hidden
        self._clear(1 << 16)
        for name, data in files.items():
            self.add(name, data)
        for name in hidden:
            self.hide(name)


def _longer(store: NDArray[Any], length: int) -> NDArray[Any]:
    """A longer store with zeros at the end, whose pages take no memory before they are used."""
    longer = np.zeros((length, *store.shape[1:]), store.dtype)
    longer[: len(store)] = store
    return longer


def _head_slots(context: Bytes) -> list[Ints]:
    mask = np.uint64((1 << _HEAD_BITS) - 1)
    return [(hashes & mask).astype(np.int64) for hashes in context_hashes(context, MATCHED)]


def _counter(hashes: Hashes, followed: Ints | None = None) -> Ints:
    """The counter of a context, or of a byte after it."""
    if followed is not None:
        hashes = mixed(hashes + (followed + 1).astype(np.uint64) * _STEP)
    return (hashes >> np.uint64(64 - _COUNTER_BITS)).astype(np.int64)
