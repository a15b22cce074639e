"""Words that stand for others: what a question says and what the code that answers it says.

"whether" stands for boolean, "remove" for pop and clear; "given" says little. The table was learned
from pairs of documentation and code (benchmarks/fit_associations.py): for each term of a question
its weight, and the terms of code that it stands for with theirs.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from codebyte.indexer.query import Query
from codebyte.indexer.words import exact_name, question_terms

Related = tuple[tuple[str, float], ...]
_PLACES = 2  # decimal ones of a weight


@dataclass(frozen=True, slots=True)
class Associations:
    """A table of what terms of questions weigh and stand for."""

    weights: Mapping[str, float]  # 1 for terms that are not in it
    related: Mapping[str, Related]

    def said(self, query: Query) -> dict[str, float]:
        """The terms that a query says, with weights; of names also the names as they are."""
        found = {
            term: self.weights.get(term, 1.0)
            for term in question_terms(query.words)
            if not term.startswith("~")
        }
        names = (query.words,) if query.kind == "symbol" else query.names
        return found | {exact_name(name): 1.0 for name in names}

    def meant(self, query: Query) -> dict[str, float]:
        """The terms that stand for those that a query says, with weights."""
        found: dict[str, float] = {}
        for term in question_terms(query.words):
            for other, weight in self.related.get(term, ()):
                found[other] = found.get(other, 0.0) + weight
        return found

    def write(self, file: str | os.PathLike[str]) -> None:
        """Writes the table as text: on each line a term, its weight, and what it stands for."""
        with open(file, "w", encoding="utf-8", newline="\n") as output:
            for term in sorted({*self.weights, *self.related}):
                listed = sorted(self.related.get(term, ()), key=lambda it: (-it[1], it[0]))
                cells = [f"{other}:{weight:.{_PLACES}f}" for other, weight in listed]
                print(term, f"{self.weights.get(term, 1.0):.{_PLACES}f}", *cells, file=output)


def read_associations(text: str) -> Associations:
    """Reads what `Associations.write` wrote."""
    weights: dict[str, float] = {}
    related: dict[str, Related] = {}
    for line in text.splitlines():
        term, weight, *cells = line.split(" ")
        weights[term] = float(weight)
        pairs = (cell.rpartition(":") for cell in cells)
        related[term] = tuple((other, float(share)) for other, _, share in pairs)
    return Associations(weights, related)


@cache
def packaged_associations() -> Associations:
    """The table that comes with codebyte."""
    table = files("codebyte.indexer") / "associations.txt"
    return read_associations(table.read_text(encoding="utf-8"))
