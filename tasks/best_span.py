"""Where a text between two others ends: the place from which the suffix follows best.

A small model seldom says that a middle is complete: it goes on, and writes the suffix or something
like it. So it writes more than is wanted, and its texts, and copies, are cut where

    P(text, beginning of the suffix | prefix)

is greatest, which is P(text | prefix, suffix) but for a factor that all have in common. Of 240
spans of held-out files this found 33 %; ending where the suffix is repeated found 19 %, and copying
21 %.
"""

import numpy as np
from numpy.typing import NDArray

from codebyte.sampling import whole_characters
from codebyte.tasks.hole import TAIL, Hole, bits_along


def best_span(hole: Hole, tries: int) -> tuple[bytes, NDArray[np.float32]]:
    """Gives the best text, and the bits of its bytes; not a blank one, unless there is no other.

    Args:
        hole: of any length, with a suffix.
        tries: ends of each text that are compared.
    """
    middle, plain, tail = hole.middle, hole.plain, hole.suffix[:TAIL]
    best, fewest = middle.write(b"", hole.greedy, hole.most), np.inf
    texts = dict.fromkeys([best, *hole.copies()]) if plain.read() else {}
    for text in texts:
        for end, bits in _likely_ends(hole, text, tries):
            if middle.cancel():
                break
            bits += float(bits_along(plain.bits(tail, text[:end]), tail).sum())
            if bits < fewest:
                best, fewest = text[:end], bits
    return best, bits_along(middle.bits(best), best)


def _likely_ends(hole: Hole, text: bytes, most: int) -> list[tuple[int, float]]:
    """Ends with the fewest bits of the text so far and the suffix's first byte.

    In rising order, each with the bits of the text so far.
    """
    bits = hole.plain.bits(text)
    so_far = np.concatenate([[0.0], bits_along(bits, text).cumsum(dtype=np.float64)])
    likely = (so_far + bits[:, hole.suffix[0]]).argsort(kind="stable").tolist()
    whole = [
        end
        for end in likely
        if text[:end].strip() and not (hole.characters and whole_characters(text[:end]) < end)
    ]
    return [(end, so_far[end]) for end in sorted(whole[:most])]
