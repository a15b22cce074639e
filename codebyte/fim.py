"""Fill-in-the-middle: documents rearranged so that a model learns to write between two texts.

A cut document `p m s` (prefix, middle, suffix) becomes one of

    PSM  FIM_PREFIX p FIM_SUFFIX s FIM_MIDDLE m EOT
    SPM  FIM_PREFIX FIM_SUFFIX s FIM_MIDDLE p m EOT

Serving uses SPM: what is being typed, p, comes last, so each key adds one id to a cached prompt.
For example `ab|cd|e`:

    PSM  257 'a' 'b' 258 'e' 259 'c' 'd' 256
    SPM  257 258 'e' 259 'a' 'b' 'c' 'd' 256

Source: Bavarian et al. 2022, arXiv:2207.14255 (context-level, character spans, both orders).
"""

import re

import numpy as np
from numpy.typing import NDArray

from codebyte.vocab import EOT, FILE, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX

FIM_EXTRA = 4  # ids a document grows by: three sentinels and EOT
MAX_SPAN_BYTES = 512  # of a middle cut at random characters
MAX_LINES = 6  # of a middle of whole lines
SPAN_KINDS = ("characters", "line end", "lines", "identifier")
# running sums: 35 % characters, 40 % line end (what an editor asks for most), 15 % lines, 10 %
# identifier
_SHARES = (0.35, 0.75, 0.90)
_NEWLINE = 10
_IDENTIFIER = re.compile(rb"[A-Za-z_]\w*")


def fim_prompt(prefix: bytes, suffix: bytes, path: str | bytes | None = None) -> list[int]:
    """The ids after which a model writes what belongs between prefix and suffix.

    In SPM order; with no suffix, the prefix as it is. A path goes before everything.
    """
    header = [] if path is None else path_header(path)
    if not suffix:
        return [*header, *prefix]
    return [*header, FIM_PREFIX, FIM_SUFFIX, *suffix, FIM_MIDDLE, *prefix]


def path_header(path: str | bytes) -> list[int]:
    """The ids that tell a path, before its document: FILE, the bytes of the path, a newline."""
    raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
    return [FILE, *raw.replace(b"\n", b" "), _NEWLINE]


def apply_fim(document: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Cuts a document, already cropped to what fits, and puts it in one of the two orders.

    Args:
        document: uint8 (n,), n > 0.
        rng: draws the order and the span.

    Returns:
        uint16 (n + FIM_EXTRA,).
    """
    _, start, end = choose_span(document, rng)
    return arrange(document, start, end, suffix_first=bool(rng.random() < 0.5))


def arrange(
    document: NDArray[np.uint8], start: int, end: int, *, suffix_first: bool
) -> NDArray[np.uint16]:
    """Puts a document cut at start and end in PSM order, or in SPM order where suffix_first."""
    prefix, middle, suffix = document[:start], document[start:end], document[end:]
    if suffix_first:
        parts = [[FIM_PREFIX, FIM_SUFFIX], suffix, [FIM_MIDDLE], prefix, middle, [EOT]]
    else:
        parts = [[FIM_PREFIX], prefix, [FIM_SUFFIX], suffix, [FIM_MIDDLE], middle, [EOT]]
    return np.concatenate([np.asarray(part, np.uint16) for part in parts])


def restore(ids: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Undoes `apply_fim`: sentinels and the final EOT gone, the parts back in their places."""
    suffix_at = int(np.flatnonzero(ids == FIM_SUFFIX)[0])
    middle_at = int(np.flatnonzero(ids == FIM_MIDDLE)[0])
    prefix, suffix, rest = ids[1:suffix_at], ids[suffix_at + 1 : middle_at], ids[middle_at + 1 : -1]
    order = [rest, suffix] if suffix_at == 1 else [prefix, rest, suffix]
    return np.concatenate(order).astype(np.uint8)


def choose_span(document: NDArray[np.uint8], rng: np.random.Generator) -> tuple[str, int, int]:
    """Chooses the middle of a document: one of `SPAN_KINDS`, and the half-open range of its bytes.

    A kind that the document cannot give at the place drawn (no identifier near, an empty line)
    becomes a span of characters. A cut never falls inside a UTF-8 character.
    """
    length = len(document)
    kind = SPAN_KINDS[int(np.searchsorted(_SHARES, rng.random(), side="right"))]
    at = int(rng.integers(length))
    if kind == "line end":
        start, end = _character(document, at), _line_end(document, at)
    elif kind == "lines":
        start, end = _whole_lines(document, at, rng)
    elif kind == "identifier":
        found = _IDENTIFIER.search(document[at : at + MAX_SPAN_BYTES].tobytes())
        start, end = (at + found.start(), at + found.end()) if found else (0, 0)
    else:
        start = end = 0
    if start >= end:
        kind = "characters"
        span = int(min(MAX_SPAN_BYTES, length) ** rng.random())  # as many short ones as long ones
        at = int(rng.integers(length - span + 1))
        start, end = _character(document, at), _character(document, at + span)
    return kind, start, end


def _character(document: NDArray[np.uint8], at: int) -> int:
    """The first place from `at` on that is not inside a UTF-8 character, within three places."""
    for place in range(at, min(at + 3, len(document))):
        if document[place] & 0xC0 != 0x80:
            return place
    return min(at + 3, len(document)) if at < len(document) else at


def _line_end(document: NDArray[np.uint8], at: int) -> int:
    found = np.flatnonzero(document[at:] == _NEWLINE)
    return at + int(found[0]) if len(found) else len(document)


def _whole_lines(document: NDArray[np.uint8], at: int, rng: np.random.Generator) -> tuple[int, int]:
    """Some whole lines from the one that holds `at` on, without the last newline.

    Half of the time without the first indent, too: that is where a caret waits.
    """
    before = np.flatnonzero(document[:at] == _NEWLINE)
    start = int(before[-1]) + 1 if len(before) else 0
    ends = np.flatnonzero(document[at:] == _NEWLINE)
    wanted = min(int(rng.geometric(0.5)), MAX_LINES)
    end = at + int(ends[min(wanted, len(ends)) - 1]) if len(ends) else len(document)
    if rng.random() < 0.5:
        printed = np.flatnonzero((document[start:end] != 32) & (document[start:end] != 9))
        start += int(printed[0]) if len(printed) else 0
    return start, end
