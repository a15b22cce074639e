"""How surprising each byte is, in bits, over data of any length and in bounded memory.

Data that fits a window goes through the model once. Longer data goes by windows, each of which
reads again as context what it shares with the one before and scores the rest, `stride` bytes (w the
window, the stride half of it, as by default):

    bytes      0 ........ w ........ 2w
    window 0   scored scored
    window 1       read   scored
    window 2              read   scored

With stride = w no byte is read twice and the first ones of each window know nothing of what came
before; half of w is the sliding window of Yu et al. (2023), at twice the cost of that.

Their strided inference is for patches of a fixed size p, whose first bytes are given a state of the
trunk that is fresh and whose last ones a state that is up to p - 1 bytes old. The data is read
twice, the second time from byte p / 2 on, and of each byte those bits count for which it stood
nearer to its patch's start; again at twice the cost:

    first time     |A a a a b b b b|B ...     A a a a of the first, b b b b of the second
    second time            |b b b b a a a a|

The bits of a byte depend on the bytes before it only, not on how much follows.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte.errors import InputError
from codebyte.megabyte import Megabyte

Buffer = bytes | bytearray | memoryview

_TOGETHER = 1 << 15  # bytes of windows that are read at once


def surprisal(
    model: Megabyte,
    data: Buffer,
    *,
    window: int | None = None,
    batch: int | None = None,
    stride: int | None = None,
    strided: bool = False,
) -> NDArray[np.float32]:
    """Gives -log2 p of each byte under the model, (len(data),).

    Args:
        model: any Megabyte.
        data: may be empty and may hold any bytes, NUL included.
        window: bytes read at once; None for the model's context.
        batch: windows computed together, memory grows with window * batch only; None for as many as
            32 KB hold.
        stride: bytes scored by each window after the first; None for half of the window.
        strided: read twice, half a patch apart, and keep the better half of each patch.

    Raises:
        InputError: if window, batch or stride is less than 1, the stride is more than the window,
            or `strided` is asked of a model without patches of a fixed size.
    """
    size = model.config.context if window is None else window
    if size < 1:
        raise InputError(f"window {size} must be at least 1")
    batch = max(1, _TOGETHER // size) if batch is None else batch
    if batch < 1:
        raise InputError(f"batch {batch} must be at least 1")
    step = size - size // 2 if stride is None else stride
    if not 1 <= step <= size:
        raise InputError(f"stride {step} must be from 1 to the window, {size}")
    ids = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
    bits = _by_windows(model, ids, size, step, batch)
    if not strided:
        return bits
    if model.config.patching == "word" or len(model.config.levels) == 1:
        raise InputError("strided scoring needs patches of a fixed size: patching 'fixed'")
    patch = model.config.levels[0].patch_size
    half = patch // 2
    others = _by_windows(model, ids[half:], size, step, batch)
    nearer = _phases(len(others), size, step, patch) < _phases(len(bits), size, step, patch)[half:]
    nearer[: patch - half] = False  # there the second time knows nothing of the first half patch
    bits[half:][nearer] = others[nearer]
    return bits


def _phases(n: int, size: int, step: int, patch: int) -> NDArray[np.int64]:
    """How far from its patch's start each of n bytes stands in the window that scores it."""
    place = np.arange(n)
    start = np.where(place < size, 0, -(-(place - size + 1) // step) * step)
    return (place - start) % patch


def _by_windows(
    model: Megabyte, ids: torch.Tensor, size: int, step: int, batch: int
) -> NDArray[np.float32]:
    bits = np.empty(len(ids), np.float32)
    if len(ids) == 0:
        return bits
    first = ids[:size]
    bits[: len(first)] = _bits(model, first[None])[0]
    read = size - step
    starts = range(step, len(ids) - read, step)  # of the later windows
    full = [start for start in starts if start + size <= len(ids)]
    for i in range(0, len(full), batch):
        group = full[i : i + batch]
        scored = _bits(model, torch.stack([ids[start : start + size] for start in group]))
        bits[group[0] + read : group[-1] + size] = scored[:, read:].reshape(-1)
    for start in starts[len(full) :]:
        bits[start + read :] = _bits(model, ids[None, start:])[0, read:]
    return bits


def bits_per_byte(model: Megabyte, data: Buffer) -> float:
    """Mean of `surprisal`: what it costs to store a byte of this data, with the model given.

    Raises:
        InputError: if data is empty.
    """
    if len(data) == 0:
        raise InputError("data b'' must hold at least one byte to have a mean")
    return float(surprisal(model, data).mean(dtype=np.float64))


def line_bits(data: Buffer, bits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums bits by line, (number of lines,); place i is line i + 1.

    A newline byte counts in the line that it ends; nothing is a line after the last newline.

    Args:
        data: the bytes that were scored.
        bits: (len(data),).

    Raises:
        InputError: if the two differ in length.
    """
    if len(data) != len(bits):
        raise InputError(f"bits of length {len(bits)} must be as many as the {len(data)} bytes")
    newlines = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    starts = np.concatenate([[0], newlines + 1])
    starts = starts[starts < len(data)]
    if len(starts) == 0:
        return np.empty(0, np.float32)
    return np.add.reduceat(bits, starts, dtype=np.float64).astype(np.float32)


@torch.inference_mode()
def _bits(model: Megabyte, ids: torch.Tensor) -> NDArray[np.float32]:
    bits: NDArray[np.float32] = (model.losses(ids) / math.log(2)).float().cpu().numpy()
    return bits
