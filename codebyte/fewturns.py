"""Turns of a few places' queries and keys in NumPy, as rotary.py's; see fewbytes.py.

Axes: n places, h heads, c width of a head.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codebyte.rotary import TABLE, exact_turns, turns

Array = NDArray[np.float32]
_CPU = torch.device("cpu")


def turned(x: Array, place: int) -> Array:
    """As `rotary.rotate` at positions from `place` on, (n, 2, h, c)."""
    n, two, heads, width = x.shape
    half, end = width // 2, place + n
    if end > TABLE:
        cos, sin = _factors(exact_turns(half, torch.arange(place, end)))
    else:
        cos, sin = _looked_up(half, max(256, 1 << (end - 1).bit_length()))
        cos, sin = cos[place:end], sin[place:end]
    halves = x.reshape(n, two, heads, 2, half)
    out = halves * cos + halves[..., ::-1, :] * sin
    return out.reshape(x.shape)


@lru_cache(maxsize=16)
def _looked_up(half: int, length: int) -> tuple[Array, Array]:
    return _factors(turns(half, length, _CPU))


def _factors(table: Tensor) -> tuple[Array, Array]:
    """Cosines and sines (2, n, c / 2) -> factors of a half's own values and of the other's."""
    cos, sin = table.numpy()
    both = np.stack([-sin, sin], axis=1)
    return cos[:, None, None, None], both[:, None, None]
