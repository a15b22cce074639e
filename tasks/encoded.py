"""Encoded data inside text: base64, hexadecimal, escapes and lists of byte values.

Runs that are only separated by quotes, commas and line ends belong together: a payload is usually
broken into lines. What can be decoded is, to tell what it holds by its first bytes; nothing is run
or unpacked.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from codebyte.tasks.secrets import entropy

ENCODED, NUMBERS = "CB201", "CB202"

_RUN = re.compile(rb"[A-Za-z0-9+/_=-]{40,}+")
_HEX = re.compile(rb"[0-9a-fA-F]{48,}+")
_ESCAPES = re.compile(
    rb"(?:\\x[0-9a-fA-F]{2}){12,}+|(?:\\u00[0-9a-fA-F]{2}){12,}+|(?:\\[0-3][0-7]{2}){12,}+"
    rb"|(?:%[0-9a-fA-F]{2}){16,}+"
)
_NUMBERS = re.compile(rb"(?:(?:0[xX][0-9a-fA-F]{1,16}+|\d{1,3}+)[uUlL]{0,3}+\s*+[,;]\s*+){20,}+")
_NUMBER = re.compile(rb"0[xX][0-9a-fA-F]+|\d+")
_GAP = re.compile(rb"(?:[\s\"'`+,\\;#*.()|>-]|[bu](?=[\"'])|//|\\n){1,40}")
_CLASSES = bytes.maketrans(
    bytes(range(256)),
    bytes(
        1 if 65 <= b <= 90 else 2 if 97 <= b <= 122 else 3 if 48 <= b <= 57 else 4
        for b in range(256)
    ),
)
_LEAST_TURNS = 0.5  # share of neighbours of different class; base64 has 0.65, names below 0.4
_MAGIC = {
    b"\x1f\x8b\x08": "gzip data",
    b"x\x9c": "zlib data",
    b"x\xda": "zlib data",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"PK\x03\x04": "a zip archive",
    b"\x7fELF": "a program (ELF)",
    b"MZ": "a Windows program",
    b"\xca\xfe\xba\xbe": "Java or macOS code",
    b"\0asm": "WebAssembly",
    b"\x80\x04\x95": "a Python pickle",
    b"#!/": "a script",
    b"import ": "Python code",
    b"<?php": "PHP code",
    b"<script": "a script",
}
_KNOWN_USES = re.compile(
    rb"(?:data:[\w/+.;=-]{0,60}base64,|sourceMappingURL\S{0,80}|ssh-(?:rsa|ed25519|dss) "
    rb"|sha(?:1|256|384|512)[-:=]"
    rb"|BEGIN (?:CERTIFICATE|PUBLIC KEY|RSA PUBLIC KEY|SSH2)[^\n]{0,20}\s+"
    rb"|PRIVATE KEY-----[\s\\\"'`+,]{0,40})[\"']?\Z"  # a secret, and told as one
)


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a file that is out of place."""

    rule: str
    start: int  # byte range of the file, half-open
    end: int
    suspicion: float  # 0 to 1
    message: str
    reasons: tuple[str, ...] = ()


def find_encoded(data: bytes) -> Iterator[Region]:
    """Yields stretches of encoded data."""
    for start, end, length in _grouped(data, _base64_runs(data)):
        if _turns(b"".join(_RUN.findall(data, start, end)))[0] < _LEAST_TURNS:
            continue
        yield _encoded(data, start, end, length, "base64", 0.3 + 0.2 * math.log2(length / 64))
    for start, end, length in _grouped(data, _hex_runs(data)):
        yield _encoded(data, start, end, length, "hexadecimal", 0.2 + 0.2 * math.log2(length / 64))
    escapes = [(m.start(), m.end()) for m in _ESCAPES.finditer(data)]
    for start, end, length in _grouped(data, escapes):
        kind = "escaped"
        yield _encoded(data, start, end, length, kind, 0.3 + 0.2 * math.log2(length / 64))
    yield from _number_lists(data)


def _base64_runs(data: bytes) -> Iterator[tuple[int, int]]:
    for match in _RUN.finditer(data):
        turns, classes = _turns(match[0])
        # A single line may by chance turn less often than the whole.
        if turns >= 0.8 * _LEAST_TURNS and classes >= {1, 2, 3} and entropy(match[0]) > 4.0:
            yield match.span()


def _turns(run: bytes) -> tuple[float, set[int]]:
    """How often neighbours are of different classes, and which classes there are."""
    classes = np.frombuffer(run.translate(_CLASSES), np.uint8)
    return np.count_nonzero(classes[1:] != classes[:-1]) / (len(classes) - 1), set(classes.tolist())


def _hex_runs(data: bytes) -> Iterator[tuple[int, int]]:
    for match in _HEX.finditer(data):
        letters = sum(byte > 57 for byte in match[0]) / len(match[0])
        if 0.08 < letters < 0.7 and entropy(match[0]) > 2.8:
            yield match.span()


def _grouped(data: bytes, runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Joins runs with next to nothing between them; gives start, end and encoded characters."""
    start = end = length = -1
    for left, right in runs:
        if start >= 0 and left - end <= 40 and _GAP.fullmatch(data, end, left):
            end, length = right, length + right - left
            continue
        if start >= 0:
            yield start, end, length
        start, end, length = left, right, right - left
    if start >= 0:
        yield start, end, length


def _encoded(data: bytes, start: int, end: int, length: int, kind: str, suspicion: float) -> Region:
    suspicion = min(0.9, suspicion)
    reasons = [f"{length:,} characters of {kind} data"]
    holds = _what_it_holds(data[start : min(end, start + 400)], kind)
    if holds:
        reasons.append(f"decodes to {holds}")
        suspicion = min(0.97, suspicion + 0.2)
    if _KNOWN_USES.search(data, max(0, start - 160), start):
        reasons.append("in a place where such data is usual")
        suspicion *= 0.4
    # One digest by itself is everyday: of MD5 to SHA-512, in either notation.
    elif (kind == "hexadecimal" and length in (64, 96, 128)) or length < 90:
        suspicion *= 0.6
    message = f"{length:,} characters of {kind} data inside the text"
    return Region(ENCODED, start, end, max(0.0, suspicion), message, tuple(reasons))


def _what_it_holds(text: bytes, kind: str) -> str | None:
    """What the first bytes of encoded data say that it is."""
    try:
        if kind == "escaped":
            pairs = re.findall(rb"(?:\\x|\\u00|%)([0-9a-fA-F]{2})|\\([0-3][0-7]{2})", text)
            raw = bytes(int(digits, 16) if digits else int(octal, 8) for digits, octal in pairs)
        elif kind == "hexadecimal":
            digits = re.sub(rb"[^0-9a-fA-F]", b"", text)
            raw = binascii.unhexlify(digits[: len(digits) // 2 * 2])
        else:
            clean = re.sub(rb"[^A-Za-z0-9+/]", b"", text.translate(bytes.maketrans(b"-_", b"+/")))
            raw = base64.b64decode(clean[: len(clean) // 4 * 4])
    except ValueError:
        return None
    return next((name for magic, name in _MAGIC.items() if raw.startswith(magic)), None)


def _number_lists(data: bytes) -> Iterator[Region]:
    for match in _NUMBERS.finditer(data):
        listed = _NUMBER.findall(match[0])
        # The last one has no comma after it.
        values = [
            int(number, 0) if number[:1] != b"0" else _octal_free(number) for number in listed
        ]
        if max(values) < 64:
            continue
        steps = [b - a for a, b in pairwise(values)]
        in_order = max(sum(step >= 0 for step in steps), sum(step <= 0 for step in steps))
        repeated = len(set(steps)) < len(steps) / 8
        are_bytes = max(values) < 256
        hexadecimal = sum(number[:2].lower() == b"0x" for number in listed) > len(listed) / 2
        suspicion = min(0.9, 0.3 + 0.2 * math.log2(len(values) / 20))
        reasons = [f"{len(values):,} {'bytes' if are_bytes else 'words'} written as numbers"]
        holds = _magic_of(values) if are_bytes else None
        if holds:
            reasons.append(f"begins like {holds}")
            suspicion = max(0.93, suspicion)
        if in_order > 0.9 * len(steps) or repeated:
            reasons.append("in order, as a table is")
            suspicion *= 0.3
        if not are_bytes:
            suspicion *= 0.7
        if not hexadecimal:
            suspicion *= 0.9
        spread = len(set(values)) / min(len(values), 256 if are_bytes else len(values))
        if spread < 0.25:
            reasons.append("few different values")
            suspicion *= 0.5
        message = f"a list of {len(values):,} {'byte values' if are_bytes else 'numbers'}"
        yield Region(NUMBERS, *match.span(), suspicion, message, tuple(reasons))


def _octal_free(number: bytes) -> int:
    """The value of 0x1f, and of 007, which Python would refuse."""
    return int(number, 16) if number[:2] in (b"0x", b"0X") else int(number)


def _magic_of(values: list[int]) -> str | None:
    first = bytes(values[:16])
    return next((name for magic, name in _MAGIC.items() if first.startswith(magic)), None)
