r"""Shows how surprising each byte is, as HTML: one row per line, equal neighbours in one span.

heat.js tells the bits of what is pointed at or reached by keys: they stand once for each line, so
that a map of n bytes has some 40 n characters at most, however its colours change.
"""

from collections.abc import Iterable
from html import escape
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from codebyte.apps.lines import split_lines

# Lower edges of the heat classes cb-h1 to cb-h7, in bits per character; what is below is plain.
EDGES = (0.5, 1.0, 2.0, 3.5, 5.0, 7.0, 9.0)
MOST_DRAWN = 64 << 10  # bytes of one map; more would be slow to draw in a browser, not to score
HEAT = (  # what makes an element a heat map
    'data-heat tabindex="0" role="group" aria-label="Heat map: arrow keys tell bits of characters"'
)
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
        text = line.decode("utf-8", "surrogateescape")
        widths = [len(letter.encode("utf-8", "surrogateescape")) for letter in text]
        rows.append(
            f'<div class="cb-row"><span class="cb-number">{number}</span>'
            f'<span class="cb-bits">{mean:.2f}</span>'
            f'<span class="cb-gauge" style="--share:{min(mean / _FULL_GAUGE, 1):.0%}"></span>'
            f'<span data-b="{told(span, widths)}">{_runs(text, widths, span)}</span></div>'
        )
    return f'<div class="cb-heat" {HEAT}>{"".join(rows)}</div>'


def told(bits: NDArray[np.float32], widths: Iterable[int]) -> str:
    """The bits of every byte as heat.js reads them: "0.07 2.31+0.40" for bytes of 1, then 2."""
    listed = [f"{value:.2f}" for value in bits.tolist()]
    place = 0
    parts = []
    for width in widths:
        parts.append("+".join(listed[place : place + width]))
        place += width
    return " ".join(parts)


def legend() -> str:
    """Explains the colours."""
    boxes = "".join(f'<i class="cb-h{heat}"></i>' for heat in range(len(EDGES) + 1))
    return f'<div class="cb-legend">expected {boxes} surprising</div>'


def _runs(text: str, widths: list[int], bits: NDArray[np.float32]) -> str:
    sums = np.concatenate([[0.0], np.cumsum(bits, dtype=np.float64)])
    ends = np.cumsum([0, *widths])
    heats = np.searchsorted(EDGES, sums[ends[1:]] - sums[ends[:-1]], "right").tolist()
    parts = []
    for heat, group in groupby(zip(heats, text, strict=True), key=lambda item: item[0]):
        shown = "".join(_visible(letter) for _, letter in group)
        parts.append(f'<span class="cb-h{heat}">{shown}</span>' if heat else shown)
    return "".join(parts)


def _visible(character: str) -> str:
    """A character as HTML; where it is shown as several, as one thing to point at."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape carries it
        return f"<span data-one>\\x{code - 0xDC00:02x}</span>"
    if character == "\n":
        return '<span class="cb-end">\u21b5</span>'
    if code < 0x20 and character != "\t":
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else escape(character)
