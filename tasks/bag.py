"""Text and code as bags of words: the parts of identifiers, in the fields that they stand in.

`HTTPServer.read_utf8` holds the words http, server, read, utf and 8, in code as in prose. What a
word says to the embedder are its features: itself and its stem where they are in the vocabulary,
and the 3- to 5-grams of its letters, hashed, so that words never seen before mean something too.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from codebyte.indexer.symbols import definition

PATH, SYMBOL = b"\x1e", b"\x1f"  # a first line may name both: PATH path SYMBOL symbol newline

MAX_BYTES = 8192  # of a chunk; what follows is not read
WORD_BYTES = 24

_WORD = re.compile(rb"[A-Z]+(?![a-z\x80-\xff])|[A-Z]?[a-z\x80-\xff]+|[0-9]+")
_SUFFIXES = (
    (b"ization", b"ize"),
    (b"isation", b"ize"),
    (b"ising", b"ize"),
    (b"ised", b"ize"),
    (b"ise", b"ize"),
    (b"ations", b"ate"),
    (b"ation", b"ate"),
    (b"ators", b"ate"),
    (b"ator", b"ate"),
    (b"ies", b"y"),
    (b"ied", b"y"),
    (b"sses", b"ss"),
    (b"xes", b"x"),
    (b"ches", b"ch"),
    (b"shes", b"sh"),
    (b"ings", b""),
    (b"ing", b""),
    (b"ments", b"ment"),
    (b"ers", b""),
    (b"er", b""),
    (b"ed", b""),
    (b"es", b""),
    (b"ss", b"ss"),
    (b"us", b"us"),
    (b"is", b"is"),
    (b"s", b""),
)
_STEM_BYTES = 3  # no suffix is taken that leaves less


@dataclass(frozen=True, slots=True)
class Fields:
    """What a chunk of code says, apart."""

    symbol: bytes
    path: bytes
    signature: bytes  # the first line
    body: bytes  # all of it


def fields(chunk: bytes) -> Fields:
    """Takes a chunk apart; where no first line names its symbol, the first definition does."""
    if chunk.startswith(PATH):
        head, _, body = chunk.partition(b"\n")
        path, _, symbol = head[1:].partition(SYMBOL)
    else:
        path, body = b"", chunk
        symbol = definition(chunk).symbol.encode()
    body = body[:MAX_BYTES]
    return Fields(symbol, path, body.lstrip().partition(b"\n")[0], body)


def parts(text: bytes) -> list[bytes]:
    """The words of a text as they stand in it, case kept."""
    return _WORD.findall(text)


def word(part: bytes) -> bytes:
    """A part as a word: in lower case, cut to a length, long numbers as one."""
    if part.isdigit() and len(part) > 3:
        return b"0000"
    return part[:WORD_BYTES].lower()


def stem(text: bytes) -> bytes:
    """A word without its ending, roughly; "retries" and "retry" have the same."""
    for suffix, instead in _SUFFIXES:
        if text.endswith(suffix) and len(text) - len(suffix) + len(instead) >= _STEM_BYTES:
            text = text[: -len(suffix)] + instead
            break
    if len(text) > _STEM_BYTES and text[-1] == text[-2] and text[-1] not in b"sl":
        return text[:-1]  # running, stopped
    return text[:-1] if len(text) > _STEM_BYTES and text.endswith(b"e") else text


def features(text: bytes, vocabulary: Mapping[bytes, int], buckets: int) -> list[int]:
    """The rows of a word in the table of features: the vocabulary's first, then the buckets.

    Args:
        text: a word.
        vocabulary: words, and stems marked by a leading "~", with their rows.
        buckets: how many rows n-grams share.
    """
    found = [vocabulary[name] for name in (text, b"~" + stem(text)) if name in vocabulary]
    if not buckets or text.isdigit():
        return found
    marked = b"<" + text + b">"
    first = len(vocabulary)
    grams = {marked[i : i + n] for n in (3, 4, 5) for i in range(max(1, len(marked) - n + 1))}
    return found + [first + zlib.crc32(gram) % buckets for gram in sorted(grams)]
