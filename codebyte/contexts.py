"""Hashes of contexts: of the last bytes before a place, for many places at once or for one.

Axes: n places.
"""

import numpy as np
from numpy.typing import NDArray

REACH = 32  # bytes before a place that are looked at; NUL bytes stand before a file
_FACTOR = 0x5851F42D4C957F2D
_MASK = (1 << 64) - 1
_POWERS = [_FACTOR**i & _MASK for i in range(REACH)]
_MIX = np.uint64(0x2545F4914F6CDD1D)

Bytes = NDArray[np.uint8]
Hashes = NDArray[np.uint64]


def context_hashes(context: Bytes, lengths: tuple[int, ...]) -> list[Hashes]:
    """Hashes of the last bytes before each of n places, (n,) for each length.

    Args:
        context: (REACH + n - 1,).
        lengths: at most REACH.
    """
    if len(context) == REACH:
        return _hashes_at_one(context, lengths)
    sums: dict[int, Hashes] = {1: context.astype(np.uint64) + np.uint64(1)}
    return [mixed(_last(n, sums)[REACH - 1 :] + np.uint64(n * _FACTOR & _MASK)) for n in lengths]


def _last(length: int, sums: dict[int, Hashes]) -> Hashes:
    """Sums over the last bytes, by the place where they end; the first `length` - 1 are of no use.

    Args:
        length: of the bytes.
        sums: those known, by length, to which this one is added. No closure holds them: one that
            calls itself would keep them from being freed until Python looks for cycles.
    """
    if length not in sums:
        near = length // 2
        total = _last(near, sums).copy()
        total[near:] += _last(length - near, sums)[:-near] * np.uint64(_POWERS[near])
        sums[length] = total
    return sums[length]


def _hashes_at_one(context: Bytes, lengths: tuple[int, ...]) -> list[Hashes]:
    """As `context_hashes` at one place, in Python's numbers."""
    total, totals = 0, [0]
    for byte, power in zip(context.tobytes()[::-1][: max(lengths)], _POWERS, strict=False):
        total += (byte + 1) * power
        totals.append(total)
    wanted = [(totals[n] + n * _FACTOR) & _MASK for n in lengths]
    return list(mixed(np.array(wanted, np.uint64))[:, None])


def mixed(hashes: Hashes) -> Hashes:
    """Spreads what differs over all bits."""
    hashes = (hashes ^ (hashes >> np.uint64(29))) * _MIX
    return hashes ^ (hashes >> np.uint64(32))
