"""Batches of (query, code) pairs, all of a few repositories, the others of which are the negatives.

Queries are rewritten, so that short ones and ones in other words are met too, and names are left
out of a part of the code, so that the head does not lean on them alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from codebyte.tasks.heads import Bags
from codebyte.tasks.pairs import Pieces
from codebyte.tasks.ragged import SHIFT, WORD, Ragged, Whole

# What a query is, with its share of a batch: the first sentence of the documentation, some words
# of its rest, the name, a comment or string within the code, some words of the code itself.
KINDS = {"first": 0.55, "rest": 0.1, "name": 0.1, "said": 0.2, "code": 0.05}

_NAME_DROP = 0.35
_WORD_DROP = {"symbol": 0.08, "signature": 0.15, "body": 0.15}
_TESTS = 0.4  # share of the tests that is learned from
_EVENNESS = 0.65  # power of its size by which a repository is drawn
_MIN_WORDS, _MAX_WORDS = 3, 60  # of a first sentence


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Pairs as bags of words, which count by their places in `words`."""

    words: Whole  # the numbers of all that occur, rising
    query: Bags
    code: dict[str, Bags]  # by field
    alike: Tensor  # (n, n) bool: no negatives of one another; the diagonal is False


class PairSampler:
    """Draws batches; equal generators give equal batches."""

    def __init__(self, repositories: Sequence[Pieces]) -> None:
        self._sources = [_Source(one) for one in repositories if one.symbol.lengths.any()]
        sizes = np.array([source.size for source in self._sources]) ** _EVENNESS
        self._shares = sizes / sizes.sum()

    def draw(self, rng: Generator, size: int, repositories: int) -> PairBatch:
        """Draws `size` pairs, evenly from so many repositories or from all that there are."""
        count = min(repositories, len(self._sources))
        chosen = rng.choice(len(self._sources), count, replace=False, p=self._shares)
        drawn = [self._sources[one].draw(rng, size // count) for one in chosen]
        queries = [query for one in drawn for query in one.queries]
        pieces = np.concatenate(
            [one.rows + (source << SHIFT) for source, one in zip(chosen, drawn, strict=True)]
        )
        counted = {"query": Ragged.of(queries).counted()}
        for field in _WORD_DROP:
            parts = [
                getattr(self._sources[source].pieces, field).take(one.rows)
                for source, one in zip(chosen, drawn, strict=True)
            ]
            counted[field] = Ragged.joined(parts).counted()
        nameless = np.concatenate([one.nameless for one in drawn])
        taken = Ragged.of([words for one in drawn for words in one.taken])
        _hide(counted, nameless, taken)
        for field, share in _WORD_DROP.items():
            keys, counts = counted[field]
            kept = rng.random(len(keys)) >= share
            counted[field] = keys[kept], counts[kept]
        words = np.unique(np.concatenate([keys for keys, _ in counted.values()]) & WORD)
        bags = {
            field: Bags.of_keys(_placed(keys, words), counts, len(queries))
            for field, (keys, counts) in counted.items()
        }
        return PairBatch(words, bags.pop("query"), bags, _alike(pieces, queries))


@dataclass(frozen=True, slots=True)
class _Drawn:
    rows: Whole  # of the pieces
    queries: list[NDArray[np.int32]]
    taken: list[NDArray[np.int32]]  # words that the code must do without, once
    nameless: NDArray[np.bool_]


class _Source:
    """One repository to draw from."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        draws = np.random.default_rng(len(pieces)).random(len(pieces))
        learned = ~pieces.test | (draws < _TESTS)
        first = pieces.first.lengths
        self._rows = {
            "first": np.flatnonzero(learned & (first >= _MIN_WORDS) & (first <= _MAX_WORDS)),
            "rest": np.flatnonzero(learned & (pieces.doc.lengths - first >= 8)),
            "name": np.flatnonzero(learned & (pieces.symbol.lengths >= 2)),
            "said": np.arange(len(pieces.said)),
            "code": np.flatnonzero(learned),
        }
        self._always = np.arange(len(pieces))
        self.size = float(
            len(self._rows["first"]) + 0.1 * (len(self._rows["name"]) + len(pieces.said)) + 1
        )

    def draw(self, rng: Generator, size: int) -> _Drawn:
        kinds = rng.choice(list(KINDS), size, p=list(KINDS.values()))
        drawn = [self._pair(rng, kind) for kind in kinds]
        rows, queries, taken, nameless = zip(*drawn, strict=True)
        return _Drawn(np.array(rows, np.int64), [*queries], [*taken], np.array(nameless))

    def _pair(
        self, rng: Generator, kind: str
    ) -> tuple[int, NDArray[np.int32], NDArray[np.int32], bool]:
        """One pair: the row of its code, the query, words to take out, whether to hide the name."""
        pieces, nothing = self.pieces, np.zeros(0, np.int32)
        if not len(self._rows[kind]):
            kind = "code"
        rows = self._rows[kind] if len(self._rows[kind]) else self._always
        row = int(rows[rng.integers(len(rows))])
        if kind == "said":
            said = pieces.said[row][:16]
            return int(pieces.owner[row]), said, said, False
        if kind == "name":
            name = pieces.symbol[row][-int(rng.integers(2, 5)) :]
            return row, name, name if rng.random() < 0.5 else nothing, True
        if kind == "code":
            code = np.unique(pieces.body[row])
            some = rng.permutation(code)[: (len(code) + 1) // 2]
            return row, some, nothing, bool(rng.random() < 0.5)
        if kind == "rest":
            rest = pieces.doc[row][len(pieces.first[row]) :]
            start = int(rng.integers(max(1, len(rest) - 4)))
            query = rest[start : start + int(rng.integers(4, 14))]
        else:
            query = pieces.first[row]
        return row, _rewritten(rng, query), nothing, bool(rng.random() < _NAME_DROP)


def _rewritten(rng: Generator, query: NDArray[np.int32]) -> NDArray[np.int32]:
    """A query as it is, or a few of its words, or its beginning."""
    way = rng.random()
    if way < 0.25 and len(query) > 5:
        return query[np.sort(rng.permutation(len(query))[: int(rng.integers(3, 7))])]
    return query[: int(rng.integers(3, 9))] if way < 0.4 else query


def _hide(
    counted: dict[str, tuple[Whole, Whole]], nameless: NDArray[np.bool_], taken: Ragged
) -> None:
    """Takes names, and the words of remarks, out of the code."""
    keys, counts = counted["symbol"]
    named = ~nameless[keys >> SHIFT]
    hidden = np.union1d(keys[~named], taken.counted()[0])
    counted["symbol"] = keys[named], counts[named]
    keys, counts = counted["signature"]
    shown = ~np.isin(keys, hidden)
    counted["signature"] = keys[shown], counts[shown]
    keys, counts = counted["body"]
    left = counts - np.isin(keys, hidden)
    counted["body"] = keys[left > 0], left[left > 0]


def _placed(keys: Whole, words: Whole) -> Whole:
    """Keys by the places of their words instead of their numbers."""
    return keys >> SHIFT << SHIFT | np.searchsorted(words, keys & WORD)


def _alike(pieces: Whole, queries: Sequence[NDArray[np.int32]]) -> Tensor:
    """Pairs of one piece, or with the same words for a query, but each with itself."""
    numbers: dict[bytes, int] = {}
    asked = [numbers.setdefault(np.sort(query).tobytes(), len(numbers)) for query in queries]
    same = torch.zeros(len(pieces), len(pieces), dtype=torch.bool)
    for one in (torch.from_numpy(pieces), torch.tensor(asked)):
        same |= one[:, None] == one[None]
    return same.fill_diagonal_(False)
