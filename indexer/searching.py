"""Asks words and vectors together, over one moment of an index."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.associations import packaged_associations
from codebyte.indexer.catalog import Catalog, Mask
from codebyte.indexer.embedder import Embedder, nearness_of_paths
from codebyte.indexer.evidence import Evidence
from codebyte.indexer.exact import matching_texts
from codebyte.indexer.fields import Statistics
from codebyte.indexer.query import Query
from codebyte.indexer.ranking import Found, Mode, Ranked, Rules, rank
from codebyte.indexer.snapshot import Snapshot
from codebyte.indexer.store import Entry, Store

MOST_ENTRIES = 1 << 17  # documents that are remembered, each of about 500 bytes
DENSE_CANDIDATES = 500  # of each kind, where not everything is compared


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One result of a search."""

    id: int
    path: str
    start_line: int  # from 1
    end_line: int  # inclusive
    score: float  # of this query: higher is better, not comparable with other queries
    symbol: str  # qualified, or ""
    kind: str
    language: str
    repo: str
    snippet: str  # all that the chunk says
    why: str  # "words", "meaning" or "both"
    copies: int = 0  # how many more documents say the same


@dataclass(frozen=True, slots=True)
class Candidates:
    """What words, related words and vectors found, to be ranked."""

    lexical: Found
    related: Found | None
    dense: Found | None
    files: Evidence | None  # all documents by what their files say


def find(
    store: Store,
    snapshot: Snapshot,
    query: Query,
    *,
    k: int,
    mode: Mode,
    vector: NDArray[np.float32] | None,
    revision: str | None = None,
    without: Sequence[int] = (),
    rules: Rules | None = None,
    embedder: Embedder | None = None,
) -> list[Hit]:
    """The best documents for a query; call it inside `store.reading`.

    Args:
        store: of the snapshot.
        snapshot: from `codebyte.indexer.snapshot.read_snapshot`.
        query: what was asked.
        k: how many.
        mode: which kinds of scores count.
        vector: of the query, (d,); None to go by words alone.
        revision: only of this one.
        without: documents not to find.
        rules: None for the usual ones.
        embedder: of the vector; None where the paths of files are to be told by words alone.
    """
    found = candidates(
        store, snapshot, query, mode=mode, vector=vector, revision=revision, without=without
    )

    def about(documents: Sequence[int]) -> list[Entry]:
        return _entries(store, snapshot, documents)

    def near_paths(paths: Sequence[str]) -> NDArray[np.float32]:
        return nearness_of_paths(paths, vector, embedder, snapshot.path_vectors)

    counted = snapshot.lexical.statistics(packaged_associations().said(query))
    ranked = rank(
        query,
        found.lexical,
        found.dense,
        about,
        k,
        mode,
        rules,
        found.related,
        counted,
        found.files,
        near_paths,
    )
    return hits_of(store, ranked)


def candidates(
    store: Store,
    snapshot: Snapshot,
    query: Query,
    *,
    mode: Mode,
    vector: NDArray[np.float32] | None,
    revision: str | None = None,
    without: Sequence[int] = (),
    statistics: tuple[Statistics, Statistics] | None = None,
) -> Candidates:
    """What there is to rank for a query; the arguments are those of `find`.

    With `statistics`, the words that are said and the related ones are scored with the counts of
    a larger whole, of which this index is a part.
    """
    texts = None
    if query.exact or query.patterns:
        texts = matching_texts(store, query.exact, query.patterns)
    catalog = snapshot.catalog
    mask = catalog.allowed(query, texts, revision)
    if without:
        others = ~np.isin(catalog.ids, np.asarray(without))
        mask = others if mask is None else mask & others
    table = packaged_associations()
    said, meant = (None, None) if statistics is None else statistics
    terms = table.said(query)
    single = snapshot.lexical.scores(terms, said)
    lexical = catalog.keep(*single, mask)
    related = None
    if mode == "hybrid":
        related = catalog.keep(*snapshot.lexical.scores(table.meant(query), meant), mask)
    dense = None
    if vector is not None and mode != "lexical" and snapshot.nearest is not None:
        dense = _dense(snapshot, vector, lexical, mask)
    if mask is not None and (texts is not None or not query.words.strip()):
        lexical = _all_that_passes(catalog, mask, lexical)
    files = None
    if query.kind == "sentence":
        counted = snapshot.lexical.statistics(terms) if said is None else said
        files = snapshot.files(store).of(terms, counted, single, dense)
    return Candidates(lexical, related, dense, files)


def hits_of(store: Store, ranked: Sequence[Ranked]) -> list[Hit]:
    """What is shown of documents, in their order."""
    entries = {entry.id: entry for entry in store.entries([it.id for it in ranked])}
    bodies = store.bodies([it.id for it in ranked])
    return [
        Hit(
            id=it.id,
            path=entry.path,
            start_line=entry.start_line,
            end_line=entry.end_line,
            score=it.score,
            symbol=entry.symbol,
            kind=entry.kind,
            language=entry.language,
            repo=entry.repo,
            snippet=bodies[it.id].decode("utf-8", "replace"),
            why=it.why,
            copies=len(it.copies),
        )
        for it in ranked
        for entry in [entries[it.id]]
    ]


def _entries(store: Store, snapshot: Snapshot, documents: Sequence[int]) -> list[Entry]:
    """Documents by id; those that one query looked at are at hand for the next."""
    held = snapshot.entries
    if len(held) > MOST_ENTRIES:
        held.clear()
    unknown = [number for number in documents if number not in held]
    held.update((entry.id, entry) for entry in store.entries(unknown))
    return [held[number] for number in documents]


def _all_that_passes(catalog: Catalog, mask: Mask, found: Found) -> Found:
    """Every document that passes, those that words did not find with a score of 0."""
    ids = catalog.ids[mask]
    scores = np.zeros(len(ids), np.float32)
    scores[np.searchsorted(ids, found[0])] = found[1]
    return ids, scores


def _dense(
    snapshot: Snapshot, vector: NDArray[np.float32], lexical: Found, mask: Mask | None
) -> Found:
    """Candidates by vectors: all documents where that is cheap, else the nearest ones.

    Those that words found best are compared, too.
    """
    nearest, catalog = snapshot.nearest, snapshot.catalog
    assert nearest is not None
    if nearest.exact:
        return catalog.keep(*catalog.documents_of(nearest.scores(vector)), mask)
    allowed = None if mask is None else catalog.rows_allowed(mask)
    found = catalog.documents_at(*nearest.nearest(vector, DENSE_CANDIDATES, allowed))
    ids, scores = catalog.keep(*found, mask)
    best = lexical[0]
    if len(best) > DENSE_CANDIDATES:
        best = best[np.argpartition(-lexical[1], DENSE_CANDIDATES)[:DENSE_CANDIDATES]]
    rows, also = catalog.rows_of(np.setdiff1d(best, ids))
    more = nearest.of_rows(vector, rows)
    return np.concatenate([ids, also]), np.concatenate([scores, more])
