"""What is known about code beside words and vectors: what the file of a candidate says for it.

A definition of what was named comes above its uses; a file is lifted by a second good piece, by
what its words, its history and its path say, by its beginning, and by lying where most of the code
lies; tests, prose, settings, examples and generated code come below. All of it adds up, as
logarithms of odds do: the weights are those of a softmax over the files of a repository, learned
from questions whose answers are known (docs/ranking.md).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.evidence import EVIDENCE
from codebyte.indexer.fields import Statistics
from codebyte.indexer.languages import PROSE, SETTINGS, is_test, language_of
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
    """How much each rule adds or takes; 0 turns it off."""

    own: float = 2.1  # times the score of a piece beside that of the best, for itself
    second: float = 2.7  # times the same of the second-best piece of a file, for its best
    again: float = 4.0  # taken from each further piece of a file, once more for each before it
    definition: float = 20.0  # where the query names just what is defined
    mention: float = 1.5  # where a name in a sentence is defined
    whole: float = 3.3  # times what the words of the file say, beside the file that says most
    history: float = 2.0  # times the same of the commits that changed the file
    cover: float = 2.0  # times the share of the query that one piece of the file says
    language: float = 2.3  # times the share of the code that is in the file's language
    folder: float = 1.3  # times the share of it that is in the same outermost folder
    beginning: float = 1.7  # times how near the first piece is, beside the nearest of all
    path: float = 0.9  # times the share of the query that the path says
    name: float = 1.1  # times the cosine of the query with the names of file and folder
    tests: float = 5.7  # taken, by path
    prose: float = 2.6  # learned 4.1, from questions of which none asks for prose
    settings: float = 1.2  # of tools and builds; learned 1.9, the same
    examples: float = 2.6
    made: float = 2.7  # generated or vendored
    door: float = 0.9  # files that only pass names on
    fold: bool = True  # of equal pieces only the first is shown

    def without_paths(self) -> "Rules":
        """The same rules, for which all paths are equally good."""
        return replace(
            self,
            path=0.0,
            name=0.0,
            language=0.0,
            folder=0.0,
            tests=0.0,
            prose=0.0,
            settings=0.0,
            examples=0.0,
            made=0.0,
            door=0.0,
        )

    @classmethod
    def of_documents(cls) -> "Rules":
        """For pieces of code that each stand for themselves, whatever their path."""
        apart = cls(
            mention=0.2,
            second=0.0,
            again=0.0,
            whole=0.0,
            history=0.0,
            cover=0.0,
            beginning=0.0,
            fold=False,
        )
        return apart.without_paths()


def apply_rules(
    query: Query,
    fused: Scores,
    evidence: Scores,
    near: Scores,
    about: Sequence[Metadata],
    rules: Rules,
    statistics: Statistics | None,
) -> NDArray[np.float64]:
    """The scores after all rules.

    Args:
        query: what was asked.
        fused: the scores before them, 1 at most.
        evidence: of the file of each, (n, e), by `codebyte.indexer.evidence.EVIDENCE`.
        near: how near the path of each is to the query.
        about: the candidates.
        rules: the rules.
        statistics: how often the words of the query occur; None where all are equally telling.
    """
    asked = _telling(query, statistics)
    weights = np.array([getattr(rules, kind) for kind in EVIDENCE])
    of_files = evidence @ weights + rules.name * near
    scores = rules.own * fused.astype(np.float64) + of_files
    files: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, it in enumerate(about):
        files[it.repo, it.path].append(i)
    for (_, path), places in files.items():
        order = sorted(places, key=lambda i: -fused[i])
        file = rules.path * _said(path, asked) - _less(path, rules)
        if len(order) > 1:
            file += rules.second * float(fused[order[1]])
        for depth, i in enumerate(order):
            scores[i] += file - rules.again * depth
    for i, it in enumerate(about):
        scores[i] += _named(it, query, rules)
    return np.round(scores, 6)  # what differs by less is equal: sums depend on their order


@lru_cache(1 << 16)
def _traits(path: str) -> tuple[bool, ...]:
    """Whether a path is of a test, of prose, settings, an example, made or foreign, or a door."""
    language = language_of(path)
    return (
        is_test(path),
        language in PROSE,
        language in SETTINGS,
        bool(_EXAMPLE.search(path) or _LEGACY.search(path)),
        bool(_FOREIGN.search(path) or _MADE.search(path)),
        bool(_DOOR.search(path)),
    )


def _less(path: str, rules: Rules) -> float:
    """What is taken from all pieces of a file for its path."""
    by = (rules.tests, rules.prose, rules.settings, rules.examples, rules.made, rules.door)
    return sum(less for applies, less in zip(_traits(path), by, strict=True) if applies)


@lru_cache(1 << 16)
def _path_terms(path: str) -> frozenset[str]:
    return frozenset(term for word in split_words(path) for term in terms_of(word))


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
    """The terms of a query with how telling each is, by its rarity; 1 together."""
    asked = dict.fromkeys(
        (term for word in split_words(query.words) for term in terms_of(word)), 1.0
    )
    if statistics is not None:
        asked = {term: statistics.rarity(term) for term in asked}
    total = max(sum(asked.values()), 1e-9)
    return {term: rarity / total for term, rarity in asked.items()}


def _said(path: str, asked: Mapping[str, float]) -> float:
    """How much of a query a path says, from 0 to 1."""
    terms = _path_terms(path)
    return sum(telling for term, telling in asked.items() if term in terms)
