"""Postings of a lexical index: which documents have a term, and how often each field does.

A segment holds the postings of some documents, sorted by term; it never changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_COUNT = 255  # more occurrences of a term in a field count as so many


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings of some documents, in order of term and slot."""

    terms: NDArray[np.int32]  # (number of terms,), ascending
    starts: NDArray[np.int64]  # (number of terms + 1,)
    slots: NDArray[np.int32]  # (number of postings,)
    counts: NDArray[np.uint8]  # (number of postings, f)

    @classmethod
    def of(
        cls, terms: NDArray[np.int32], slots: NDArray[np.int32], counts: NDArray[np.uint8]
    ) -> "Segment":
        """Sorts postings in which the slots of each term already ascend."""
        order = np.argsort(terms, kind="stable")
        found, starts = np.unique(terms[order], return_index=True)
        return cls(found, np.append(starts, len(terms)), slots[order], counts[order])

    def postings(self) -> NDArray[np.int32]:
        """The term of each posting."""
        return np.repeat(self.terms, np.diff(self.starts))

    def range_of(self, term: int) -> slice:
        """Where a term's postings lie."""
        place = int(np.searchsorted(self.terms, np.int32(term)))  # of one type: else all are copied
        if place == len(self.terms) or self.terms[place] != term:
            return slice(0, 0)
        return slice(int(self.starts[place]), int(self.starts[place + 1]))


def unpack(packed: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Counts by field, (n, f), of numbers with 40 bits for the body and 8 for each other field."""
    counts = np.empty((len(packed), 4), np.int64)
    for field, shift in enumerate((40, 48, 56)):
        counts[:, field] = (packed >> np.uint64(shift)) & np.uint64(0xFF)
    counts[:, 3] = packed & np.uint64((1 << 40) - 1)
    return counts


def merge(segments: Sequence[Segment]) -> Segment:
    """One segment of several, whose slots ascend from one to the next."""
    return Segment.of(
        np.concatenate([segment.postings() for segment in segments]),
        np.concatenate([segment.slots for segment in segments]),
        np.concatenate([segment.counts for segment in segments]),
    )
