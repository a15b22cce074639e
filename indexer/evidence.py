"""What the file of each document says for it, one column for each kind of evidence.

Axes: n documents, ascending by id; m files; e kinds of evidence.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.catalog import Catalog
from codebyte.indexer.fields import Statistics
from codebyte.indexer.history import History
from codebyte.indexer.languages import PROSE, SETTINGS, is_test
from codebyte.indexer.lexical import LexicalIndex
from codebyte.indexer.whole_files import Found, WholeFiles

# whole: the words of the file; history: those of the commits that changed it; cover: how much of
# the question one piece of it says; language and folder: how much of the repository's code is in
# the same; beginning: how near its first piece is.
EVIDENCE = ("whole", "history", "cover", "language", "folder", "beginning")
Evidence = tuple[NDArray[np.int64], NDArray[np.float32]]  # ids of documents, (n, e)

_NO_CODE = {*PROSE, *SETTINGS, "html", "css", ""}


class FileEvidence:
    """The files of an index at one moment."""

    def __init__(
        self, lexical: LexicalIndex, catalog: Catalog, histories: Mapping[str, History]
    ) -> None:
        self._catalog, self._whole = catalog, WholeFiles(lexical, catalog)
        self._usual = _usual(catalog)
        self._histories: list[tuple[History, NDArray[np.int64]]] = []  # (m,), -1 for no history
        for repo, history in histories.items():
            places = {path: i for i, path in enumerate(history.files)}
            own = [places.get(path, -1) if of == repo else -1 for path, _, of in catalog.files]
            self._histories.append((history, np.array(own, np.int64)))

    def of(
        self,
        terms: Mapping[str, float],
        statistics: Statistics,
        single: Found,
        dense: Found | None,
    ) -> Evidence:
        """All documents, each with the evidence of its file.

        Args:
            terms: of the query, with weights.
            statistics: of the documents of all indexes that are asked.
            single: documents that have a term of the query, unsorted, with their own scores.
            dense: documents with their cosines.
        """
        catalog = self._catalog
        found = np.zeros((len(catalog.files), len(EVIDENCE)))
        found[:, [0, 2]] = self._whole.scores(terms, statistics, single)
        for history, places in self._histories:
            known = places >= 0
            found[known, 1] = history.scores(terms)[places[known]]
        found[:, 3:5] = self._usual
        found[:, 5] = self._beginnings(dense)
        return catalog.ids, found[catalog.file_of].astype(np.float32)

    def _beginnings(self, dense: Found | None) -> NDArray[np.float64]:
        """The cosine of each file's first document, -1 where it is not known, (m,)."""
        own = np.full(len(self._catalog.ids), -1.0)
        if dense is not None:
            own[np.searchsorted(self._catalog.ids, dense[0])] = dense[1]
        near = np.full(len(self._catalog.files), -1.0)
        near[self._whole.has] = own[self._whole.first]
        return near


def _usual(catalog: Catalog) -> NDArray[np.float64]:
    """The shares of a repository's code in each file's language and outermost folder, (m, 2)."""
    sizes = np.bincount(catalog.file_of, minlength=len(catalog.files)).tolist()
    kinds = [
        [(repo, language), (repo, path.partition("/")[0] if "/" in path else "")]
        for path, language, repo in catalog.files
    ]
    shares = np.zeros((len(sizes), 2))
    for column in (0, 1):
        counted: Counter[Sequence[str]] = Counter()
        whole: Counter[str] = Counter()
        for (path, language, repo), size, kind in zip(catalog.files, sizes, kinds, strict=True):
            if language not in _NO_CODE and not (column and is_test(path)):
                counted[kind[column]] += size
                whole[repo] += size
        for i, kind in enumerate(kinds):
            shares[i, column] = counted[kind[column]] / max(whole[kind[column][0]], 1)
    return shares
