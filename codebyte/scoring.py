"""How surprising each byte is, in bits, over data of any length and in bounded memory.

Data that fits a window goes through the model once. Longer data goes by windows, each of which
reads half a window again as context and scores the other half (w the window):

    bytes      0 ........ w ........ 2w
    window 0   scored scored
    window 1       read   scored
    window 2              read   scored

The bits of a byte depend on the bytes before it only, not on how much follows.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte.errors import InputError
from codebyte.megabyte import Megabyte

Buffer = bytes | bytearray | memoryview


def surprisal(
    model: Megabyte, data: Buffer, *, window: int | None = None, batch: int = 4
) -> NDArray[np.float32]:
    """Gives -log2 p of each byte under the model, (len(data),).

    Args:
        model: any Megabyte.
        data: may be empty and may hold any bytes, NUL included.
        window: bytes read at once; None for the model's context.
        batch: windows computed together; memory grows with window * batch only.

    Raises:
        InputError: if window or batch is less than 1.
    """
    size = model.config.context if window is None else window
    if size < 1 or batch < 1:
        raise InputError(f"window {size} and batch {batch} must be at least 1")
    ids = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
    bits = np.empty(len(ids), np.float32)
    if len(ids) == 0:
        return bits
    first = ids[:size]
    bits[: len(first)] = _bits(model, first[None])[0]
    read = size // 2
    starts = range(size - read, len(ids) - read, size - read)  # of the later windows
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
