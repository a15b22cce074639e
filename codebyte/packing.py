"""Fills rows of ids from a shard of documents: which documents, from where, in which order.

A shard is cut in segments of one row's length, visited in an order shuffled anew each epoch: a
document is chosen as often as it is long, and an epoch misses far less text than draws with
replacement would. The document that a segment leads to starts the row; as many as fit follow it,
each after an EOT (none comes first, since a row's start is an implied EOT), and the last is cut at
the edge. In half of the rows those that follow are neighbours of the first one.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codebyte.fim import FIM_EXTRA, apply_fim, path_header
from codebyte.vocab import EOT

SAME_REPOSITORY = 0.5  # share of rows whose further documents come from the first one's repository
NEIGHBOURS = 12  # how far off, in documents, those may lie: mostly the same folder or the next
MIN_PIECE = 64  # bytes; a shorter piece gets no header and is left in reading order
MAX_SEEK = 512  # bytes searched for the next line start
# bytes of the shortest crop of a rearranged document: several in a row teach where a middle ends
# better than one
MIN_CROP = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """The documents of one split, memory-mapped."""

    data: NDArray[np.uint8]  # (num_bytes,)
    ends: NDArray[np.int64]  # (num_documents,)
    repos: NDArray[np.int32]  # (num_documents,)
    paths: tuple[str, ...]  # inside their repository

    @property
    def num_documents(self) -> int:
        """How many documents it holds."""
        return len(self.ends)

    def bounds(self, index: int) -> tuple[int, int]:
        """The half-open range of a document's bytes in `data`."""
        return (int(self.ends[index - 1]) if index else 0), int(self.ends[index])

    def document(self, index: int) -> NDArray[np.uint8]:
        """A document's bytes, a view."""
        start, end = self.bounds(index)
        return self.data[start:end]

    def document_at(self, position: int) -> int:
        """The index of the document that holds a byte of `data`."""
        return int(np.searchsorted(self.ends, position, side="right"))


def fill_row(
    row: NDArray[np.uint16],
    shard: Shard,
    number: int,
    *,
    seed: tuple[int, int],
    fim_rate: float,
    path_rate: float,
) -> None:
    """Fills a row in place; a pure function of the shard and the other arguments.

    Args:
        row: uint16 (length,).
        shard: with at least one byte.
        number: of the row, in the whole run.
        seed: of the run, and a number that tells its splits apart.
        fim_rate: share of documents rearranged by `apply_fim`, after cropping.
        path_rate: share of documents headed by their path.
    """
    rng = np.random.default_rng([*seed, number])
    position = int(rng.integers(*_segment(len(shard.data), len(row), seed, number)))
    index = first = shard.document_at(position)
    related = rng.random() < SAME_REPOSITORY
    filled = 0
    while filled < len(row):
        room = len(row) - filled
        headed = rng.random() < path_rate
        rearranged = rng.random() < fim_rate
        ids = _piece(shard, index, position, room, headed, rearranged, rng)
        row[filled : filled + len(ids)] = ids
        filled += len(ids)
        neighbour = _neighbour(shard, first, rng) if related else None
        low, high = (0, len(shard.data)) if neighbour is None else shard.bounds(neighbour)
        position = int(rng.integers(low, high))
        index = shard.document_at(position)


def _segment(num_bytes: int, length: int, seed: tuple[int, int], number: int) -> tuple[int, int]:
    """The half-open range of bytes that a row starts from."""
    count = -(-num_bytes // length)
    at = int(_shuffled(count, seed, number // count)[number % count]) * length
    return at, min(at + length, num_bytes)


@functools.lru_cache(maxsize=4)
def _shuffled(count: int, seed: tuple[int, int], epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([*seed, epoch, count]).permutation(count)


def _piece(
    shard: Shard,
    index: int,
    position: int,
    room: int,
    headed: bool,
    rearranged: bool,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """A document's ids with its EOT, or as many of them as there is room for; never empty."""
    header = path_header(shard.paths[index]) if headed else []
    if len(header) + MIN_PIECE > room:
        header = []
    room -= len(header)
    if rearranged and room > MIN_CROP:
        room = int(MIN_CROP * (room / MIN_CROP) ** rng.random())
    start, end = shard.bounds(index)
    start = _start(shard.data, start, end, position, room, rng)
    if rearranged and min(room - FIM_EXTRA, end - start) >= MIN_PIECE:
        body = apply_fim(shard.data[start : min(end, start + room - FIM_EXTRA)], rng)
    else:
        body = np.full(min(end - start + 1, room), EOT, np.uint16)
        text = shard.data[start : min(end, start + room)]
        body[: len(text)] = text
    return np.concatenate([np.asarray(header, np.uint16), body]) if header else body


def _start(
    data: NDArray[np.uint8],
    start: int,
    end: int,
    position: int,
    room: int,
    rng: np.random.Generator,
) -> int:
    """Where to start reading a document: its start, or in a long one a line start inside it.

    A document of n bytes is drawn n / length times an epoch. Starting at its start half of those
    times would show the first bytes of a long one far too often, so that share falls to
    2 room / n.
    """
    size = end - start
    fit = room / size
    if rng.random() < max(fit, min(0.5, 2 * fit)):
        return start
    # Near its start it would repeat what other rows show, near its end it would waste the room.
    last = end - room // 2
    early = min(start + room * 3 // 4, last)
    place = early + (last - early) * (position - start) // size
    found = data[place : min(end, place + MAX_SEEK)].tobytes().find(b"\n") + 1
    return place + found if place + found < end else start


def _neighbour(shard: Shard, first: int, rng: np.random.Generator) -> int | None:
    """Another document of the same repository, near in path order, if there is one."""
    low = max(first - NEIGHBOURS, 0)
    near = np.flatnonzero(shard.repos[low : first + NEIGHBOURS + 1] == shard.repos[first]) + low
    near = near[near != first]
    return int(near[rng.integers(len(near))]) if len(near) else None
