r"""Shows how surprising each byte is, as HTML: one row per line, equal neighbours in one span."""

from html import escape
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from codebyte.apps.lines import split_lines

# Lower edges of the heat classes cb-h1 to cb-h7, in bits per character; what is below is plain.
EDGES = (0.5, 1.0, 2.0, 3.5, 5.0, 7.0, 9.0)
_FULL_GAUGE = 6.0  # bits per byte


def heat_map(data: bytes, bits: NDArray[np.float32]) -> str:
    r"""Draws bytes with their surprise.

    Args:
        data: what was scored, any bytes; shown as UTF-8 where they are, and as \xNN where not.
        bits: (len(data),), bits of each byte.

    Returns:
        HTML: a row per line with its number, its bits per byte and its text.
    """
    rows = []
    start = 0
    for number, line in enumerate(split_lines(data), 1):
        span = bits[start : start + len(line)]
        start += len(line)
        mean = float(span.mean())
        rows.append(
            f'<div class="cb-row"><span class="cb-number">{number}</span>'
            f'<span class="cb-bits">{mean:.2f}</span>'
            f'<span class="cb-gauge" style="--share:{min(mean / _FULL_GAUGE, 1):.0%}"></span>'
            f"<span>{_runs(line, span)}</span></div>"
        )
    return f'<div class="cb-heat" tabindex="0">{"".join(rows)}</div>'


def legend() -> str:
    """Explains the colours."""
    boxes = "".join(f'<i class="cb-h{heat}"></i>' for heat in range(len(EDGES) + 1))
    return f'<div class="cb-legend">expected {boxes} surprising</div>'


def _runs(line: bytes, bits: NDArray[np.float32]) -> str:
    sums = np.concatenate([[0.0], np.cumsum(bits, dtype=np.float64)])
    characters = []
    place = 0
    for character in line.decode("utf-8", "surrogateescape"):
        width = len(character.encode("utf-8", "surrogateescape"))
        surprise = sums[place + width] - sums[place]
        place += width
        characters.append((int(np.searchsorted(EDGES, surprise, "right")), character, surprise))
    parts = []
    for heat, group in groupby(characters, key=lambda item: item[0]):
        run = list(group)
        text = escape("".join(_visible(character) for _, character, _ in run))
        if heat == 0:
            parts.append(text.replace("\u21b5", '<span class="cb-end">\u21b5</span>'))
        else:
            mean = sum(surprise for _, _, surprise in run) / len(run)
            parts.append(f'<span class="cb-h{heat}" title="{mean:.1f} bits">{text}</span>')
    return "".join(parts)


def _visible(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape carries it
        return f"\\x{code - 0xDC00:02x}"
    if character == "\n":
        return "\u21b5"
    if code < 0x20 and character != "\t":
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else character
