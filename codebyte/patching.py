r"""Where patches end: at word borders, or every p places.

A border at place t means that a patch ends with t; whether it does depends on places up to t only,
so the state of the finished patch may be used from t on. The first place (the start of a row) is
always a border.

    d e f   r u n ( s e l f ) : \n          x
          ^       ^         ^     ^               a word ended, or a line did

Axes: b batch, t places, k patches.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NEWLINE = 10


SPECIAL = 256  # this id and those above are specials, all treated alike


def word_characters() -> Tensor:
    """Tells of each id up to SPECIAL whether it is a letter, a digit, "_" or part of non-ASCII."""
    ids = torch.arange(SPECIAL + 1)
    letter = ((ids | 32) >= ord("a")) & ((ids | 32) <= ord("z")) & (ids < 128)
    digit = (ids >= ord("0")) & (ids <= ord("9"))
    return letter | digit | (ids == ord("_")) | ((ids >= 128) & (ids < SPECIAL))


def line_or_special_ends() -> Tensor:
    """Tells of each id up to SPECIAL whether a patch ends with it whatever stands before."""
    ids = torch.arange(SPECIAL + 1)
    return (ids == NEWLINE) | (ids == SPECIAL)


_WORD, _END = word_characters(), line_or_special_ends()


def word_ends(ids: Tensor, before: Tensor) -> Tensor:
    """Tells where a word or a line ends, or a special stands: the natural borders of code.

    Args:
        ids: (..., t) integers.
        before: (..., t), the id before each.
    """
    word, end = _WORD.to(ids.device), _END.to(ids.device)
    ids = ids.clamp(max=SPECIAL)
    return (~word[ids] & word[before.clamp(max=SPECIAL)]) | end[ids]


def borders(natural: Tensor, longest: int, since: Tensor) -> tuple[Tensor, Tensor]:
    """Adds to natural borders those that keep a patch from growing past `longest` places.

    Args:
        natural: (b, t) bool.
        longest: most places in a patch.
        since: (b,), places since the last natural border before the first of these; -1 at the start
            of a row, which makes the first place a border.

    Returns:
        (b, t) bool, the borders; (b, t) integers, places since the last natural border.
    """
    t = natural.shape[1]
    if t == 1:
        distance = torch.where(natural, 0, since[:, None] + 1)
        return distance % longest == 0, distance
    natural = natural.clone()
    natural[:, 0] |= since < 0
    index = torch.arange(t, device=natural.device)
    last = torch.where(natural, index, -1).cummax(dim=1).values
    distance = torch.where(last >= 0, index - last, since[:, None] + 1 + index)
    return distance % longest == 0, distance


@dataclass(frozen=True, slots=True)
class Patches:
    """Which patch each place belongs to and which it may look at."""

    ends: Tensor  # (b, k), last place of each patch; a row with fewer repeats its last one
    own: Tensor  # (b, t), patch that the place is part of; k if it is not finished
    latest: Tensor  # (b, t), last patch finished at or before the place
    place: Tensor  # (b, t), places since the last border


def patches(border: Tensor, distance: Tensor, longest: int) -> Patches:
    """Lays out whole rows in patches from what `borders` gave for them."""
    t = border.shape[1]
    count = border.cumsum(dim=1)
    k = int(count[:, -1].max())
    places = torch.where(border, torch.arange(t, device=border.device), t)
    ends = places.sort(dim=1).values[:, :k].clamp(max=t - 1)
    return Patches(
        ends=ends,
        own=(count - border.long()).clamp(max=k),
        latest=count - 1,
        place=distance % longest,
    )


def previous(ids: Tensor, first: Tensor | int) -> Tensor:
    """Gives the id before each: (b, t) moved one place right, `first` in front."""
    if isinstance(first, int):
        return F.pad(ids[:, :-1], (1, 0), value=first)
    return torch.cat([first[:, None], ids[:, :-1]], dim=1)
