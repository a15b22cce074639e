"""Definitions with their documentation, cut from repositories, as numbered words: what heads learn.

A piece is a function, a method or the head of a class. Its documentation is taken out of its code,
so that the two can be held against each other; comments and strings in it that say something in
words are kept apart too.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.chunk import chunk_file, strip_doc
from codebyte.indexer.languages import is_test
from codebyte.indexer.repo import SourceFile
from codebyte.tasks.bag import MAX_BYTES, parts, word
from codebyte.tasks.ragged import Ragged

MAX_DOC = 3000  # characters of a documentation that are read
MAX_SAID = 6  # comments and strings of a piece

_KINDS = {"function", "method", "class"}
_MIN_CODE = 40  # bytes
_NOT_DOC = re.compile(
    r"copyright|licen[sc]e|^\s*(?:todo|fixme|xxx|eslint|@?ts-|noqa|istanbul|pylint|type:|nolint)",
    re.IGNORECASE,
)
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"(\[<:])|\n\s*\n|\n\s*(?=[@:]\w|-{3}|\*\s|>>>)")
_SAID = re.compile(
    rb"(?:#|//+|/\*+|^\s*\*)\s*([A-Za-z][^\n]{12,200})|[\"'`]([A-Za-z][^\"'`\n]{14,200})[\"'`]",
    re.MULTILINE,
)
_MIN_SAID = 4  # words


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One definition of a file."""

    symbol: str
    code: bytes  # without the documentation
    doc: str  # without quotes and comment marks; "" where there is none
    test: bool


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of one repository as numbers of words."""

    symbol: Ragged
    signature: Ragged
    body: Ragged
    first: Ragged  # sentence of the documentation
    doc: Ragged  # all of it
    said: Ragged  # comments and strings
    owner: NDArray[np.int64]  # of what is said: the piece
    test: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.test)

    def renumbered(self, numbers: NDArray[np.int32]) -> "Pieces":
        """The same with numbers[word] for each word."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            if isinstance(one := getattr(self, field.name), Ragged):
                changed[field.name] = Ragged(numbers[one.values], one.offsets)
        return replace(self, **changed)


def cut_pieces(files: Iterable[SourceFile]) -> Iterator[Piece]:
    """The definitions of files; code that was seen before, but for white space, is left out."""
    seen: set[bytes] = set()
    for file in files:
        for chunk in chunk_file(file.path, file.data, file.language or None):
            if not chunk.symbol or chunk.kind not in _KINDS:
                continue
            code = strip_doc(chunk)
            known = code.translate(None, b" \t\r\n")
            if len(code) < _MIN_CODE or known in seen:
                continue
            seen.add(known)
            doc = "" if _NOT_DOC.search(chunk.doc[:300]) else chunk.doc[:MAX_DOC]
            yield Piece(symbol=chunk.symbol, code=code, doc=doc, test=is_test(file.path))


def first_sentence(doc: str) -> str:
    """What a documentation says first, on one line."""
    return " ".join(_END.split(doc.strip(), maxsplit=1)[0].split())


def numbered(pieces: Iterable[Piece], words: dict[bytes, int]) -> Pieces:
    """Pieces as numbers of words; words not numbered before are added."""
    known: dict[bytes, int] = {}

    def numbers(text: bytes) -> list[int]:
        found = []
        for part in parts(text):
            if (place := known.get(part)) is None:
                place = known[part] = words.setdefault(word(part), len(words))
            found.append(place)
        return found

    symbol: list[list[int]] = []
    signature: list[list[int]] = []
    body: list[list[int]] = []
    first: list[list[int]] = []
    doc: list[list[int]] = []
    said: list[list[int]] = []
    owner, test = [], []
    for place, piece in enumerate(pieces):
        code = piece.code[:MAX_BYTES]
        symbol.append(numbers(piece.symbol.encode()))
        signature.append(numbers(code.lstrip().partition(b"\n")[0]))
        body.append(numbers(code))
        first.append(numbers(first_sentence(piece.doc).encode()))
        doc.append(numbers(piece.doc.encode()))
        test.append(piece.test)
        remarks = (numbers(match[1] or match[2]) for match in _SAID.finditer(code))
        for _, remark in zip(range(MAX_SAID), remarks, strict=False):
            if len(remark) >= _MIN_SAID:
                said.append(remark)
                owner.append(place)
    return Pieces(
        symbol=Ragged.of(symbol),
        signature=Ragged.of(signature),
        body=Ragged.of(body),
        first=Ragged.of(first),
        doc=Ragged.of(doc),
        said=Ragged.of(said),
        owner=np.array(owner, np.int64),
        test=np.array(test, np.bool_),
    )


def write_pieces(path: Path, pieces: Pieces, words: Sequence[bytes]) -> None:
    """Writes pieces with their words to a file, which is there only when it is whole."""
    arrays: dict[str, NDArray[np.generic]] = {"words": np.frombuffer(b"\n".join(words), np.uint8)}
    for field in fields(Pieces):
        value = getattr(pieces, field.name)
        if isinstance(value, Ragged):
            arrays[field.name], arrays[field.name + ".offsets"] = value.values, value.offsets
        else:
            arrays[field.name] = value
    passing = path.with_name(path.name + ".part.npz")
    np.savez(passing, **arrays)  # type: ignore[arg-type]
    passing.replace(path)


def read_pieces(path: Path) -> tuple[Pieces, list[bytes]]:
    """Reads what `write_pieces` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    made: dict[str, Any] = {}
    for field in fields(Pieces):
        value = arrays[field.name]
        offsets = arrays.get(field.name + ".offsets")
        made[field.name] = value if offsets is None else Ragged(value, offsets)
    return Pieces(**made), arrays["words"].tobytes().split(b"\n")
