"""What is searched of a document, field by field, and what rarity is measured by."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from codebyte.indexer.words import exact_name, split_words, terms_of

FIELDS = ("symbol", "path", "signature", "body")
PATH, BODY = FIELDS.index("path"), FIELDS.index("body")
_MAX_NAME = 250  # characters of the short fields, so that their counts fit a byte
_KNOWN_WORDS = 1 << 17


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """What is searched of one document."""

    symbol: str  # its qualified name, such as "Reader.read"
    path: str
    signature: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Statistics:
    """What rarity and lengths are measured by; those of several indexes add up."""

    num: int  # documents
    lengths: tuple[int, ...]  # in terms, of each field, all documents together
    counts: Mapping[str, int]  # how many documents have a term

    def __add__(self, other: "Statistics") -> "Statistics":
        lengths = tuple(a + b for a, b in zip(self.lengths, other.lengths, strict=True))
        terms = {**self.counts, **other.counts}
        counts = {term: self.counts.get(term, 0) + other.counts.get(term, 0) for term in terms}
        return Statistics(self.num + other.num, lengths, counts)

    def rarity(self, term: str) -> float:
        """BM25's weight of a term; 0 of one that no document has."""
        have = self.counts.get(term, 0)
        return math.log1p((self.num - have + 0.5) / (have + 0.5)) if have else 0.0


class Vocabulary:
    """Numbers for terms, and what each word that was met gives."""

    def __init__(self, terms: Mapping[str, int] | None = None) -> None:
        self.terms: dict[str, int] = dict(terms or {})
        self._known: dict[str, tuple[int, ...]] = {}

    def count(self, document: Fields) -> dict[int, int]:
        """How often each term occurs, all fields in one number; see `postings.unpack`."""
        counts: dict[int, int] = {}
        known = self._known
        names = ((document.symbol, 40), (document.path, 48), (document.signature, 56))
        body = document.body.decode("utf-8", "replace")
        for text, shift in ((body, 0), *((name[:_MAX_NAME], shift) for name, shift in names)):
            for word, count in Counter(split_words(text)).items():
                if (numbers := known.get(word)) is None:
                    numbers = self._numbers(word)
                for number in numbers:
                    counts[number] = counts.get(number, 0) + (count << shift)
        name = exact_name(document.symbol[-_MAX_NAME:])
        if len(name) > 1 and not any(character.isspace() for character in name):
            counts[self.terms.setdefault(name, len(self.terms))] = 1 << 40
        return counts

    def _numbers(self, word: str) -> tuple[int, ...]:
        """The terms of a word, new ones included."""
        vocabulary = self.terms
        numbers = tuple(vocabulary.setdefault(term, len(vocabulary)) for term in terms_of(word))
        if len(self._known) >= _KNOWN_WORDS:
            self._known.clear()
        self._known[word] = numbers
        return numbers
