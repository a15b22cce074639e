"""What counts of tokens say of a file's edits and lines, with no model asked.

An edit is judged by how often the runs of tokens that it makes stand elsewhere in the file and in
its repository, beside those that it takes away:

    if len(rows) >= limit:     ( rows ) >= limit     0 times elsewhere
    if len(rows) >  limit:     ( rows ) >  limit     3 times

A token's cost is what it takes to tell it from the tokens before it, or from those after, in bits.
A place never counts for itself.

Axes: n tokens of a file, e edits, o kinds of runs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codebyte.tasks.edit import KINDS, Edit
from codebyte.tasks.usage import (
    FILE_BITS,
    LONGEST,
    RUNS,
    Hashes,
    Tokens,
    Usage,
    numbers,
    run_hashes,
    tokenize,
)

_AROUND = LONGEST - 1  # tokens on either side of an edit that its runs reach
MOST_BITS = 5.0  # of a byte: counts know nothing of what is inside an unknown token
_LONGEST_NEW = 16  # tokens of a replacement
_WEIGHT = 2.0  # how often a shorter run must be seen to count like its mean
_ORDER = tuple(KINDS)
_NAMES = tuple(f"{'plain' if plain else 'run of'} {n}" for plain, n in RUNS)
_PER_RUN = ("old in file", "new in file", "old", "new", "gain", "least new")
EDIT = (
    *(f"is {kind}" for kind in _ORDER),
    "tokens taken out",
    "tokens put in",
    *(f"{name}: {what}" for name in _NAMES for what in _PER_RUN),
)
COST = (
    "cost",
    "cost per token",
    "most cost of a token",
    "cost backwards",
    "most cost backwards",
    "most cost both ways",
    "most cost of three",
)

Table = NDArray[np.float32]


class Skim:
    """A file's tokens with their counts."""

    def __init__(self, source: bytes, usage: Usage | None = None) -> None:
        """Counts.

        Args:
            source: the file.
            usage: of its repository, itself included; None where there is none.
        """
        self.source = source
        self.tokens: Tokens = tokenize(source)
        self._own = Usage(FILE_BITS)
        self._own.add_ids(self.tokens.ids)
        self._usage = usage
        self._all_tokens = max(self._own.tokens, usage.tokens if usage is not None else 0)
        # (n + 2 * _AROUND,): nothing stands before the first token and behind the last.
        self._ids = tuple(_padded(ids) for ids in self.tokens.ids)
        self._counts: list[tuple[Table, Table]] = []  # in the file, everywhere; of each kind of run
        for plain, n in RUNS:
            hashes = run_hashes(self._ids[plain], n, plain)
            own, everywhere = self._both(hashes)
            self._counts.append((_less_one(own), _less_one(everywhere)))

    def edit_features(self, edits: Sequence[Edit]) -> Table:
        """(e, len(EDIT))."""
        table = np.zeros((len(edits), len(EDIT)), np.float32)
        if not edits:
            return table
        table[np.arange(len(edits)), [_ORDER.index(edit.kind) for edit in edits]] = 1
        first = np.searchsorted(self.tokens.starts, [edit.start for edit in edits])
        last = np.searchsorted(self.tokens.starts, [edit.end for edit in edits])
        first, last = first + _AROUND, np.maximum(first, last) + _AROUND  # places in `_ids`
        put_in = {edit.replacement: None for edit in edits}
        listed = {text: tuple(i[:_LONGEST_NEW] for i in numbers(text)) for text in put_in}
        sizes = np.array([len(listed[edit.replacement][0]) for edit in edits])
        taken = last - first
        column = len(_ORDER)
        table[:, column], table[:, column + 1] = taken, sizes
        column += 2
        widths = 2 * _AROUND + sizes
        begins = np.concatenate([[0], np.cumsum(widths)])
        texts = [
            self._edited(plain, [listed[e.replacement][plain] for e in edits], first, last, begins)
            for plain in (0, 1)
        ]
        for (plain, n), (in_file, everywhere) in zip(RUNS, self._counts, strict=True):
            span = n - 1 + taken
            old = [_means(counts, first - n + 1, span) for counts in (in_file, everywhere)]
            span = n - 1 + sizes
            own, every = self._asked(texts[plain], begins[:-1] + _AROUND - n + 1, span, n, plain)
            new = [_ragged_means(np.log2(1 + counts), span) for counts in (own, every)]
            least = _ragged_least(np.log2(1 + every), span)
            table[:, column : column + 6] = np.column_stack(
                [old[0], new[0], old[1], new[1], new[1] - old[1], least]
            )
            column += 6
        return table

    def costs(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Bits of each token told from those before it, and from those behind it, (n,) both."""
        count = len(self.tokens.starts)
        place = np.arange(count) + _AROUND
        real = [self._counts[i][1] for i, (plain, _) in enumerate(RUNS) if not plain]
        alone = (real[0][place] + 0.2) / (self._all_tokens + 1000)
        before, behind = alone.copy(), alone.copy()
        for n in range(2, len(real) + 1):
            shorter, longer = real[n - 2], real[n - 1]
            seen, ran = shorter[place - n + 1], longer[place - n + 1]
            before = (np.minimum(ran, seen) + _WEIGHT * before) / (seen + _WEIGHT)
            seen, ran = shorter[place + 1], longer[place]
            behind = (np.minimum(ran, seen) + _WEIGHT * behind) / (seen + _WEIGHT)
        return (-np.log2(before)).astype(np.float32), (-np.log2(behind)).astype(np.float32)

    def line_costs(self, starts: NDArray[np.int64]) -> Table:
        """What the tokens of each line cost, (number of lines, len(COST)).

        Args:
            starts: where the lines begin.
        """
        table = np.zeros((len(starts), len(COST)), np.float32)
        if not len(self.tokens.starts):
            return table
        before, behind = self.costs()
        # A line end is told by the line before it.
        rows = np.searchsorted(starts, self.tokens.starts, side="right") - 1
        size = len(starts)
        three = np.convolve(before, np.ones(3, np.float32))[: len(before)]
        count = np.bincount(rows, minlength=size)
        table[:, 0] = np.bincount(rows, before, size)
        table[:, 1] = table[:, 0] / np.maximum(count, 1)
        np.maximum.at(table[:, 2], rows, before)
        table[:, 3] = np.bincount(rows, behind, size)
        np.maximum.at(table[:, 4], rows, behind)
        np.maximum.at(table[:, 5], rows, np.minimum(before, behind))
        np.maximum.at(table[:, 6], rows, three)
        return table

    def bits(self) -> NDArray[np.float32]:
        """The tokens' costs, even over their bytes and none above MOST_BITS, (bytes,)."""
        bits = np.zeros(len(self.source), np.float32)
        sizes = self.tokens.ends - self.tokens.starts
        before, _ = self.costs()
        places = np.repeat(self.tokens.starts - np.cumsum(sizes) + sizes, sizes)
        bits[places + np.arange(len(places))] = np.repeat(
            np.minimum(before / sizes, MOST_BITS), sizes
        )
        return bits

    def _both(self, hashes: Hashes) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        own = self._own.counts(hashes)
        return own, own if self._usage is None else np.maximum(own, self._usage.counts(hashes))

    def _asked(
        self, text: Hashes, starts: NDArray[np.int64], span: NDArray[np.int64], n: int, plain: bool
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Counts, in the file and everywhere, of the runs that begin in some spans of a text."""
        ends = np.cumsum(span)
        places = np.repeat(starts - ends + span, span) + np.arange(ends[-1])
        return self._both(run_hashes(text, n, plain)[places])

    def _edited(
        self,
        plain: int,
        new: list[Hashes],
        first: NDArray[np.int64],
        last: NDArray[np.int64],
        begins: NDArray[np.int64],
    ) -> Hashes:
        """The edits' surroundings with the edits made, one behind the other."""
        text = np.zeros(begins[-1], np.uint64)
        around, ids = np.arange(_AROUND), self._ids[plain]
        text[begins[:-1, None] + around] = ids[first[:, None] - _AROUND + around]
        text[begins[1:, None] - _AROUND + around] = ids[last[:, None] + around]
        sizes = np.array([len(ids) for ids in new])
        ends = np.cumsum(sizes)
        places = np.repeat(begins[:-1] + _AROUND - ends + sizes, sizes) + np.arange(ends[-1])
        text[places] = np.concatenate(new)
        return text


def _padded(ids: Hashes) -> Hashes:
    return np.pad(ids, (_AROUND, 2 * _AROUND))


def _less_one(counts: NDArray[np.uint16]) -> Table:
    return np.maximum(counts.astype(np.float32) - 1, 0)


def _means(counts: Table, starts: NDArray[np.int64], span: NDArray[np.int64]) -> Table:
    """Means of log counts over some spans, (e,); 0 for none."""
    sums = np.concatenate([[0.0], np.cumsum(np.log2(1 + counts), dtype=np.float64)])
    return ((sums[starts + span] - sums[starts]) / np.maximum(span, 1)).astype(np.float32)


def _ragged_means(values: Table, span: NDArray[np.int64]) -> Table:
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = np.cumsum(span)
    return ((sums[ends] - sums[ends - span]) / np.maximum(span, 1)).astype(np.float32)


def _ragged_least(values: Table, span: NDArray[np.int64]) -> Table:
    least = np.zeros(len(span), np.float32)
    some = span > 0
    if some.any():
        starts = (np.cumsum(span) - span)[some]
        least[some] = np.minimum.reduceat(values, starts)
    return least
