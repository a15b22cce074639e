"""How often runs of tokens stand in texts: what a scan knows before any model has read them.

A text is cut into words, numbers, signs and line ends, the same way in every language. Runs of one
to five tokens are counted as they are; longer runs are counted again in a plainer form, where all
names but well-known ones and all but the smallest numbers look alike:

    if len(rows) >= limit:     as it is   if len ( rows ) >= limit :
                               plainer    if len ( NAME ) >= NAME :

Counts are kept in a table by hash, so that a few MB hold those of a repository.

Axes: n tokens of a text.
"""

import re
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RUNS = ((False, 1), (False, 2), (False, 3), (False, 4), (False, 5), (True, 3), (True, 5), (True, 7))
"""What is counted: whether in the plainer form, and tokens in a run."""
LONGEST = 7
BITS = 23  # of the number of a counter, for a repository
FILE_BITS = 17  # for one file
MOST_BYTES = 4 << 20  # of a repository that are counted
_MOST = 65_534  # and one more still fits

Hashes = NDArray[np.uint64]
Counts = NDArray[np.uint16]

_TOKEN = re.compile(
    rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*|\d[\w.]*|\n\s*"
    rb"|[=!]==|[-+*/%<>=!&|^~:]=|->|=>|\*\*|//|<<|>>|&&|\|\||::|[^\s\w]"
)
_FACTOR = 0x9E3779B97F4A7C15
_MIX = np.uint64(0x2545F4914F6CDD1D)
_KEPT = frozenset(
    b"False None True and as assert async await break case catch class const continue def del "
    b"delete do elif else enum except export extends final finally fn for from func function "
    b"global go goto if impl import in instanceof interface is lambda let loop match mut new "
    b"nil nonlocal not null or package pass private protected pub public raise range return "
    b"select self static struct super switch this throw true false try type typeof undefined "
    b"union unless until use using var void when where while with yield len isinstance getattr "
    b"hasattr setattr print str int float bool list dict set tuple bytes sorted enumerate zip "
    b"map filter min max sum any all abs open super append items keys values get join split "
    b"strip format startswith endswith args kwargs cls i j n x y key value name length push "
    b"size".split()
)


class _Words(dict[bytes, int]):
    """The number of each token seen so far."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        self._plain = plain

    def __missing__(self, word: bytes) -> int:
        number = _number(_plainer(word) if self._plain else word)
        if len(self) > 1 << 18:
            self.clear()
        self[word] = number
        return number


def _number(word: bytes) -> int:
    word = b"\n" if word.startswith(b"\n") else word
    return (zlib.crc32(word) + 1) * _FACTOR % (1 << 64)


def _plainer(word: bytes) -> bytes:
    first = word[:1]
    if first.isdigit():
        return word if len(word) == 1 and word in b"012" else b"9"
    if first.isalpha() or first == b"_" or first >= b"\x80":
        if word in _KEPT:
            return word
        return b"NAME" if len(word) > 1 and word.isupper() else b"name"
    return word


_words = {plain: _Words(plain) for plain in (False, True)}


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text cut into tokens."""

    starts: NDArray[np.int64]  # (n,), bytes
    ends: NDArray[np.int64]
    ids: tuple[Hashes, Hashes]  # (n,) each, as they are and plainer


def tokenize(source: bytes) -> Tokens:
    """Cuts a text."""
    spans = np.array([match.span() for match in _TOKEN.finditer(source)], np.int64).reshape(-1, 2)
    return Tokens(spans[:, 0], spans[:, 1], numbers(source))


def numbers(text: bytes) -> tuple[Hashes, Hashes]:
    """The tokens' numbers alone, as they are and plainer."""
    found = _TOKEN.findall(text)
    return (
        np.fromiter(map(_words[False].__getitem__, found), np.uint64, len(found)),
        np.fromiter(map(_words[True].__getitem__, found), np.uint64, len(found)),
    )


def run_hashes(ids: Hashes, length: int, plain: bool) -> Hashes:
    """Hashes of the runs that begin at each token, (n - length + 1,)."""
    count = max(0, len(ids) - length + 1)
    total = ids[:count] + np.uint64((length * 2 + plain) * 0x632BE59BD9B4E019 % (1 << 64))
    for i in range(1, length):
        total = total * np.uint64(0x5851F42D4C957F2D) + ids[i : i + count]
    total = (total ^ (total >> np.uint64(29))) * _MIX
    return total ^ (total >> np.uint64(32))


class Usage:
    """Counts of runs in some texts."""

    def __init__(self, bits: int = BITS) -> None:
        self.table: Counts = np.zeros(1 << bits, np.uint16)
        self.tokens = 0
        self.bytes = 0

    def add(self, source: bytes, times: int = 1) -> None:
        """Counts a text so many times; -1 takes it off again."""
        self.add_ids(numbers(source), times)
        self.bytes += times * len(source)

    def add_ids(self, ids: tuple[Hashes, Hashes], times: int = 1) -> None:
        """As `add`, for a text that was cut before."""
        self.tokens += times * len(ids[0])
        mask = np.uint64(len(self.table) - 1)
        found = [run_hashes(ids[plain], n, plain) & mask for plain, n in RUNS]
        slots, counts = np.unique(np.concatenate(found), return_counts=True)
        slots = slots.astype(np.int64)
        new = self.table[slots].astype(np.int64) + times * counts
        self.table[slots] = new.clip(0, _MOST)

    def counts(self, hashes: Hashes) -> Counts:
        """How often runs stand in the texts."""
        return self.table[(hashes & np.uint64(len(self.table) - 1)).astype(np.int64)]
