"""Where the same bytes stood before: the model's matches, for edits of a row that was read."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from codebyte.inputs import _BEFORE, ByteInputs, ngram_hashes


class Matches:
    """Where the row's hashes stood, to find the latest place before an edit."""

    def __init__(self, inputs: ByteInputs, seq: Tensor) -> None:
        self._seq, self._none = seq.numpy(), inputs.vocab_size
        self._sorted: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        if not inputs.matches:
            return
        padded = F.pad(seq[None], (inputs.reach, 0), value=_BEFORE)
        hashes = ngram_hashes(padded, inputs.lengths)[0, inputs.ngrams :].numpy()
        for row in hashes:
            names, number = np.unique(row, return_inverse=True)
            keys = np.sort(number.astype(np.int64) << 32 | np.arange(len(row)))
            self._sorted.append((names, keys))

    def followed(self, last: Tensor, ids: Tensor, hashes: Tensor) -> Tensor:
        """The id after the latest earlier place with the same hash, (b, m, n); else none."""
        n = ids.shape[1]
        new, end = ids.numpy(), last.numpy()[:, None]
        out = np.full(hashes.shape, self._none)
        earlier = np.tril(np.ones((n, n), bool), -1)
        index = np.arange(1, n + 1)
        for i, (names, keys) in enumerate(self._sorted):
            asked = hashes[:, i].numpy()
            number = np.searchsorted(names, asked).clip(max=len(names) - 1)
            known = names[number] == asked
            key = number << 32 | (end + 1)
            at = np.searchsorted(keys, key) - 1
            place = keys[at.clip(min=0)]
            known &= (at >= 0) & (place >> 32 == number)
            place = place & 0xFFFFFFFF
            next_id = np.where(
                place < end, self._seq[(place + 1).clip(max=len(self._seq) - 1)], new[:, :1]
            )
            out[:, i] = np.where(known, next_id, self._none)
            own = ((asked[:, :, None] == asked[:, None, :]) & earlier) * index
            latest = own.max(axis=2)  # one past the place among the new ones; 0 for none
            here = np.take_along_axis(new, latest.clip(max=n - 1), axis=1)
            out[:, i] = np.where(latest > 0, here, out[:, i])
        return torch.from_numpy(out)
