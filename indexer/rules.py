"""What is known about code beside words and vectors: rules that move candidates up and down.

A definition of what was named comes above its uses, a file named like the question, with several
good chunks or with most of its words is lifted, tests, examples and generated code come below.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.fields import Statistics
from codebyte.indexer.languages import is_test
from codebyte.indexer.query import Query
from codebyte.indexer.words import exact_name, split_words, terms_of

Scores = NDArray[np.float32]

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
    whole: float = 0.8  # the same of the file whose words, taken together, say most of the query
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
        separate = cls(
            mention=0.1, stem=0.0, folder=0.0, coherence=0.0, whole=0.0, again=1.0, fold=False
        )
        return separate.without_paths()


def apply_rules(
    query: Query,
    fused: Scores,
    good: Scores,
    whole: Scores,
    about: Sequence[Metadata],
    rules: Rules,
    statistics: Statistics | None,
) -> NDArray[np.float64]:
    """The scores after all rules.

    Args:
        query: what was asked.
        fused: the scores before them.
        good: how much each candidate speaks for its file.
        whole: how much the file of each says of the query, 1 at most.
        about: the candidates.
        rules: the rules.
        statistics: how often the words of the query occur; None where all are equally telling.
    """
    asked = _telling(query, statistics)
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
        scores[order[0]] += rules.whole * float(whole[order[0]])
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


def _telling(query: Query, statistics: Statistics | None) -> dict[str, float]:
    """The terms of a query with how telling each is: its rarity beside that of the two rarest.

    Where every other file speaks of models, one named model.py is no answer to "model cards".
    """
    asked = dict.fromkeys(term for word in split_words(query.words) for term in terms_of(word))
    if statistics is None:
        return dict.fromkeys(asked, 1.0)
    rarities = {term: statistics.rarity(term) for term in asked}
    rarest = sorted(rarities.values())[-2:]
    usual = max(sum(rarest) / max(len(rarest), 1), 1e-9)
    return {term: rarity / usual for term, rarity in rarities.items()}


def _share(terms: frozenset[str], asked: Mapping[str, float]) -> float:
    """How much of a name is said by a query, which says each term so tellingly."""
    return sum(asked.get(term, 0.0) for term in terms) / len(terms) if terms else 0.0
