r"""Places in a text as the Language Server Protocol counts them, and the bytes they stand for.

A position is a line and a character, both from 0. Characters are counted in units of an encoding,
UTF-16 unless client and server agree on another: "\U0001f600" is two.
"""

import re
from bisect import bisect_right

from lsprotocol.types import Position, Range

from codebyte.apps.lines import encoded

_LINE_END = re.compile(rb"\r\n|\n|\r")
_UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


class Positions:
    """A text's bytes and the beginnings of its lines.

    Args:
        text: the document.
        encoding: of the units: "utf-8", "utf-16" or "utf-32".
    """

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self.data = encoded(text)
        self._name, self._size = _UNITS[encoding]
        ends = [(found.start(), found.end()) for found in _LINE_END.finditer(self.data)]
        self._starts = [0, *(end for _, end in ends)]
        self._ends = [*(start for start, _ in ends), len(self.data)]

    def offset(self, position: Position) -> int:
        """The byte a position stands before; what is past a line or the text is its end."""
        if position.line >= len(self._starts):
            return len(self.data)
        start, end = self._starts[position.line], self._ends[position.line]
        units = self.data[start:end].decode("utf-8").encode(self._name)
        before = units[: position.character * self._size].decode(self._name, "ignore")
        return start + len(before.encode("utf-8"))

    def position(self, offset: int) -> Position:
        """The position of a byte; one inside a character is the character's."""
        line = bisect_right(self._starts, offset) - 1
        before = self.data[self._starts[line] : offset].decode("utf-8", "ignore")
        return Position(line, len(before.encode(self._name)) // self._size)

    def range(self, start: int, end: int) -> Range:
        """The range of a half-open range of bytes."""
        return Range(self.position(start), self.position(end))

    def line_start(self, number: int) -> int:
        """The first byte of a line that is counted from 1, as in a report of a scan."""
        at = 0
        for _ in range(number - 1):  # scans count lines by newlines alone
            at = self.data.find(b"\n", at) + 1
        return at
