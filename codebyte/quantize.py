"""How weights are stored in fewer bytes: as bfloat16, or as int8 by rows.

An int8 weight is two tensors: `NAME` holds the integers, from -127 to 127, and `NAME.row_scale` the
size of one step in each row as float16. The error is at most half a step, a step being 1/127 of the
largest number of the row.
"""

from collections.abc import Callable

import torch
from torch import Tensor

SCALE = ".row_scale"
STORED_AS = ("bfloat16", "int8")

_ROWS, _COLUMNS = 64, 16  # smaller matrices save too little to be worth the loss


def stored(name: str, weight: Tensor, kind: str | None) -> dict[str, Tensor]:
    """The tensors that stand for one weight in a file.

    Args:
        name: of the weight.
        weight: of any shape; as int8 only if it has at least 64 rows (along its last axis) of 16.
        kind: one of STORED_AS, or None for float32.
    """
    if kind is None:
        return {name: weight.to(torch.float32).contiguous()}
    rounded = {name: weight.to(torch.bfloat16).contiguous()}
    if kind == "bfloat16" or weight.ndim < 2:
        return rounded
    if weight.shape[-1] < _COLUMNS or weight.shape[:-1].numel() < _ROWS:
        return rounded
    largest = weight.float().abs().amax(dim=-1)
    scale = (largest / 127).to(torch.float16)
    # Rounded up, so that the largest of the row is never cut off; for a positive float16 the next
    # larger one has the next bit pattern.
    scale = torch.where(
        scale.float() * 127 < largest, (scale.view(torch.int16) + 1).view(torch.float16), scale
    )
    if not scale.isfinite().all():
        return rounded
    steps = scale.float().masked_fill(scale == 0, 1.0)[..., None]
    return {name: (weight.float() / steps).round().to(torch.int8), name + SCALE: scale}


def restored(name: str, read: Callable[[str], Tensor]) -> Tensor:
    """The weight of that name as float32, from what `stored` gave; a copy, free of the file.

    Args:
        name: of the weight.
        read: gives a tensor of the file by its name.
    """
    weight = read(name)
    if weight.dtype == torch.int8:
        return weight.float() * read(name + SCALE).float()[..., None]
    return weight.to(torch.float32, copy=True)
