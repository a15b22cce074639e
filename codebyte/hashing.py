r"""Hashes of what stands before each place: of the last n ids, and of the last words.

The ids of a window are numbers to the base FACTOR modulo 2^64, the newest id the lowest digit:

    sum over i of (id_i + 1) FACTOR^i        i places back

so the sums of a window's first L digits hash its last L ids, and the difference of two sums,
divided by a power of FACTOR, a stretch further back: a word, wherever it stands.

    self.items[key] = self.it           the word so far, with what stands before it:  .it
                                        with one word before, whatever is between:    self it
                                        with two:                                     key self it

Axes: b batch, t places, m hashes, w places of a window, the newest first.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from codebyte.patching import SPECIAL, word_characters

FACTOR = 0x5851F42D4C957F2D  # odd 64-bit multiplier (Knuth's MMIX generator); products wrap
MIX = 0x2545F4914F6CDD1D
BEFORE = -1  # stands for an id before the start
WORD_WINDOW = 32  # ids that words are looked for in; what reaches further back is cut
_PIECE = 1 << 15  # places that are hashed at once, to bound memory


def signed(value: int) -> int:
    """A number modulo 2^64 as an int64."""
    return (value + 2**63) % 2**64 - 2**63


def powers(count: int) -> list[int]:
    """FACTOR^0 to FACTOR^(count - 1)."""
    return [signed(pow(FACTOR, i, 2**64)) for i in range(count)]


def inverse_powers(count: int) -> list[int]:
    """FACTOR^0 to FACTOR^-(count - 1)."""
    return [signed(pow(FACTOR, -i, 2**64)) for i in range(count)]


def reach_of(lengths: tuple[int, ...], words: tuple[int, ...]) -> int:
    """How many ids before a place its hashes depend on."""
    return max((*lengths, *([WORD_WINDOW] if words else []), 1)) - 1


def context_hashes(ids: Tensor, lengths: tuple[int, ...], words: tuple[int, ...]) -> Tensor:
    """Hashes at each place, all 64 bits used.

    Args:
        ids: (b, reach + t) int64, where reach is `reach_of` the other two.
        lengths: n, for the last n ids.
        words: k, for the word so far and k words before it; 0: with what stands before the word.

    Returns:
        (b, m, t) int64, those of the lengths first.
    """
    window = reach_of(lengths, words) + 1
    if ids.shape[1] >= window + _PIECE:
        pieces = ids.unfold(1, window - 1 + _PIECE, _PIECE).unbind(1)
        rest = ids[:, len(pieces) * _PIECE :]
        parts = [*pieces, *([rest] if rest.shape[1] >= window else [])]
        return torch.cat([context_hashes(part, lengths, words) for part in parts], dim=2)
    scale, inverse, chosen, word = _constants(window, lengths, ids.device)
    newest_first = ids.unfold(1, window, 1).flip(-1)
    sums = ((newest_first + 1) * scale).cumsum(dim=-1)  # wrap
    found = [sums[..., chosen]]
    if words:
        sums = F.pad(sums, (1, 0))
        kept = newest_first[..., :WORD_WINDOW]
        found.append(_words(word[kept.clamp(max=SPECIAL)], sums, inverse, words))
    totals = rearrange(torch.cat(found, dim=-1), "b t m -> b m t")
    mixed = (totals ^ (totals >> 29)) * MIX
    return mixed ^ (mixed >> 32)


def _words(word: Tensor, sums: Tensor, inverse: Tensor, words: tuple[int, ...]) -> Tensor:
    """Totals of the words, (b, t, m).

    Args:
        word: (b, t, w), whether an id is part of a word.
        sums: (b, t, 1 + w or more), of no id, of the first, and so on.
        inverse: powers of the factor's inverse.
        words: as for `context_hashes`.
    """
    w = word.shape[-1]
    index = torch.arange(w, device=word.device)
    begin = torch.zeros_like(word[..., :1], dtype=torch.int64)
    key, found = torch.zeros_like(begin), []
    for k in range(max(words) + 1):
        end = torch.where(~word & (index >= begin), index, w).amin(-1, keepdim=True)
        stretch = sums.gather(-1, end) - sums.gather(-1, begin)
        key = key * MIX + stretch * inverse[begin]
        found.append(key if k else sums.gather(-1, (end + 1).clamp(max=w)))
        begin = torch.where(word & (index >= end), index, w).amin(-1, keepdim=True)
    return torch.cat([found[k] for k in words], dim=-1)


@lru_cache(maxsize=64)
def _constants(
    window: int, lengths: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Powers and inverse powers of the factor, which sums are wanted, which ids are a word's."""
    with torch.inference_mode(False):
        return (
            torch.tensor(powers(window), device=device),
            torch.tensor(inverse_powers(window + 1), device=device),
            torch.tensor([n - 1 for n in lengths], dtype=torch.int64, device=device),
            torch.cat([word_characters(), word_characters()[-1:]]).to(device),  # BEFORE is at -1
        )
