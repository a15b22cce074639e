"""Cuts files into the pieces that a search finds: functions, classes, sections, runs of lines.

The chunks of a file never overlap, and every line with a letter or a digit in it is in one of them.
A class is cut into its head and its methods; what lies between them is cut into runs of lines.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from codebyte.indexer.definitions import Definition, definitions
from codebyte.indexer.sections import headings
from codebyte.indexer.symbols import definition

LONGEST_CHUNK = 4096  # bytes; a definition up to this size stays in one piece
WINDOW_BYTES = 2048  # what larger ones, and lines that belong to no definition, are cut to
WINDOW_LINES = 48
LONGEST_DOC = 2048  # characters of a doc comment that are kept

_SAID = re.compile(rb"[A-Za-z0-9_\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file, of whole lines."""

    path: str
    language: str  # "" where it is not known
    symbol: str  # qualified name such as "Server.start"; of a section its headings; or ""
    kind: str  # "function", "method", "class", "section" or "lines"
    signature: str  # in one line; "" where there is none
    start_line: int  # from 1
    end_line: int  # inclusive
    start: int  # byte range in the file, half-open
    end: int
    text: bytes  # with its doc comment or docstring
    doc: str = ""  # of the doc comment or docstring, without its marks
    doc_start: int = 0  # byte range of the doc in the file, marks included; 0, 0 where none
    doc_end: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name that a file defines, whether or not it has a chunk of its own."""

    name: str  # the last part of the qualified name
    qualified: str
    kind: str
    line: int  # from 1


def chunk_file(path: str, data: bytes, language: str | None) -> list[Chunk]:
    """Cuts a file into chunks, in order; one that does not parse is still cut."""
    return cut(path, data, language)[0]


def cut(path: str, data: bytes, language: str | None) -> tuple[list[Chunk], list[Symbol]]:
    """The chunks of a file and the names it defines."""
    found = definitions(path, data, language) or headings(data, language)
    lines = _Lines(data)
    chunks = list(_Cutter(path, data, language or "", lines).cut(found))
    symbols = [
        Symbol(it.name, it.qualified, it.kind, lines.number(it.name_at))
        for it in found
        if it.kind not in ("impl", "section")
    ]
    return chunks, symbols


def chunk_whole(path: str, data: bytes, language: str | None) -> Chunk:
    """A whole document as one chunk, named after the first thing it defines."""
    found = definitions(path, data, language)
    first = next((it for it in found if it.kind != "impl"), None)
    made = Chunk(
        path=path,
        language=language or "",
        symbol="",
        kind="lines",
        signature="",
        start_line=1,
        end_line=max(data.count(b"\n") + (not data.endswith(b"\n")), 1),
        start=0,
        end=len(data),
        text=data,
    )
    if first is None or data[: first.start].strip():
        # A method without its class does not parse in some languages: go by its first line.
        line = definition(data)
        return replace(made, symbol=line.symbol, kind=line.kind, signature=line.signature)
    return replace(
        made,
        symbol=first.qualified,
        kind=first.kind,
        signature=first.signature,
        doc=first.doc[:LONGEST_DOC],
        doc_start=first.doc_start,
        doc_end=first.doc_end,
    )


def strip_doc(chunk: Chunk) -> bytes:
    """The text of a chunk without its doc comment or docstring."""
    if not chunk.doc_start <= chunk.doc_end <= chunk.end or chunk.doc_start == chunk.doc_end:
        return chunk.text
    before = chunk.text[: chunk.doc_start - chunk.start].rstrip(b" \t")
    after = chunk.text[chunk.doc_end - chunk.start :]
    return before.removesuffix(b"\n") + after if before.endswith(b"\n") else before + after


class _Lines:
    """Where the lines of a file begin."""

    def __init__(self, data: bytes) -> None:
        self.starts = [0, *(match.end() for match in re.finditer(rb"\n", data))]
        if self.starts[-1] == len(data):
            self.starts.pop()
        self.size = len(data)

    def __len__(self) -> int:
        return len(self.starts)

    def number(self, offset: int) -> int:
        """The line, from 1, that holds a byte."""
        return self.index(offset) + 1

    def index(self, offset: int) -> int:
        """The line, from 0, that holds a byte."""
        return max(bisect_right(self.starts, offset) - 1, 0)

    def at(self, line: int) -> int:
        """Where a line, from 0, begins; where the file ends for the one after the last."""
        return self.starts[line] if line < len(self.starts) else self.size


class _Cutter:
    """Walks the definitions of one file, all line numbers from 0, ends exclusive."""

    def __init__(self, path: str, data: bytes, language: str, lines: _Lines) -> None:
        self._path, self._data, self._language, self._lines = path, data, language, lines

    def cut(self, found: list[Definition]) -> Iterator[Chunk]:
        yield from self._between(0, len(self._lines), None, found)

    def _between(
        self, line: int, end: int, owner: Definition | None, inner: list[Definition]
    ) -> Iterator[Chunk]:
        """Cuts lines of a file, or of a definition that is opened: its head comes first."""
        head = owner
        place = 0
        while place < len(inner):
            one = inner[place]
            place += 1
            below = []
            while place < len(inner) and inner[place].start < one.end:
                below.append(inner[place])  # those on its own first line have no piece of their own
                place += 1
            first = max(self._lines.index(one.start), line)
            last = min(self._lines.index(max(one.end - 1, one.start)) + 1, end)
            if last <= first:
                continue  # it shares its lines with what was before it
            yield from self._pieces(line, first, head, owner)
            head = None
            below = [it for it in below if self._lines.index(it.start) > first]
            opened = one.kind in ("class", "impl", "section")
            large = self._lines.at(last) - self._lines.at(first) > LONGEST_CHUNK
            if below and (opened or large):
                yield from self._between(first, last, one, below)
            else:
                yield from self._pieces(first, last, one, one)
            line = last
        yield from self._pieces(line, end, head, owner)

    def _pieces(
        self, line: int, end: int, head: Definition | None, owner: Definition | None
    ) -> Iterator[Chunk]:
        """Chunks of some lines: in one piece where they are a definition that is short enough."""
        whole = head is not None and self._lines.at(end) - self._lines.at(line) <= LONGEST_CHUNK
        for first, last in [(line, end)] if whole else self._windows(line, end):
            while first < last and not self._line(first).strip():
                first += 1
            while first < last and not self._line(last - 1).strip():
                last -= 1
            start, stop = self._lines.at(first), self._lines.at(last)
            text = self._data[start:stop]
            if first == last or not _SAID.search(text):
                continue
            about = head or owner
            kind = head.kind if head is not None else "lines"
            symbol = about.qualified if about is not None else ""
            signature = about.signature if about is not None else ""
            doc = ("", 0, 0)
            if head is not None and start <= head.doc_start < head.doc_end <= stop:
                doc = (head.doc[:LONGEST_DOC], head.doc_start, head.doc_end)
            kind = "class" if kind == "impl" else kind
            place = (first + 1, last, start, stop, text)
            yield Chunk(self._path, self._language, symbol, kind, signature, *place, *doc)
            head = None

    def _windows(self, line: int, end: int) -> Iterator[tuple[int, int]]:
        """Cuts lines into runs, after an empty line where there is one in the second half."""
        while line < end:
            last = line + 1
            blank = 0
            while (
                last < min(end, line + WINDOW_LINES)
                and self._lines.at(last + 1) - self._lines.at(line) <= WINDOW_BYTES
            ):
                if not self._line(last).strip() and last - line >= WINDOW_LINES // 3:
                    blank = last + 1
                last += 1
            if last < end and blank:
                last = blank
            yield line, last
            line = last

    def _line(self, line: int) -> bytes:
        return self._data[self._lines.at(line) : self._lines.at(line + 1)]
