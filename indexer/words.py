"""Turns code and questions into the terms that lexical search compares.

A name gives its parts and, where it has several, itself without its separators:
`parseHTTPResponse` and `parse_http_response` both give pars, http, respons and parsehttprespons...
Parts are lowered, written out where they are a common abbreviation (cfg, ctx, msg), and stemmed;
words that say nothing (the, self, return) are left out. What a word gives is remembered, since code
repeats its words: that is what makes indexing fast.
"""

import re
from collections import Counter
from functools import lru_cache

from snowballstemmer import stemmer

from codebyte.indexer.abbreviations import ABBREVIATIONS, STOP_WORDS

MAX_WORD = 128  # characters; longer runs are data, not words
MAX_PARTS = 16  # of one name
_CACHED_WORDS = 1 << 17
_MAX_DIGITS = 5

_WORD = re.compile(r"\w+")
_PART = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")
_FOREIGN_PART = re.compile(r"[^\W\d_]+\d*|\d+")
_BORDER = re.compile(r"::|->|[.#/]")
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

_stem = stemmer("english").stemWord


def terms(text: str | bytes) -> list[str]:
    """The terms of a text in its order, repeated as often as they occur."""
    return [term for word in split_words(text) for term in terms_of(word)]


def question_terms(text: str) -> list[str]:
    """The terms of a question, each once; of words that say nothing of code their mark, "~how"."""
    found: list[str] = []
    for word in split_words(text):
        some = terms_of(word)
        lowered = word.lower()
        found.extend(some or (("~" + _stem(lowered),) if lowered in STOP_WORDS else ()))
    return list(dict.fromkeys(found))


def exact_name(name: str) -> str:
    """The term of a whole name as it is written: "=read" of "io.Reader::read()"."""
    return "=" + _BORDER.split(name.strip("()?!~ "))[-1]


def count_terms(text: str | bytes) -> dict[str, int]:
    """How often each term of a text occurs."""
    counts: dict[str, int] = {}
    for word, count in Counter(split_words(text)).items():
        for term in terms_of(word):
            counts[term] = counts.get(term, 0) + count
    return counts


def split_words(text: str | bytes) -> list[str]:
    """The words of a text as written: runs of letters, digits and underscores."""
    return _WORD.findall(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)


@lru_cache(_CACHED_WORDS)
def terms_of(word: str) -> tuple[str, ...]:
    """The terms of one word."""
    if len(word) > MAX_WORD:
        return ()
    found: list[str] = []
    pieces = parts(word)
    for piece in pieces:
        found.extend(_terms_of_part(piece.lower()))
    if len(pieces) > 1:
        found.append(word.replace("_", "").lower())
    return tuple(found)


def parts(name: str) -> list[str]:
    """The parts of a name as written: ["parse", "HTTP", "Response2"] of "parseHTTP_Response2"."""
    return (_PART if name.isascii() else _FOREIGN_PART).findall(name)[:MAX_PARTS]


@lru_cache(_CACHED_WORDS)
def _terms_of_part(part: str) -> tuple[str, ...]:
    if part in STOP_WORDS:
        return ()
    if part.isdigit():
        return (part,) if len(part) <= _MAX_DIGITS else ()
    if _WIDE.search(part):  # written without spaces: pairs of characters
        return tuple(part[i : i + 2] for i in range(max(1, len(part) - 1)))
    letters = part.rstrip("0123456789")
    main = _stem(ABBREVIATIONS.get(letters, letters))
    if letters == part:
        return (main,)
    return (part,) if letters in STOP_WORDS else (main, part)
