"""A file read by the model with what stands before and after each place in view.

The file is cut into blocks of whole lines. Each block is read behind the text that follows it and
the text before it, in the order that the model was trained to fill holes in:

    row of a block     FIM_PREFIX FIM_SUFFIX  after  FIM_MIDDLE  before  block

So what a block's bytes cost is what they cost given both sides. Blocks are read when they are asked
for; what the layers saw of one (some 25 MB) is held until it is let go.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codebyte.fim import fim_prompt
from codebyte.megabyte import Megabyte
from codebyte.tasks.counterfactual import Change, Row
from codebyte.tasks.edit import Edit

Bits = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How much of a file a row holds, in bytes; all of it fits the context of the model."""

    block: int = 2520
    before: int = 1024
    after: int = 512


DEFAULT = Layout()


class Reading:
    """A file's bits per byte, and what edits would do to them."""

    def __init__(self, model: Megabyte, source: bytes, layout: Layout = DEFAULT) -> None:
        self.source = source
        self.bits: Bits = np.zeros(len(source), np.float32)  # 0 where nothing was read
        self.entropy: Bits = np.zeros(len(source), np.float32)
        self._model, self._layout = model, layout
        self._rows: dict[int, tuple[Row, int]] = {}  # with place in the row, less that in the file
        self._starts = _blocks(source, layout.block)
        self._ends = [*self._starts[1:], len(source)] if source else []

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """The byte ranges that are read at once."""
        return list(zip(self._starts, self._ends, strict=True))

    def read(self, block: int | None = None) -> None:
        """Reads a block; all of them if none is named."""
        for i in range(len(self._starts)) if block is None else [block]:
            self._row(i)

    def let_go(self, block: int) -> None:
        """Frees what the layers saw of a block; its bits stay."""
        self._rows.pop(block, None)

    def first_gains(self, edits: Sequence[Edit]) -> Bits:
        """What each edit gains at most at its first different byte and in what it takes out, bits.

        Costs next to nothing: no byte is read again.
        """
        gains = np.zeros(len(edits), np.float32)
        for i, edit in enumerate(edits):
            block, end = self._block(edit)
            row, offset = self._row(block)
            new = edit.replacement + self.source[edit.end : edit.end + 8]
            old = self.source[edit.start : edit.start + len(new)]
            same = next((j for j, (a, b) in enumerate(zip(new, old)) if a != b), None)  # noqa: B905
            if same is None:
                continue
            place = edit.start + same
            taken = self.bits[place : max(place + 1, min(end, edit.end))].sum()
            gains[i] = row.log2_p[place + offset, new[same]] + taken
        return gains

    def gains(self, edits: Sequence[Edit], stops: Sequence[int]) -> NDArray[np.float32]:
        """What each edit gains, in bits: at the edit, on its line behind it, on the lines after.

        Args:
            edits: of this file.
            stops: how far each is scored, as a place in the file.

        Returns:
            (number of edits, 3).
        """
        gains = np.zeros((len(edits), 3), np.float32)
        asked: dict[int, list[tuple[int, Change]]] = {}
        for i, (edit, stop) in enumerate(zip(edits, stops, strict=True)):
            block, end = self._block(edit)
            _, offset = self._row(block)
            change = Change(
                edit.start + offset,
                edit.end + offset,
                edit.replacement,
                min(max(stop, edit.end), end) + offset,
            )
            asked.setdefault(block, []).append((i, change))
        for block, questions in asked.items():
            row, offset = self._row(block)
            scored = row.bits_of([change for _, change in questions])
            for (i, change), bits in zip(questions, scored, strict=True):
                size = len(change.replacement)
                newline = self.source.find(b"\n", change.end - offset)
                line = change.stop if newline < 0 else min(change.stop, newline + 1 + offset)
                line_size = size + line - change.end
                old = row.bits
                gains[i] = (
                    old[change.start : change.end].sum() - bits[:size].sum(),
                    old[change.end : line].sum() - bits[size:line_size].sum(),
                    old[line : change.stop].sum() - bits[line_size:].sum(),
                )
        return gains

    def line_states(self, block: int, starts: NDArray[np.int64]) -> Bits:
        """The mean state of the patches that end in each line of a block; 0 where none does.

        Args:
            block: its number.
            starts: of its lines, places in the file.

        Returns:
            (lines, `states_width` of the model).
        """
        row, offset = self._row(block)
        ends = row.patch_ends - offset
        inside = (ends >= starts[0]) & (ends < self._ends[block]) if len(starts) else ends < 0
        lines = np.searchsorted(starts, ends[inside], side="right") - 1
        total = np.zeros((len(starts), row.patch_states.shape[1]), np.float32)
        np.add.at(total, lines, row.patch_states[inside])
        counts = np.maximum(np.bincount(lines, minlength=len(starts)), 1).astype(np.float32)
        means: Bits = total / counts[:, None]
        return means

    def _row(self, block: int) -> tuple[Row, int]:
        if block not in self._rows:
            start, end = self._starts[block], self._ends[block]
            suffix = self.source[end : end + self._layout.after]
            prefix = self.source[max(0, start - self._layout.before) : start]
            ids = fim_prompt(prefix, suffix)
            row = Row(self._model, [*ids, *self.source[start:end]])
            self.bits[start:end] = row.bits[len(ids) :]
            log2_p = row.log2_p[len(ids) : -1]
            self.entropy[start:end] = -(np.exp2(log2_p) * log2_p).sum(axis=1)
            self._rows[block] = row, len(ids) - start
        return self._rows[block]

    def _block(self, edit: Edit) -> tuple[int, int]:
        """The block that an edit begins in, and where that block ends."""
        block = bisect_right(self._starts, edit.start) - 1
        return block, self._ends[block]


def _blocks(source: bytes, size: int) -> list[int]:
    """Where blocks of whole lines begin; a longer line is cut."""
    starts = [0] if source else []
    while starts and len(source) - starts[-1] > size:
        newline = source.rfind(b"\n", starts[-1], starts[-1] + size)
        starts.append(starts[-1] + size if newline < 0 else newline + 1)
    return starts
