"""Where the same bytes stood before: the model's matches, for edits of a row that was read."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from codebyte.hashing import BEFORE
from codebyte.inputs import ByteInputs


class Matches:
    """Where the row's hashes stood, to find the latest place before an edit."""

    def __init__(self, inputs: ByteInputs, seq: Tensor) -> None:
        self._seq, self._none, self._depth = seq.numpy(), inputs.vocab_size, inputs.depth
        self._sorted: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        if not inputs.matches:
            return
        padded = F.pad(seq[None], (inputs.reach, 0), value=BEFORE)
        hashes = inputs.hashes(padded)[0, inputs.ngrams :].numpy()
        for row in hashes:
            names, number = np.unique(row, return_inverse=True)
            keys = np.sort(number.astype(np.int64) << 32 | np.arange(len(row)))
            self._sorted.append((names, keys))

    def followed(self, last: Tensor, ids: Tensor, hashes: Tensor) -> Tensor:
        """What followed where the same hash stood before, the last time first; else none.

        Args:
            last: (b,), the row's last place before the edit.
            ids: (b, n), those of the edit.
            hashes: (b, m, n), at each of them.

        Returns:
            (b, depth * m, n) ids.
        """
        n = ids.shape[1]
        new, end = ids.numpy(), last.numpy()[:, None]
        out = np.full((hashes.shape[0], self._depth, *hashes.shape[1:]), self._none)
        earlier = np.tril(np.ones((n, n), bool), -1)
        index = np.arange(1, n + 1)
        for i, (names, keys) in enumerate(self._sorted):
            asked = hashes[:, i].numpy()
            # one past the places among the new ones, the last first; 0 for none
            own = ((asked[:, :, None] == asked[:, None, :]) & earlier) * index
            own = np.sort(own, axis=2)[:, :, ::-1]
            count = (own > 0).sum(axis=2)
            number = np.searchsorted(names, asked).clip(max=len(names) - 1)
            known = names[number] == asked
            at = np.searchsorted(keys, number << 32 | (end + 1)) - 1
            for times in range(self._depth):
                before = at - (times - count)  # among the row's, once the own ones are used up
                place = keys[before.clip(0, len(keys) - 1)]
                there = known & (before >= 0) & (place >> 32 == number)
                place = place & 0xFFFFFFFF
                next_id = np.where(
                    place < end, self._seq[(place + 1).clip(max=len(self._seq) - 1)], new[:, :1]
                )
                chosen = np.where(there, next_id, self._none)
                if times < n:
                    here = np.take_along_axis(new, own[:, :, times].clip(max=n - 1), axis=1)
                    chosen = np.where(times < count, here, chosen)
                out[:, times, i] = chosen
        return torch.from_numpy(out.reshape(len(out), -1, n))
