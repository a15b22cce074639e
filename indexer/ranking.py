"""Orders what words and vectors found: fusion, then what is known about code.

A cosine counts as so many units of BM25, fewer where a name is asked for: that keeps how sure the
words are, which reciprocal ranks, and scores brought to 0..1, forget. Then the rules of
`codebyte.indexer.rules`; and copies are folded into one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.fields import Statistics
from codebyte.indexer.query import Query
from codebyte.indexer.rules import Metadata, Rules, apply_rules

__all__ = ["Metadata", "Mode", "Ranked", "Rules", "rank"]

Mode = Literal["hybrid", "lexical", "dense"]
Why = Literal["words", "meaning", "both"]
Scores = NDArray[np.float32]
Found = tuple[NDArray[np.int64], Scores]  # ids and scores, in any order

POOL = 200  # best candidates of each kind that are looked at
NEARNESS = {"sentence": 20.0, "symbol": 5.0}  # what a cosine of 1 is worth in units of BM25
STOOD_FOR = 1.5  # times the weight of words that stand for those of the query
_MOST_TIED = 4  # times POOL candidates are looked at where the last of them are equal
_GOOD = 0.25  # share of the candidates that speak for their files
_FELT = 0.35  # share of the best score from which a kind of match is named


@dataclass(frozen=True, slots=True)
class Ranked:
    """One result."""

    id: int
    score: float
    why: Why
    copies: tuple[int, ...] = ()  # equal chunks that are folded into this one


def rank(
    query: Query,
    lexical: Found | None,
    dense: Found | None,
    metadata: Callable[[Sequence[int]], Sequence[Metadata]],
    k: int = 10,
    mode: Mode = "hybrid",
    rules: Rules | None = None,
    related: Found | None = None,
    statistics: Statistics | None = None,
    whole: Found | None = None,
) -> list[Ranked]:
    """The best k candidates, best first.

    Args:
        query: what was asked.
        lexical: candidates by words; scores at least 0. Not looked at in mode "dense", unless
            there are none by vectors.
        dense: candidates by vectors with their cosines, at least those of the best few hundred.
            None in mode "lexical", or where there are none yet.
        metadata: called once, with the ids of the few hundred best candidates.
        k: how many.
        mode: which kinds of scores count.
        rules: None for the usual ones.
        related: candidates by words that stand for those of the query; counts in mode "hybrid".
        statistics: how often the words of the query occur; None where all are equally telling.
        whole: the candidates by the words of their whole files; counts but in mode "dense".
    """
    rules = Rules() if rules is None else rules
    # Without words there is no vector: then what filters let through is all there is.
    lexical = None if mode == "dense" and dense is not None else lexical
    dense = None if mode == "lexical" else dense
    related = related if mode == "hybrid" else None
    pool = _pool([it for it in (lexical, related, dense) if it is not None], max(POOL, k))
    if not len(pool):
        return []
    said, stood_for = _of_pool(lexical, pool), STOOD_FOR * _of_pool(related, pool)
    low = float(dense[1].min()) if dense is not None and len(dense[1]) else 0.0
    near = _of_pool(dense, pool, low) - np.float32(low)
    words = said + stood_for
    fused = _to_one(words + NEARNESS[query.kind] * near)
    # By vectors all code is a little alike: only the best then speak for their files.
    good = np.maximum(fused - np.quantile(fused, 1 - _GOOD), 0) if near.any() else fused
    about = metadata([int(number) for number in pool])
    files = _to_one(_of_pool(None if mode == "dense" else whole, pool))
    scores = apply_rules(query, fused, good, files, about, rules, statistics)
    said, meant = _to_one(said), np.maximum(_to_one(near), _to_one(words) - _to_one(said))

    def order(place: int) -> tuple[float, str, str, int, int]:
        """Best first, then by place: ids depend on what was indexed when."""
        it = about[place]
        return -scores[place], it.repo, it.path, it.start_line, int(pool[place])

    results: list[Ranked] = []
    first: dict[tuple[object, str], int] = {}
    for place in sorted(range(len(pool)), key=order):
        number, content = int(pool[place]), (about[place].fingerprint, about[place].symbol)
        if content in first:
            kept = results[first[content]]
            results[first[content]] = replace(kept, copies=(*kept.copies, number))
        elif len(results) < k:
            if rules.fold and content[0] is not None:
                first[content] = len(results)
            why = _why(float(said[place]), float(meant[place]))
            results.append(Ranked(number, float(scores[place]), why))
    return results


def _pool(found: Sequence[Found], most: int) -> NDArray[np.int64]:
    """The ids of the best candidates of each kind, each once; with those that equal the last."""
    best = [np.empty(0, np.int64)]
    for ids, scores in found:
        if len(ids) > most:
            last = np.partition(scores, len(scores) - most)[len(scores) - most]
            better, tied = ids[scores > last], np.sort(ids[scores == last])
            ids = np.concatenate([better, tied[: _MOST_TIED * most - len(better)]])
        best.append(ids)
    return np.unique(np.concatenate(best))


def _of_pool(found: Found | None, pool: NDArray[np.int64], without: float = 0.0) -> Scores:
    """The scores of the pool's ascending ids; `without` for those that were not found."""
    scores = np.full(len(pool), without, np.float32)
    if found is not None and len(found[0]):
        places = np.minimum(np.searchsorted(pool, found[0]), len(pool) - 1)
        inside = pool[places] == found[0]
        scores[places[inside]] = found[1][inside]
    return scores


def _to_one(scores: Scores) -> Scores:
    """Scores brought to a highest one of 1."""
    return scores / np.float32(max(float(scores.max()), 1e-9))


def _why(words: float, meaning: float) -> Why:
    if words >= _FELT and meaning >= _FELT:
        return "both"
    return "words" if words >= meaning else "meaning"
