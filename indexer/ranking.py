"""Orders what words and vectors found: fusion, then what is known about code.

A cosine counts as so many units of BM25, fewer where a name is asked for: that keeps how sure the
words are, which reciprocal ranks, and scores brought to 0..1, forget. Then the rules of
`codebyte.indexer.rules`; and copies are folded into one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.evidence import EVIDENCE, Evidence
from codebyte.indexer.fields import Statistics
from codebyte.indexer.query import Query
from codebyte.indexer.rules import Metadata, Rules, apply_rules
from codebyte.indexer.whole_files import Found

__all__ = ["Found", "Metadata", "Mode", "Ranked", "Rules", "rank"]

Mode = Literal["hybrid", "lexical", "dense"]
Why = Literal["words", "meaning", "both"]
Scores = NDArray[np.float32]
NearPaths = Callable[[Sequence[str]], Scores]

POOL = 200  # best candidates of each kind that are looked at
NEARNESS = {"sentence": 20.0, "symbol": 5.0}  # what a cosine of 1 is worth in units of BM25
STOOD_FOR = 1.5  # times the weight of words that stand for those of the query
_MOST_TIED = 4  # times POOL candidates are looked at where the last of them are equal
_EVEN, _SPREAD = 7.0, 3.0  # the sum of evidence that is shown as .5; how soon it nears 0 and 1
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
    files: Evidence | None = None,
    near_paths: NearPaths | None = None,
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
        files: what the file of each candidate says; its words count but in mode "dense".
        near_paths: gives the cosines of paths with the query; called once at most.
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
    about = metadata([int(number) for number in pool])
    evidence = _evidence(files, pool, low, float(near.max()), mode)
    names = np.zeros(len(pool), np.float32)
    if near_paths is not None and rules.name:
        names = near_paths([it.path for it in about])
    scores = apply_rules(query, fused, evidence, names, about, rules, statistics)
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
            results.append(Ranked(number, _shown(float(scores[place])), why))
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


def _evidence(
    files: Evidence | None, pool: NDArray[np.int64], low: float, nearest: float, mode: Mode
) -> Scores:
    """The evidence of the pool's files, (n, e), each kind 1 at most; zeros where there is none.

    Args:
        files: that of documents.
        pool: ascending ids.
        low: the cosine that counts as 0.
        nearest: what the nearest candidate is above it.
        mode: words do not count in mode "dense".
    """
    found = np.zeros((len(pool), len(EVIDENCE)), np.float32)
    if files is None:
        return found
    order = np.argsort(files[0], kind="stable")
    found[:] = files[1][order[np.searchsorted(files[0], pool, sorter=order)]]
    beginning = EVIDENCE.index("beginning")
    found[:, beginning] = np.maximum(found[:, beginning] - low, 0) / max(nearest, 1e-9)
    for kind in ("whole", "history", "cover"):
        column = EVIDENCE.index(kind)
        if mode == "dense":
            found[:, column] = 0
        elif kind != "cover":
            found[:, column] = _to_one(found[:, column])
    return found


def _to_one(scores: Scores) -> Scores:
    """Scores brought to a highest one of 1."""
    return scores / np.float32(max(float(scores.max()), 1e-9))


def _shown(score: float) -> float:
    """A sum of evidence from 0 to 1, for people."""
    return 1 / (1 + math.exp((_EVEN - score) / _SPREAD))


def summed(shown: float) -> float:
    """The sum of evidence behind a score that is shown."""
    return _EVEN + _SPREAD * math.log(shown / (1 - shown))


def _why(words: float, meaning: float) -> Why:
    if words >= _FELT and meaning >= _FELT:
        return "both"
    return "words" if words >= meaning else "meaning"
