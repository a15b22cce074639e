"""How much whole files say of a query: BM25 over their paths and bodies.

What a question is about is often spread over the functions of a file, none of which says all of it.
Rarity and length are measured by documents, so that shards together score as one index does.
The names of functions are left out: with them a file that has many of them says everything.

Axes: n documents, ascending by id; s slots of the lexical index.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.catalog import Catalog
from codebyte.indexer.fields import BODY, PATH, Statistics
from codebyte.indexer.lexical import LENGTH, MAX_TERMS, SATURATION, LexicalIndex

USUAL = 16  # documents of mean length make a file of usual length


class WholeFiles:
    """The files of an index at one moment."""

    def __init__(self, lexical: LexicalIndex, catalog: Catalog) -> None:
        self._lexical, self._catalog = lexical, catalog
        ids, lengths = lexical.bodies()
        there = ids >= 0
        self._of_slot = np.zeros(len(ids), np.int64)  # (s,)
        self._of_slot[there] = catalog.file_of[np.searchsorted(catalog.ids, ids[there])]
        self._num = int(catalog.file_of.max(initial=-1)) + 1
        self._lengths = np.bincount(self._of_slot, lengths, self._num)

    def scores(
        self, query: Mapping[str, float], statistics: Statistics
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All documents, each with the score of its file.

        Args:
            query: terms with weights.
            statistics: of the documents of all indexes that are asked.
        """
        usual = max(USUAL * statistics.lengths[BODY] / max(statistics.num, 1), 1e-9)
        share = LENGTH[BODY]
        norms = SATURATION[BODY] * (1 - share + share * self._lengths / usual)
        found = sorted((have, term) for term, have in statistics.counts.items() if have)
        total = np.zeros(self._num)
        for _, term in found[:MAX_TERMS]:
            slots, counts = self._lexical.postings(term)
            files = self._of_slot[slots]
            said = np.bincount(files, counts[:, BODY], self._num)
            named = np.bincount(files, counts[:, PATH], self._num)
            shares = said / (said + norms) + named / (named + SATURATION[PATH])
            total += query[term] * statistics.rarity(term) * shares
        return self._catalog.ids, total[self._catalog.file_of].astype(np.float32)
