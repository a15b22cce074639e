"""How much whole files say of a query: BM25 over their bodies, and over the first piece of each.

What a question is about is often spread over the functions of a file, none of which says all of it;
and what a file is for is said at its beginning. In a file a word may occur often and still tell
more each time: hence a saturation above that of pieces. Rarity and length are measured by
documents, so that shards together score as one index does.

Axes: n documents, ascending by id; s slots of the lexical index; m files.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.catalog import Catalog
from codebyte.indexer.fields import BODY, Statistics
from codebyte.indexer.lexical import LENGTH, MAX_TERMS, LexicalIndex

Found = tuple[NDArray[np.int64], NDArray[np.float32]]  # ids and scores, in any order

USUAL = 16  # documents of mean length make a file of usual length
SATURATED = 3.0  # BM25's k1
BEGINNING = 0.2  # what the score of a file's first document counts, all of its fields


class WholeFiles:
    """The files of an index at one moment."""

    def __init__(self, lexical: LexicalIndex, catalog: Catalog) -> None:
        self._lexical, self._catalog = lexical, catalog
        ids, lengths = lexical.bodies()
        there = ids >= 0
        self._of_slot = np.zeros(len(ids), np.int64)  # (s,)
        self._of_slot[there] = catalog.file_of[np.searchsorted(catalog.ids, ids[there])]
        self._num = len(catalog.files)
        # Files with documents, and the places of their first ones.
        self.has, self.first = np.unique(catalog.file_of, return_index=True)
        self._lengths = np.bincount(self._of_slot, lengths, self._num)

    def scores(
        self, query: Mapping[str, float], statistics: Statistics, single: Found
    ) -> NDArray[np.float64]:
        """What each file says, and how much of the query the best of its documents does, (m, 2).

        Args:
            query: terms with weights.
            statistics: of the documents of all indexes that are asked.
            single: documents that have a term of the query, unsorted, with their own scores.
        """
        usual = max(USUAL * statistics.lengths[BODY] / max(statistics.num, 1), 1e-9)
        share = LENGTH[BODY]
        norms = SATURATED * (1 - share + share * self._lengths / usual)
        rarities = {
            term: query[term] * statistics.rarity(term)
            for _, term in sorted((have, term) for term, have in statistics.counts.items() if have)
        }
        total, said = np.zeros(self._num), np.zeros(len(self._of_slot))
        for term, rarity in list(rarities.items())[:MAX_TERMS]:
            slots, counts = self._lexical.postings(term)
            often = np.bincount(self._of_slot[slots], counts[:, BODY], self._num)
            total += rarity * often / (often + norms)
            said[slots] += rarity
        own = np.zeros(len(self._catalog.ids))
        own[np.searchsorted(self._catalog.ids, single[0])] = single[1]
        total[self.has] += BEGINNING * own[self.first]
        cover = np.zeros(self._num)
        np.maximum.at(cover, self._of_slot, said)
        return np.stack([total, cover / max(sum(rarities.values()), 1e-9)], 1)
