"""Positions as turns of a head's values, exact however far a stream has come (arXiv:2104.09864).

Axes: r rows of a batch, h heads, n places, c width of a head.
"""

import math

import torch
from torch import Tensor

ROPE_THETA = 10000.0
TABLE = 1 << 14  # positions whose turns are looked up, 20 MB; those of later ones are computed


def rotate(x: Tensor, positions: Tensor, end: int | None = None) -> Tensor:
    """Turns pairs of a head's values by angles that grow with the position (arXiv:2104.09864).

    The turn is in float32 whatever x is, so that neighbouring positions never fall together.

    Args:
        x: (..., r, h, n, c).
        positions: (r, n) or (n,), integers.
        end: above every position; None to look.
    """
    end = int(positions.max()) + 1 if end is None else end
    half = x.shape[-1] // 2
    if end > TABLE:
        cos, sin = exact_turns(half, positions.to(x.device))
    else:
        cos, sin = turns(half, end, x.device)[:, :end][:, positions]
    if positions.ndim == 2:
        cos, sin = cos[:, None], sin[:, None]
    left, right = x.float().chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1).to(x.dtype)


def turns(half: int, end: int, device: torch.device) -> Tensor:
    """Cosines and sines of the angles at positions below `end` or more, (2, length, half).

    A longer table takes the place of a shorter one. torch.compile is given one of length TABLE
    before (see `codebyte.training`): what it traces then fits any number of places.
    """
    table = _tables.get((half, device))
    if table is None or table.shape[1] < end:
        table = _turns(half, max(256, 1 << (end - 1).bit_length()), device)
        _tables[half, device] = table
    return table


_tables: dict[tuple[int, torch.device], Tensor] = {}


def _turns(half: int, length: int, device: torch.device) -> Tensor:
    """Cosines and sines for positions up to `length`, (2, length, half), from float64 angles."""
    with torch.inference_mode(False):
        angles = torch.arange(length, dtype=torch.float64)[:, None] * _frequencies(half)
        return torch.stack([angles.cos(), angles.sin()]).float().to(device)


def exact_turns(half: int, positions: Tensor) -> Tensor:
    """Cosines and sines at any int64 positions, (2, *positions.shape, half).

    Angles are counted in 2^-64 of a turn: a product that wraps around is the angle, with nothing
    lost however large the position, so that places always turn by their distance alone.
    """
    device = "cpu" if positions.is_mps else positions.device  # Apple's GPUs have no float64
    steps = (_frequencies(half) / math.pi * 2.0**63).long().to(device)
    angles = (positions.to(device)[..., None] * steps).double() * (math.pi * 2.0**-63)
    return torch.stack([angles.cos(), angles.sin()]).float().to(positions.device)


def _frequencies(half: int) -> Tensor:
    return ROPE_THETA ** (-torch.arange(half, dtype=torch.float64) / half)
