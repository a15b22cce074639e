"""Code from elsewhere in a repository that helps to complete what is typed at a caret.

The names around the caret, the nearer the more, are looked for by words in an index: what defines
them, and what uses them in the same way. Of each chunk that is found only the lines are taken that
say most of these names, with what follows them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codebyte.indexer.fields import Statistics
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.store import Entry
from codebyte.indexer.words import exact_name, terms_of

BUDGET = 1024  # bytes of all snippets together, unless told otherwise
LINES_BEFORE, LINES_AFTER = 12, 4  # around the caret, whose names are looked for
MOST_NAMES = 24  # different ones, the nearest, which bounds the time
LOOKED_AT = 12  # chunks, the best by their words
LARGEST = 400  # bytes of one snippet
LEAD = 2  # lines before the one that says most
NEARER = 0.85  # times what a name of the next line counts
DEFINED = 0.5  # times what a name counts for its definition

_NAME = re.compile(r"[^\W\d]\w+")
_SEEN = 4096  # bytes on each side of the caret that are read


@dataclass(frozen=True, slots=True)
class Snippet:
    """Some lines of a file."""

    path: str
    start_line: int  # from 1
    text: bytes  # whole lines
    score: float  # higher is better; of this caret only


def snippets_around(
    index: CodeIndex,
    before: bytes,
    after: bytes = b"",
    path: str | None = None,
    *,
    budget: int = BUDGET,
) -> list[Snippet]:
    """Finds what to show a model of the rest of a repository; the best comes last.

    That order is for a prompt, in which the best should stand nearest to the caret (see
    `codebyte.apps.context.with_context`). The same index and texts give the same snippets. Takes
    some milliseconds: no vector is made, and at most MOST_NAMES names are looked up.

    Args:
        index: of the repository. It may be older than what is being typed.
        before: the file's text before the caret; of a long one, the end is read.
        after: the text after it.
        path: of the file that is typed in, as the index has it. Nothing is taken from this file,
            since the caller has it, and its indexed state may hold what is being typed anew.
        budget: bytes that all snippets' texts have together, at most.

    Returns:
        No two overlap, none is longer than LARGEST; empty where nothing was found.

    Raises:
        StaleIndexError: a file of the index is missing or damaged.
    """
    asked = names_around(before, after)
    if not asked or budget <= 0:
        return []
    terms = _terms(asked)
    with index.snapshot() as now:
        counted = now.lexical.statistics(terms)
        ids, scores = now.lexical.scores(terms)
        order = np.lexsort((ids, -scores))
        store = index.store
        kept: list[Entry] = []
        place = 0
        while len(kept) < LOOKED_AT and place < len(order):
            some = [int(ids[i]) for i in order[place : place + 2 * LOOKED_AT]]
            entries = {entry.id: entry for entry in store.entries(some)}
            kept += [entries[it] for it in some if entries[it].path != path]
            place += len(some)
        kept = kept[:LOOKED_AT]
        bodies = store.bodies([entry.id for entry in kept])
    weights = _rarities(terms, counted)
    found: list[Snippet] = []
    texts: set[bytes] = set()
    for entry in kept:
        first, text, score = _best_lines(bodies[entry.id], weights)
        if text and text not in texts:
            texts.add(text)
            found.append(Snippet(entry.path, entry.start_line + first, text, score))
    found.sort(key=lambda it: (-it.score, it.path, it.start_line))
    chosen = []
    for snippet in found:
        if len(snippet.text) <= budget:
            budget -= len(snippet.text)
            chosen.append(snippet)
    return chosen[::-1]


def names_around(before: bytes, after: bytes) -> dict[str, float]:
    """The names around a caret with what each counts: 1 on its line, less the farther it is."""
    above = before[-_SEEN:].decode("utf-8", "replace").split("\n")[-LINES_BEFORE - 1 :]
    below = after[:_SEEN].decode("utf-8", "replace").split("\n")[: LINES_AFTER + 1]
    lines = [*enumerate(reversed(above)), *enumerate(below)]
    found: dict[str, float] = {}
    for distance, line in sorted(lines, key=lambda it: it[0]):
        for name in reversed(_NAME.findall(line)):
            if len(found) < MOST_NAMES:
                found.setdefault(name, NEARER**distance)
    return found


def _terms(asked: Mapping[str, float]) -> dict[str, float]:
    """The terms to look for, with weights: of each name its own, and that of its definition."""
    found: dict[str, float] = {}
    for name, weight in asked.items():
        for term in terms_of(name):
            found[term] = max(found.get(term, 0.0), weight)
        found[exact_name(name)] = DEFINED * weight
    return found


def _rarities(terms: Mapping[str, float], counted: Statistics) -> dict[str, float]:
    """What a line that says a term gets for it: the rarer, the more."""
    num = counted.num
    return {
        term: weight * float(np.log1p((num - have + 0.5) / (have + 0.5)))
        for term, weight in terms.items()
        if (have := counted.counts[term])
    }


def _best_lines(body: bytes, weights: Mapping[str, float]) -> tuple[int, bytes, float]:
    """The lines that say most, as many as fit: the number of the first, they, and their score."""
    lines = body.splitlines(keepends=True)
    said = [_said(line) for line in lines]
    gains = [sum(weights.get(term, 0.0) for term in terms) for terms in said]
    if not gains or not max(gains):
        return 0, b"", 0.0
    best = int(np.argmax(gains))
    start = end = max(0, best - LEAD)
    size = 0
    while end < len(lines) and size + len(lines[end]) <= LARGEST:
        size += len(lines[end])
        end += 1
    if end <= best:  # what leads up to it leaves no room
        start, end = best, best + 1
    text = b"".join(lines[start:end])
    together = set[str]().union(*said[start:end])
    score = sum(weights.get(term, 0.0) for term in together)
    return (start, text, score) if len(text) <= LARGEST else (start, b"", 0.0)


def _said(line: bytes) -> set[str]:
    return {
        term for name in _NAME.findall(line.decode("utf-8", "replace")) for term in terms_of(name)
    }
