"""What layers keep of the places seen so far, for each row of a batch.

Axes: b batch, r rows of a batch, h heads, n places, s places in a cache, c width of a head, d
width.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from codebyte.views import Viewed

_LEAST = 16  # places that there is room for
_SPARE = 4  # room is made for one place more in so many: what is copied as it grows is little


@dataclass(slots=True)
class _Storage:
    """What a cache and its snapshots share, so that when it grows nobody keeps the smaller one."""

    keys: Tensor | None = None  # (b, h, s, c)
    values: Tensor | None = None


class KVCache(Viewed):
    """Keys and values of the places seen so far; grows as they come.

    With `keep`, only the first `sinks` places and some of the last, at least `keep`, stay: now and
    then these move into new storage, so that memory is bounded and what is held stays in one piece.
    Copies made by `snapshot` share the storage: a place once written is only overwritten after
    going back to before it.
    """

    def __init__(self, batch: int, keep: int | None = None, sinks: int = 0) -> None:
        self._storage = _Storage()
        self.length = torch.zeros(batch, dtype=torch.int64)  # places seen
        self.dropped = torch.zeros(batch, dtype=torch.int64)  # of these, after the sinks
        self._keep, self._sinks = keep, sinks

    @property
    def keys(self) -> Tensor | None:
        """Those of all rows, (b, h, s, c), and zeros where nothing was written."""
        return self._storage.keys

    @property
    def values(self) -> Tensor | None:
        """The same of the values."""
        return self._storage.values

    def append(self, keys: Tensor, values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Adds n places to the given rows; gives all that these rows hold, (r, h, s, c)."""
        n = keys.shape[2]
        self.reserve(n, rows, keys)
        assert self.keys is not None and self.values is not None
        start = (self.length - self.dropped)[rows]
        longest = int(start.max()) + n
        self.length[rows] += n
        if rows.shape[0] == 1:  # views, no copies: the common case of one stream
            row, first = int(rows[0]), int(start[0])
            self.keys[row, :, first : first + n] = keys[0]
            self.values[row, :, first : first + n] = values[0]
            return self.keys[row : row + 1, :, :longest], self.values[row : row + 1, :, :longest]
        places = start[:, None] + torch.arange(n)
        self.keys[rows[:, None], :, places] = rearrange(keys, "r h n c -> r n h c")
        self.values[rows[:, None], :, places] = rearrange(values, "r h n c -> r n h c")
        return self.keys[rows, :, :longest], self.values[rows, :, :longest]

    def reserve(self, n: int, rows: Tensor, like: Tensor) -> None:
        """Makes room for n more places in the given rows.

        Args:
            n: places to come.
            rows: (r,).
            like: (_, h, _, c), of the type and on the device of the keys and values.
        """
        self._let_go(n, rows)
        longest = int((self.length - self.dropped)[rows].max()) + n
        held, batch = self._storage, self.length.shape[0]
        held.keys = _grown(held.keys, like, batch, longest)
        held.values = _grown(held.values, like, batch, longest)

    def places(self, rows: Tensor, count: int) -> Tensor:
        """The places that the first `count` entries of these rows are, (r, count)."""
        index = torch.arange(count)
        if self._keep is None:
            return index.expand(rows.shape[0], -1)
        return torch.where(index < self._sinks, index, index + self.dropped[rows][:, None])

    def _let_go(self, n: int, rows: Tensor) -> None:
        """Lets go of places no longer needed if n more would not fit."""
        if self._keep is None or self.keys is None or self.values is None:
            return
        held = self.length - self.dropped
        kept = self._sinks + self._keep
        if int(held[rows].max()) + n <= self.keys.shape[2] or int(held[rows].max()) < 2 * kept:
            return
        more = (self.length - kept).clamp(min=self.dropped) - self.dropped
        self.dropped = self.dropped + more
        index = torch.arange(int((held - more).max())).expand(len(more), -1)
        index = torch.where(index < self._sinks, index, index + more[:, None])
        index = index.clamp(max=self.keys.shape[2] - 1).to(self.keys.device)
        every = torch.arange(len(more), device=index.device)[:, None]
        size = max(64, 2 * kept, index.shape[1] + n)
        moved = []
        for store in (self.keys, self.values):
            fresh = store.new_zeros(store.shape[0], store.shape[1], size, store.shape[3])
            fresh[:, :, : index.shape[1]] = rearrange(store[every, :, index], "b s h c -> b h s c")
            moved.append(fresh)
        self._storage = _Storage(*moved)  # snapshots hold the places that were let go of

    def snapshot(self) -> "KVCache":
        """Gives a copy at this length that shares the storage."""
        copy = KVCache(0, self._keep, self._sinks)
        copy._storage = self._storage
        copy.length, copy.dropped = self.length.clone(), self.dropped.clone()
        return copy

    def part(self) -> None:
        """Copies the places held into storage of its own, shared with no snapshot."""
        if self.keys is not None and self.values is not None:
            used = int((self.length - self.dropped).max())
            self._storage = _Storage(
                self.keys[:, :, :used].clone(), self.values[:, :, :used].clone()
            )


def _grown(store: Tensor | None, like: Tensor, batch: int, length: int) -> Tensor:
    if store is not None and store.shape[2] >= length:
        return store
    room = max(_LEAST, length + length // _SPARE)
    new = like.new_zeros(batch, like.shape[1], room, like.shape[3])
    if store is not None:
        new[:, :, : store.shape[2]] = store
    return new


class Tail(Viewed):
    """The last inputs of a convolution, for each row of a batch."""

    def __init__(self, last: Tensor) -> None:
        self.last = last  # (b, length, d)

    def snapshot(self) -> "Tail":
        """Gives an independent copy."""
        return Tail(self.last.clone())
