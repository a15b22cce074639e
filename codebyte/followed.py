"""What followed each context of one row, known without looking through all that came before.

Of each kind of context (see `ModelConfig.matches`) the newest place of every hash is known, and of
each place the one before it with the same hash:

    a b . a b , a b         "a b" stood twice before; a comma followed, and before it a dot
      <-----  <---

Going back takes the newest places away one by one and leaves what there was before them.

Axes: m kinds of contexts, n new places, s places.
"""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Followed:
    """Follows the ids and hashes of one row of a `History` as far as it is told of them.

    Of 8,192 places with 13 kinds of contexts it takes about 10 MB.

    Args:
        kinds: m.
        depth: how many times are looked back.
        none: what is given for a time that there was not.
    """

    def __init__(self, kinds: int, depth: int, none: int) -> None:
        self._kinds, self._depth, self._none = kinds, depth, none
        self._clear()

    def _clear(self) -> None:
        self._ids: list[int] = []
        self._newest: list[dict[int, int]] = [{} for _ in range(self._kinds)]
        self._before = [array("i") for _ in range(self._kinds)]  # of each place; -1: none

    def __len__(self) -> int:
        """Places known, from the row's first on."""
        return len(self._ids)

    def add(self, ids: NDArray[np.int64], hashes: NDArray[np.int64]) -> None:
        """Goes on with (n,) ids and their (m, n) hashes."""
        places = list(range(len(self._ids), len(self._ids) + len(ids)))
        self._ids += ids.tolist()
        for newest, before, row in zip(self._newest, self._before, hashes.tolist(), strict=True):
            for place, key in zip(places, row, strict=True):
                before.append(newest.get(key, -1))
                newest[key] = place

    def look_up(self, new: int, hashes: Sequence[int], first: int) -> list[int]:
        """Goes on with one id and its (m,) hashes; says what followed these from `first` on.

        Returns:
            (depth * m), the ids that followed the last time, then those the time before.
        """
        ids, kinds = self._ids, self._kinds
        most = self._depth * kinds
        found = [self._none] * most
        place = len(ids)
        ids.append(new)
        every = zip(self._newest, self._before, hashes, strict=True)
        for kind, (newest, before, key) in enumerate(every):
            earlier = newest.get(key, -1)
            before.append(earlier)
            newest[key] = place
            at = kind
            while earlier >= first and at < most:
                found[at] = ids[earlier + 1]
                earlier = before[earlier]
                at += kinds
        return found

    def forget(self, start: int, hashes: NDArray[np.int64]) -> None:
        """Forgets the places from `start` on; the (m, s) hashes are still those of all places."""
        count = len(self._ids)
        if start < count - start:
            self._clear()  # what stays is sooner told again
        elif start < count:
            del self._ids[start:]
            keys = hashes[:, start:count].tolist()
            for newest, before, row in zip(self._newest, self._before, keys, strict=True):
                for key in reversed(row):
                    earlier = before.pop()
                    if earlier < 0:
                        del newest[key]
                    else:
                        newest[key] = earlier
