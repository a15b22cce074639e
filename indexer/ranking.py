"""Orders what words and vectors found: fusion, then what is known about code.

A cosine counts as so many units of BM25, fewer where a name is asked for: that keeps how sure the
words are, which reciprocal ranks, and scores brought to 0..1, forget. Then rules: a definition of
what was named comes above its uses, a file named like the question or with several good chunks is
lifted, tests, examples and generated code come below the rest, copies are folded into one.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.languages import is_test
from codebyte.indexer.query import Query
from codebyte.indexer.words import exact_name, split_words, terms_of

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

_EXAMPLE = re.compile(
    r"(?:^|/)(?:examples?|samples?|demos?|tutorials?|benchmarks?)/", re.IGNORECASE
)
_LEGACY = re.compile(r"(?:^|/|_)(?:compat|legacy|deprecated|obsolete)(?:/|_|\.|$)", re.IGNORECASE)
_FOREIGN = re.compile(r"(?:^|/)(?:_?vendor\w*|third_party|extern\w*|node_modules)/", re.IGNORECASE)
_MADE = re.compile(r"_pb2|\.pb\.|\.min\.|(?:^|/)(?:generated|gen)/|_generated?\.", re.IGNORECASE)
_DOOR = re.compile(r"(?:^|/)(?:__init__\.py|index\.[jt]sx?|mod\.rs|package-info\.java|doc\.go)$")


class Metadata(Protocol):
    """What the rules look at; chunks of `codebyte.indexer.chunk` have most of it."""

    @property
    def path(self) -> str:
        """Inside its repository."""
        ...

    @property
    def symbol(self) -> str:
        """Qualified, or ""."""
        ...

    @property
    def kind(self) -> str:
        """Such as "function" or "section"."""
        ...

    @property
    def repo(self) -> str:
        """The repository's name."""
        ...

    @property
    def start_line(self) -> int:
        """From 1."""
        ...

    @property
    def fingerprint(self) -> int | str | None:
        """Equal for equal content; None where that is not known."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How strongly each rule acts; 0 (or 1 for a factor) turns it off."""

    definition: float = 2.0  # added where the query names just what is defined
    mention: float = 0.3  # added where a name in a sentence is defined
    stem: float = 0.8  # share of the score added where the query says the file's name
    folder: float = 0.2  # the same for the folder's
    coherence: float = 0.4  # added to the best chunk of the file with most good chunks
    again: float = 0.6  # factor of each further chunk of a file
    tests: float = 0.3  # factors, by path
    examples: float = 0.5
    made: float = 0.5  # generated or vendored
    door: float = 0.7  # files that only pass names on
    prose: float = 0.3  # sections of documents
    fold: bool = True  # of equal chunks only the first is shown

    def without_paths(self) -> "Rules":
        """The same rules, for which all paths are equally good."""
        return replace(self, tests=1.0, examples=1.0, made=1.0, door=1.0, prose=1.0)

    @classmethod
    def of_documents(cls) -> "Rules":
        """For pieces of code that each stand for themselves, whatever their path."""
        separate = cls(mention=0.1, stem=0.0, folder=0.0, coherence=0.0, again=1.0, fold=False)
        return separate.without_paths()


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
) -> list[Ranked]:
    """The best k candidates, best first.

    Args:
        query: what was asked.
        lexical: candidates by words; scores at least 0. None in mode "dense".
        dense: candidates by vectors with their cosines, at least those of the best few hundred.
            None in mode "lexical", or where there are none yet.
        metadata: called once, with the ids of the few hundred best candidates.
        k: how many.
        mode: which kinds of scores count.
        rules: None for the usual ones.
        related: candidates by words that stand for those of the query; counts in mode "hybrid".
    """
    rules = Rules() if rules is None else rules
    lexical = None if mode == "dense" else lexical
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
    scores = _apply(query, fused, good, about, rules)
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
            enough = ids[scores >= last]
            ids = (
                enough if len(enough) <= _MOST_TIED * most else np.sort(enough)[: _MOST_TIED * most]
            )
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


def _apply(
    query: Query, fused: Scores, good: Scores, about: Sequence[Metadata], rules: Rules
) -> NDArray[np.float64]:
    """The scores after all rules.

    Args:
        query: what was asked.
        fused: the scores before them.
        good: how much each candidate speaks for its file.
        about: the candidates.
        rules: the rules.
    """
    asked = frozenset(term for word in split_words(query.words) for term in terms_of(word))
    scores = fused.astype(np.float64)
    files: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, it in enumerate(about):
        files[it.repo, it.path].append(i)
        stem, folder = _path_terms(it.path)
        said = rules.stem * _share(stem, asked) + rules.folder * _share(folder, asked)
        scores[i] *= 1 + said
    sums = {file: float(good[places].sum()) for file, places in files.items()}
    highest = max(sums.values()) or 1.0
    for file, places in files.items():
        order = sorted(places, key=lambda i: -scores[i])
        scores[order[0]] += rules.coherence * sums[file] / highest
        for depth, i in enumerate(order):
            scores[i] *= rules.again**depth
    for i, it in enumerate(about):
        # What defines the very name comes first even in a test: hence after the factors.
        scores[i] = scores[i] * _factor(it, rules) + _named(it, query, rules)
    return np.round(scores, 6)  # what differs by less is equal: sums depend on their order


@lru_cache(1 << 16)
def _traits(path: str) -> tuple[bool, bool, bool, bool]:
    """Whether a path is of a test, an example, made or foreign code, or only passes names on."""
    return (
        is_test(path),
        bool(_EXAMPLE.search(path) or _LEGACY.search(path)),
        bool(_FOREIGN.search(path) or _MADE.search(path)),
        bool(_DOOR.search(path)),
    )


def _factor(it: Metadata, rules: Rules) -> float:
    factor = rules.prose if it.kind == "section" else 1.0
    by = (rules.tests, rules.examples, rules.made, rules.door)
    for applies, less in zip(_traits(it.path), by, strict=True):
        if applies:
            factor *= less
    return factor


@lru_cache(1 << 16)
def _path_terms(path: str) -> tuple[frozenset[str], frozenset[str]]:
    """The terms of a file's stem and of its folder's name."""
    pure = PurePosixPath(path)
    stem = pure.name.partition(".")[0]
    if stem.lower() in ("__init__", "index", "mod", "main", "lib"):
        stem = pure.parent.name
    split = [
        frozenset(term for word in split_words(text) for term in terms_of(word))
        for text in (stem, pure.parent.name)
    ]
    return split[0], split[1]


def _named(it: Metadata, query: Query, rules: Rules) -> float:
    """What is added where the query names just what a chunk defines."""
    own = it.symbol.rpartition(".")[2]
    if not own or it.kind in ("section", "lines"):
        return 0.0
    if query.kind == "symbol":
        name = exact_name(query.words)[1:]
        if own == name:
            return rules.definition * (1.1 if it.kind == "class" else 1.0)
        return rules.definition * 0.5 if own.casefold() == name.casefold() else 0.0
    return rules.mention if any(own == exact_name(name)[1:] for name in query.names) else 0.0


def _share(terms: frozenset[str], asked: frozenset[str]) -> float:
    return len(terms & asked) / len(terms) if terms else 0.0


def _why(words: float, meaning: float) -> Why:
    if words >= _FELT and meaning >= _FELT:
        return "both"
    return "words" if words >= meaning else "meaning"
