"""Completion without a model: copies what followed the same text elsewhere in the file.

`Copying` is the same as a distribution, of a target whose source is known, so that its bits can be
set beside a model's.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

SHORTEST = 4  # bytes before the caret that must stand elsewhere too
ENDS_AT = 6  # bytes of the suffix that end the copy of a span
TRUSTED = 32  # a longer match is trusted no more than one of so many bytes
_START, _END = b"\x02", b"\x03"  # control characters, which lines of code do not hold


def copied_line(prefix: bytes, suffix: bytes, longest: int) -> bytes:
    r"""What followed the longest end of the prefix that also stands elsewhere, up to a newline.

    Of several places the nearest before the caret is taken, then the first one after it. For
    example `x = foo(1)\ny = foo(` has ` = foo(` twice, and gives `1)`.

    Args:
        prefix: the text before the caret.
        suffix: the text after it.
        longest: most bytes to copy.
    """
    return _followed(prefix, suffix, longest).partition(b"\n")[0]


def copied_span(prefix: bytes, suffix: bytes, longest: int) -> bytes:
    """As `copied_line`, but up to where the first bytes of the suffix stand, if they do."""
    copied = _followed(prefix, suffix, longest)
    end = copied.find(suffix[:ENDS_AT]) if suffix else -1
    return copied[:end] if end >= 0 else copied.partition(b"\n")[0]


def _followed(prefix: bytes, suffix: bytes, longest: int) -> bytes:
    source, end = b"", 0
    for length in range(SHORTEST, len(prefix)):
        wanted = prefix[-length:]
        before = prefix.rfind(wanted, 0, len(prefix) - 1)
        after = suffix.find(wanted)
        if before < 0 and after < 0:
            break
        source, place = (prefix, before) if before >= 0 else (suffix, after)
        end = place + length
    return source[end : end + longest]


class Copying:
    """Says of each byte of a target: the one that followed the same bytes in its source.

    The longest end of what is written counts; how far it is trusted, by its length, is learned
    from pairs, and the other 256 ids share the rest evenly. The target's beginning matches the
    source's, so that a target which is its source is copied from the first byte to the end.
    """

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Learns how often a match of each length is right."""
        right, total = Counter[int](), Counter[int]()
        for source, target in pairs:
            for length, hit in _matches(source, target):
                right[length] += hit
                total[length] += 1
        self._trust = {
            length: (right[length] + 1) / (total[length] + 2) for length in range(TRUSTED + 1)
        }

    def bits(self, source: bytes, target: bytes) -> list[float]:
        """-log2 p of each of the target's bytes and of its end."""
        found = []
        for length, hit in _matches(source, target):
            trust = self._trust[length]
            found.append(-math.log2(trust if hit else (1 - trust) / 256))
        return found


def _matches(source: bytes, target: bytes) -> Iterator[tuple[int, bool]]:
    """For each byte of the target and its end: the match's length, and whether it was right."""
    source, target = _START + source + _END, _START + target + _END
    for end in range(1, len(target)):
        low, place = 0, 0
        for length in range(1, end + 1):
            found = source.find(target[end - length : end], 0, len(source) - 1)
            if found < 0:
                break
            low, place = length, found + length
        yield min(low, TRUSTED), low > 0 and source[place] == target[end]
