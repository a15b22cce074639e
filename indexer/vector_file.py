"""Vectors of texts: an append-only file of float16 rows.

Axes: n rows, d width. A row is never changed; rows that the database does not count were left by a
run that was killed, and the next writer cuts them off.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codebyte.errors import StaleIndexError

_BLOCK = 1 << 16  # rows

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


class VectorFile:
    """Rows of float16, in a file or, without one, in memory."""

    def __init__(self, file: Path | None, dim: int, count: int = 0) -> None:
        """Opens rows.

        Args:
            file: made where it is missing, once something is added.
            dim: d.
            count: how many rows the file is known to have.

        Raises:
            StaleIndexError: it has fewer.
        """
        self.file, self.dim = file, dim
        self._memory = np.empty((0, dim), np.float16)
        self._map: NDArray[np.float16] = self._memory
        self.count = 0
        self.grow(count)

    def grow(self, count: int) -> None:
        """Takes rows into account that another process has added."""
        if count == self.count:
            return
        if self.file is None:
            self._map, self.count = self._memory[:count], count
            return
        size = self.file.stat().st_size if self.file.exists() else 0
        if size < count * self.dim * 2:
            raise StaleIndexError(
                f"{self.file} has {size} of {count * self.dim * 2} bytes: "
                "make its vectors again with `codebyte index --reembed`"
            )
        if count:
            mapped = np.memmap(self.file, np.float16, "r", shape=(count, self.dim))
            self._map = np.asarray(mapped)  # the plain class is quicker to take rows from
        self.count = count

    def append(self, rows: Floats) -> int:
        """Adds rows, written through to the disk; the number of the first."""
        first = self.count
        halves = np.ascontiguousarray(rows, np.float16)
        if self.file is None:
            self._memory = np.concatenate([self._memory[:first], halves])
        else:
            start = first * self.dim * 2
            with self.file.open("r+b" if self.file.exists() else "w+b") as file:
                file.truncate(start)  # what a killed run had added
                file.seek(start)
                file.write(halves.tobytes())
                file.flush()
                os.fsync(file.fileno())
        self.grow(first + len(halves))
        return first

    def copy_to(self, file: Path) -> None:
        """Writes all rows to a new file."""
        with file.open("wb") as output:
            for place in range(0, self.count, _BLOCK):
                output.write(self._map[place : place + _BLOCK].tobytes())
            output.flush()
            os.fsync(output.fileno())

    def take(self, rows: Rows | Sequence[int]) -> Floats:
        """Some rows, (n, d)."""
        return np.asarray(self._map[np.asarray(rows, np.int64)], np.float32)

    def blocks(self, rows: Rows) -> list[Rows]:
        """Cuts row numbers into blocks small enough to hold as float32."""
        return [rows[place : place + _BLOCK] for place in range(0, len(rows), _BLOCK)]
