"""One index in several parts, each of which may be on another machine and may be lost.

A repository is in the shard that its source's hash says. To give what one index would give, shards
are first asked how often the words of a query occur, and then score with the counts of all
together; the best candidates of each are ranked here, in one place. A shard that does not answer is
named with the results, which then lack what it had.
"""

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codebyte.errors import InputError, RepoError
from codebyte.indexer.associations import packaged_associations
from codebyte.indexer.clone import public_url
from codebyte.indexer.embedder import Embedder, nearness_of_paths
from codebyte.indexer.fields import Statistics
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.query import Query, parse_query
from codebyte.indexer.ranking import POOL, Found, Mode, Ranked, rank
from codebyte.indexer.searching import Candidates, Hit, candidates, hits_of
from codebyte.indexer.store import Entry
from codebyte.indexer.updating import Updated

MakeEmbedder = Callable[[], Embedder | None]
Counts = tuple[Statistics, Statistics]  # of the words that a query says, and of related ones


class Shard:
    """One part: an index in a folder, and what is asked of it from elsewhere."""

    def __init__(self, folder: str, make_embedder: MakeEmbedder) -> None:
        self._index = CodeIndex(folder, make_embedder())

    def update(self, source: str, name: str | None, revision: str | None) -> Updated:
        """Brings a repository up to date."""
        return self._index.update(source, revision, name=name)

    def count(self, query: Query) -> Counts:
        """How often the words of a query occur here."""
        table = packaged_associations()
        with self._index.snapshot() as now:
            said, meant = table.said(query), table.meant(query)
            return now.lexical.statistics(said), now.lexical.statistics(meant)

    def candidates(
        self, query: Query, mode: Mode, vector: Any, statistics: Counts, most: int
    ) -> tuple[Candidates, list[Entry]]:
        """The best candidates, scored with the counts of all shards, and what they are."""
        with self._index.snapshot() as now:
            found = candidates(
                self._index.store, now, query, mode=mode, vector=vector, statistics=statistics
            )
            ids = _best(found, most)
            kept = Candidates(
                _only(found.lexical, ids) or _NONE,
                _only(found.related, ids),
                _only(found.dense, ids),
                _only(found.files, ids),
            )
            return kept, self._index.store.entries(ids)

    def hits(self, ranked: Sequence[Ranked]) -> list[Hit]:
        """What is shown of documents."""
        with self._index.snapshot():
            return hits_of(self._index.store, ranked)


class Remote(Protocol):
    """A shard, wherever it is."""

    def ask(self, method: str, *arguments: Any) -> Callable[[], Any]:
        """Starts a call of a `Shard`'s method; what is returned waits for the answer.

        Raises:
            ConnectionError: then, where the shard is lost.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits, and the numbers of the shards that did not answer."""

    hits: list[Hit]
    missing: tuple[int, ...] = ()


@dataclass(kw_only=True, slots=True)
class UpdatedAll:
    """What an update of many sources did, by source."""

    done: dict[str, Updated] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class ShardedIndex:
    """Asks all shards and puts together what they answer."""

    def __init__(self, shards: Sequence[Remote], embedder: Embedder | None = None) -> None:
        """Takes shards in their order, and what makes vectors of queries."""
        self._shards, self._embedder = list(shards), embedder
        self._path_vectors: dict[str, NDArray[np.float32]] = {}

    def update(
        self, sources: Sequence[str | os.PathLike[str]], revision: str | None = None
    ) -> UpdatedAll:
        """Brings repositories up to date, all shards at once."""
        result = UpdatedAll()
        waiting = {}
        for source in sources:
            text = os.fspath(source)
            place = text if "://" in text else str(Path(text).expanduser().resolve())
            shard = self._shards[zlib.crc32(place.encode()) % len(self._shards)]
            waiting[text] = shard.ask("update", place, None, revision)
        for text, answer in waiting.items():
            try:
                result.done[text] = answer()
            except (RepoError, InputError, ConnectionError) as error:
                result.failures[public_url(text)] = str(error)
        return result

    def search(self, text: str, k: int = 10, mode: Mode = "hybrid") -> Answer:
        """Finds code in all shards, as `CodeIndex.search` does in one index."""
        query = parse_query(text)
        vector = None
        if mode != "lexical" and self._embedder is not None and query.words.strip():
            vector = self._embedder.embed_text([query.words])[0]
        counted = self._ask_all(range(len(self._shards)), "count", query)
        if not counted:
            raise InputError(f"none of the {len(self._shards)} shards answers: start them again")
        said, meant = (reduce(add, them) for them in zip(*counted.values(), strict=True))
        most = max(2 * POOL, k)
        answered = self._ask_all(counted, "candidates", query, mode, vector, (said, meant), most)
        ranked = self._rank(query, answered, k, mode, said, vector)
        hits: dict[int, Hit] = {}
        for shard in sorted({it.id % len(self._shards) for it in ranked}):
            own = [it for it in ranked if it.id % len(self._shards) == shard]
            local = [replace(it, id=it.id // len(self._shards)) for it in own]
            found = self._ask_all([shard], "hits", local).get(shard)
            if found is None:
                del answered[shard]  # lost just now
                continue
            for it, hit in zip(own, found, strict=True):
                hits[it.id] = replace(hit, id=it.id)
        missing = tuple(number for number in range(len(self._shards)) if number not in answered)
        return Answer([hits[it.id] for it in ranked if it.id in hits], missing)

    def _rank(
        self,
        query: Query,
        answered: Mapping[int, tuple[Candidates, list[Entry]]],
        k: int,
        mode: Mode,
        statistics: Statistics,
        vector: NDArray[np.float32] | None,
    ) -> list[Ranked]:
        num = len(self._shards)
        about = {
            entry.id * num + shard: entry
            for shard, (_, entries) in answered.items()
            for entry in entries
        }

        def merged(kind: str) -> Found | None:
            parts = [
                (found[0] * num + shard, found[1])
                for shard, (some, _) in answered.items()
                if (found := getattr(some, kind)) is not None
            ]
            if not parts:
                return None
            return np.concatenate([ids for ids, _ in parts]), np.concatenate(
                [it for _, it in parts]
            )

        def near_paths(paths: Sequence[str]) -> NDArray[np.float32]:
            return nearness_of_paths(paths, vector, self._embedder, self._path_vectors)

        return rank(
            query,
            merged("lexical"),
            merged("dense"),
            lambda ids: [about[number] for number in ids],
            k,
            mode,
            None,
            merged("related"),
            statistics,
            merged("files"),
            near_paths,
        )

    def _ask_all(self, shards: Any, method: str, *arguments: Any) -> dict[int, Any]:
        """The answers of those shards that gave one, by number."""
        waiting = {number: self._shards[number].ask(method, *arguments) for number in shards}
        answers = {}
        for number, answer in waiting.items():
            try:
                answers[number] = answer()
            except ConnectionError:
                continue
        return answers


_NONE: Found = (np.empty(0, np.int64), np.empty(0, np.float32))


def _best(found: Candidates, most: int) -> list[int]:
    """The best of each kind, and the lowest by its vector, which the scale begins with."""
    ids: set[int] = set()
    for some in (found.lexical, found.related, found.dense):
        if some is not None and len(some[0]):
            order = np.argsort(-some[1], kind="stable")
            ids |= set(some[0][order[:most]].tolist())
            ids.add(int(some[0][order[-1]]))
    return sorted(ids)


def _only(found: Found | None, ids: Sequence[int]) -> Found | None:
    if found is None:
        return None
    kept = np.isin(found[0], np.asarray(ids, np.int64))
    return found[0][kept], found[1][kept]
