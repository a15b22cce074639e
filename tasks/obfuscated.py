"""Code that nobody is meant to read: packed, obfuscated, minified."""

import math
import re
from collections.abc import Iterator

import numpy as np

from codebyte.tasks.encoded import Region

PACKED, MINIFIED = "CB203", "CB204"

_RUNS = (
    rb"\b(?:eval|exec|execfile|Function|setTimeout|compile|system|popen|assert|IEX"
    rb"|Invoke-Expression)"
)
_DECODES = (
    rb"(?:b(?:16|32|64|85)decode|base64_decode|atob|unhexlify|fromhex|decompress|marshal\.loads"
    rb"|fromCharCode|gzinflate|gzuncompress|str_rot13|unescape|FromBase64String|a2b_base64"
    rb"|Buffer\.from\([^)\n]{0,200}base64)"
)
_SIGNS = [
    (0.98, "a packer's eval(function(p,a,c,k,e,...))", rb"eval\(function\(p,\s?a,\s?c,\s?k,\s?e,"),
    (0.95, "decoded data is run", _RUNS + rb"\s{0,3}\([^\n]{0,200}?" + _DECODES),
    (0.97, "code spelled in brackets alone", rb"[\[\]()!+]{200,}+"),
    (
        0.9,
        "text put together from character codes",
        rb"fromCharCode\((?:\s*(?:0x)?\w{1,5}\s*,){11}",
    ),
    (0.9, "text put together from character codes", rb"(?:chr\(\s*\w{1,5}\s*\)\s*[.+]\s*){8,}+"),
    (
        0.93,
        "a hidden import of a decoder",
        rb"__import__\(['\"](?:zlib|base64|marshal|codecs)['\"]\)",
    ),
    (
        0.9,
        "an encoded PowerShell command",
        rb"(?i)powershell[^\n]{0,80}\s-e(?:nc|ncodedcommand)?\s",
    ),
    (0.9, "escaped text is written as code", rb"document\.write\(\s*unescape\("),
]
_COMPILED = [(sure, why, re.compile(pattern)) for sure, why, pattern in _SIGNS]
_HEX_NAME = re.compile(rb"\b_0x[0-9a-f]{3,8}\b")
_MANY_HEX_NAMES = 8
_WINDOW = 256  # bytes
_LEAST_MINIFIED = 200  # bytes
_MOST_LINE_ENDS = 1  # in a window; what people write has half a dozen
_LEAST_LINE = 160  # bytes of the longest line, else nothing in a file is minified
_SPACE, _MARK = np.zeros(256, bool), np.zeros(256, bool)
_SPACE[[9, 10, 13, 32]] = True
_MARK[list(b"{}()[];,=.:?&|!+<>\"'")] = True
_STRUCTURE = np.zeros(256, bool)
_STRUCTURE[list(b"{};=()")] = True


def find_obfuscated(data: bytes) -> Iterator[Region]:
    """Yields stretches of packed or minified code."""
    for sure, why, pattern in _COMPILED:
        if (match := pattern.search(data)) is not None:
            yield Region(PACKED, *match.span(), sure, "packed or obfuscated code", (why,))
    names = [match.start() for match in _HEX_NAME.finditer(data)]
    if len(names) >= _MANY_HEX_NAMES:
        reason = f"{len(names)} names such as {data[names[0] : names[0] + 9].decode('latin-1')}"
        end = data.find(b"\n", names[0])
        span = names[0], len(data) if end < 0 else end
        yield Region(PACKED, *span, 0.96, "packed or obfuscated code", (reason,))
    yield from _minified(data)


def _minified(data: bytes) -> Iterator[Region]:
    """Yields stretches with next to no white space and as many marks as code has."""
    if len(data) < _LEAST_MINIFIED:
        return
    array = np.frombuffer(data, np.uint8)
    window = min(_WINDOW, len(data))
    lengths = np.diff(np.flatnonzero(array == 10), prepend=-1, append=len(array))
    if int(lengths.max()) < _LEAST_LINE:
        return
    dense = _share(_SPACE[array], window) < 0.09
    dense &= _share(array == 10, window) <= _MOST_LINE_ENDS / window
    dense &= _share(_MARK[array], window) > 0.13
    dense &= _share(_STRUCTURE[array], window) > 0.07
    edges = np.flatnonzero(np.diff(dense.astype(np.int8), prepend=0, append=0))
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        start, end = first, last - 1 + window
        length = end - start
        suspicion = min(0.95, 0.45 + 0.13 * math.log2(length / _WINDOW + 0.5))
        spaces = float(_SPACE[array[start:end]].mean())
        reasons = (f"{length:,} bytes with {spaces:.0%} white space",)
        yield Region(MINIFIED, start, end, suspicion, "minified code", reasons)


def _share(marks: np.ndarray, window: int) -> np.ndarray:
    """The share of marked bytes in the window that begins at each byte."""
    sums = np.concatenate([[0], np.cumsum(marks, dtype=np.int64)])
    return (sums[window:] - sums[:-window]) / window
