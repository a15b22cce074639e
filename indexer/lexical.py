"""Which documents say the words of a query: BM25 over fields, updated in place.

Axes: n postings of a term, s slots (one for each document ever added), f fields.

A document is a slot; a term's postings are the slots that have it, with how often each field does.
Postings lie in segments sorted by term, as in a log-structured merge tree: an update writes a small
segment, small ones are merged into larger ones, and removed documents are masked until enough have
gathered. Frequencies are counted over what is left when a query comes, so that an index that was
updated scores exactly like one built anew.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codebyte.errors import StaleIndexError
from codebyte.indexer.arrays import REMEDY, load_arrays, save_arrays
from codebyte.indexer.fields import BODY, FIELDS, Fields, Statistics, Vocabulary
from codebyte.indexer.postings import MAX_COUNT, Segment, merge, unpack
from codebyte.indexer.words import split_words, terms_of

__all__ = ["FIELDS", "LENGTH", "SATURATION", "WEIGHTS", "Fields", "LexicalIndex", "Statistics"]

WEIGHTS = (2.0, 1.0, 1.4, 1.0)
SATURATION = (2.5, 1.0, 1.5, 1.5)  # BM25's k1
LENGTH = (0.9, 0.0, 0.9, 0.75)  # BM25's b

VERSION = 1
MAX_TERMS = 64  # of a query: the rarest ones
_MOST_DEAD = 0.25  # share of removed slots above which all is written anew

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]


class LexicalIndex:
    """A BM25 index over the fields of documents."""

    def __init__(self) -> None:
        self._vocabulary = Vocabulary()
        self._segments: list[Segment] = []
        self._ids: Ids = np.empty(0, np.int64)
        self._alive: NDArray[np.bool_] = np.empty(0, np.bool_)
        self._lengths: NDArray[np.int32] = np.empty((0, len(FIELDS)), np.int32)
        self._norms: NDArray[np.float32] | None = None  # (s, f), once a query wants it
        self._totals: tuple[int, ...] | None = None  # lengths of all, by field; the same

    def __len__(self) -> int:
        return int(self._alive.sum())

    @property
    def ids(self) -> Ids:
        """The documents there are, in order of addition."""
        return self._ids[self._alive]

    def add(self, ids: Sequence[int] | Ids, documents: Iterable[Fields]) -> None:
        """Adds documents; one whose id is there already takes its place.

        Args:
            ids: of the documents, each once, not negative.
            documents: as many.
        """
        new = np.asarray(ids, np.int64)
        self.remove(new)
        first = len(self._ids)
        terms: list[NDArray[np.int32]] = []
        packed: list[NDArray[np.uint64]] = []
        for document in documents:
            counts = self._vocabulary.count(document)
            terms.append(np.fromiter(counts.keys(), np.int32, len(counts)))
            packed.append(np.fromiter(counts.values(), np.uint64, len(counts)))
        if len(terms) != len(new):
            raise ValueError(f"{len(new)} ids for {len(terms)} documents")
        if not terms:
            return
        counted = unpack(np.concatenate(packed))
        places = np.repeat(np.arange(len(new), dtype=np.int32), [len(some) for some in terms])
        lengths = np.zeros((len(new), len(FIELDS)), np.int32)
        for field in range(len(FIELDS)):
            sums = np.bincount(places, weights=counted[:, field], minlength=len(new))
            lengths[:, field] = sums
        clipped = np.minimum(counted, MAX_COUNT).astype(np.uint8)
        self._segments.append(Segment.of(np.concatenate(terms), first + places, clipped))
        self._ids = np.concatenate([self._ids, new])
        self._alive = np.concatenate([self._alive, np.ones(len(new), np.bool_)])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._norms = self._totals = None
        while len(self._segments) > 1 and (
            2 * len(self._segments[-1].slots) > len(self._segments[-2].slots)
        ):
            self._segments[-2:] = [merge(self._segments[-2:])]

    def remove(self, ids: Sequence[int] | Ids) -> None:
        """Removes documents; ids that are not there are passed over."""
        gone = np.isin(self._ids, np.asarray(ids, np.int64)) & self._alive
        if not gone.any():
            return
        self._alive &= ~gone
        self._norms = self._totals = None
        if np.count_nonzero(~self._alive) > _MOST_DEAD * len(self._alive):
            self._write_anew()

    def statistics(self, query: str | Mapping[str, float]) -> Statistics:
        """What `scores` measures by for a query: to score with other indexes as with one."""
        numbers = {term: self._vocabulary.terms.get(term) for term in _weighted(query)}
        counts = {
            term: 0 if number is None else len(self._postings(number)[0])
            for term, number in numbers.items()
        }
        return Statistics(len(self), self._total(), counts)

    def scores(
        self, query: str | Mapping[str, float], statistics: Statistics | None = None
    ) -> tuple[Ids, Scores]:
        """The documents that have a term of the query, unsorted, with their scores.

        Args:
            query: words, or terms of `codebyte.indexer.words` with weights.
            statistics: of all indexes that are asked; None where this is the only one.
        """
        found = []
        for term, weight in _weighted(query).items():
            if (number := self._vocabulary.terms.get(term)) is not None:
                slots, counts = self._postings(number)
                have = len(slots) if statistics is None else statistics.counts[term]
                found.append((have, term, slots, counts, weight))
        found = sorted(found, key=lambda it: it[:2])[:MAX_TERMS]
        total = np.zeros(len(self._ids), np.float32)
        hit = np.zeros(len(self._ids), np.bool_)
        num = len(self) if statistics is None else statistics.num
        if not num:
            return self._ids[hit], total[hit]
        norms = self._norm(None if statistics is None else statistics.lengths, num)
        weights = np.array(WEIGHTS, np.float32)
        for have, _, slots, counts, weight in found:
            rarity = np.log1p((num - have + 0.5) / (have + 0.5))
            frequencies = counts.astype(np.float32)
            saturated = frequencies / (frequencies + norms[slots])
            total[slots] += np.float32(weight * rarity) * (saturated @ weights)
            hit[slots] = True
        return self._ids[hit], total[hit]

    def bodies(self) -> tuple[Ids, NDArray[np.int32]]:
        """The ids of all slots, -1 of removed ones, and how many terms their bodies have, (s,)."""
        alive = self._alive
        return np.where(alive, self._ids, -1), np.where(alive, self._lengths[:, BODY], 0)

    def postings(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """The slots that have a term, and how often each field does, (n, f)."""
        return self._postings(self._vocabulary.terms.get(term, -1))

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the index to a file; an earlier one stays until the new one is whole."""
        arrays: dict[str, NDArray[np.generic]] = {
            "version": np.array([VERSION, len(self._segments)]),
            "vocabulary": np.frombuffer("\n".join(self._vocabulary.terms).encode(), np.uint8),
            "ids": self._ids,
            "alive": self._alive,
            "lengths": self._lengths,
        }
        for i, segment in enumerate(self._segments):
            for name in Segment.__slots__:
                arrays[f"{name}{i}"] = getattr(segment, name)
        save_arrays(Path(file), arrays)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> "LexicalIndex":
        """Reads what `save` wrote.

        Raises:
            StaleIndexError: it is missing, damaged or of another version.
        """
        arrays = load_arrays(Path(file), VERSION)
        index = cls()
        try:
            text = arrays["vocabulary"].tobytes().decode()
            names = text.split("\n") if text else []
            index._vocabulary = Vocabulary({term: i for i, term in enumerate(names)})
            index._ids, index._alive = arrays["ids"], arrays["alive"]
            index._lengths = arrays["lengths"]
            index._segments = [
                Segment(*(arrays[f"{name}{i}"] for name in Segment.__slots__))
                for i in range(int(arrays["version"][1]))
            ]
        except (KeyError, ValueError) as error:
            raise StaleIndexError(f"{file} is damaged ({error}): {REMEDY}") from error
        return index

    def _postings(self, term: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """The slots that have a term and are not removed, with its counts (n, f)."""
        pieces = [
            (segment.slots[where], segment.counts[where])
            for segment in self._segments
            if (where := segment.range_of(term)).stop > where.start
        ]
        if not pieces:
            return np.empty(0, np.int32), np.empty((0, len(FIELDS)), np.uint8)
        slots = np.concatenate([slots for slots, _ in pieces])
        counts = np.concatenate([counts for _, counts in pieces])
        alive = self._alive[slots]
        return (slots, counts) if alive.all() else (slots[alive], counts[alive])

    def _norm(self, lengths: tuple[int, ...] | None, num: int) -> Scores:
        """What is added below the fraction of BM25, for each slot and field, (s, f).

        Args:
            lengths: of all documents, by field; None for those of this index.
            num: how many documents they are of.
        """
        if lengths is None and self._norms is not None:
            return self._norms
        own = self._total() if lengths is None else lengths
        means = np.maximum(np.array(own, np.float64) / num, 1e-9)
        share, saturation = np.array(LENGTH), np.array(SATURATION)
        norms = saturation * (1 - share + share * (self._lengths / means))
        made: Scores = norms.astype(np.float32)
        if lengths is None:
            self._norms = made
        return made

    def _total(self) -> tuple[int, ...]:
        """The lengths of all documents together, by field."""
        if self._totals is None:
            sums = self._lengths[self._alive].sum(0, dtype=np.int64)
            self._totals = tuple(int(length) for length in sums)
        return self._totals

    def _write_anew(self) -> None:
        """Drops removed documents and the terms that only they had."""
        numbers = np.cumsum(self._alive) - 1
        if not self._alive.any():
            self.__init__()  # type: ignore[misc]
            return
        whole = merge(self._segments)
        kept = self._alive[whole.slots]
        terms = whole.postings()[kept]
        used = np.unique(terms)
        names = list(self._vocabulary.terms)
        self._vocabulary = Vocabulary({names[term]: i for i, term in enumerate(used)})
        self._segments = [
            Segment.of(
                np.searchsorted(used, terms).astype(np.int32),
                numbers[whole.slots[kept]].astype(np.int32),
                whole.counts[kept],
            )
        ]
        self._ids, self._lengths = self._ids[self._alive], self._lengths[self._alive]
        self._alive = np.ones(len(self._ids), np.bool_)


def _weighted(query: str | Mapping[str, float]) -> Mapping[str, float]:
    if not isinstance(query, str):
        return query
    return dict.fromkeys((term for word in split_words(query) for term in terms_of(word)), 1.0)
