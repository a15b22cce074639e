from dataclasses import fields

import numpy as np
import pytest

from codebyte.indexer.repo import SourceFile
from codebyte.tasks.pairs import (
    Pieces,
    cut_pieces,
    first_sentence,
    numbered,
    read_pieces,
    write_pieces,
)
from codebyte.tasks.ragged import Ragged

PYTHON = b'''"""A module."""


class Server:
    """Serves files to clients."""

    backlog, timeout, root = 5, 30.0, "/srv/files"

    def start(self, port):
        """Listens on a port. Blocks until stopped.

        Args:
            port: its number.
        """
        # wait until the socket is free again
        raise OSError("the port is already in use")


def helper(value, other):
    return value + other + value * other
'''
GO = b"""package counter

// Next returns the number after n,
// never more than limit.
func Next(n int, limit int) int {
	return min(n+1, limit)
}
"""


def source(path, data, language):
    return SourceFile(repo="r", path=path, language=language, data=data)


@pytest.fixture
def pieces():
    files = [source("src/server.py", PYTHON, "python"), source("counter.go", GO, "go")]
    return list(cut_pieces([*files, source("tests/test_copy.py", PYTHON, "python")]))


def test_documentation_and_code_are_parted(pieces):
    found = {piece.symbol: piece for piece in pieces}
    assert found.keys() == {"Server", "Server.start", "helper", "Next"}
    start = found["Server.start"]
    assert start.doc.startswith("Listens on a port. Blocks until stopped.")
    assert b"Listens" not in start.code
    assert b"# wait until" in start.code
    assert found["Next"].doc == "Next returns the number after n,\nnever more than limit."
    assert b"returns the number" not in found["Next"].code
    assert found["helper"].doc == ""
    assert not any(piece.test for piece in pieces)  # the copy in tests came second


def test_notices_are_no_documentation():
    data = GO.replace(b"Next returns", b"Copyright 2024, Next returns")
    (piece,) = cut_pieces([source("a.go", data, "go")])
    assert (piece.symbol, piece.doc) == ("Next", "")


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ("Opens it. Then closes it.", "Opens it."),
        ("Opens\nit all\n\nMore.", "Opens it all"),
        ("Uses e.g. one file", "Uses e.g. one file"),
        ("Opens it\n@param x the file", "Opens it"),
        ("Opens it\n:param x: the file", "Opens it"),
        ("", ""),
    ],
)
def test_the_first_sentence_ends_where_it_should(doc, expected):
    assert first_sentence(doc) == expected


def test_numbers_stand_for_the_words_of_each_field(pieces):
    numbers = {}
    made = numbered(pieces, numbers)
    words = list(numbers)
    row = [piece.symbol for piece in pieces].index("Server.start")
    said = [[words[n] for n in made.said[i]] for i in np.flatnonzero(made.owner == row)]
    assert [words[n] for n in made.symbol[row]] == [b"server", b"start"]
    assert [words[n] for n in made.signature[row]] == [b"def", b"start", b"self", b"port"]
    assert [words[n] for n in made.first[row]] == [b"listens", b"on", b"a", b"port"]
    assert said == [
        [b"wait", b"until", b"the", b"socket", b"is", b"free", b"again"],
        [b"the", b"port", b"is", b"already", b"in", b"use"],
    ]
    assert len(made) == len(pieces)


def test_pieces_survive_their_file(pieces, tmp_path):
    numbers = {}
    made = numbered(pieces, numbers)
    write_pieces(tmp_path / "a.npz", made, list(numbers))
    again, words = read_pieces(tmp_path / "a.npz")
    assert words == list(numbers)
    for field in fields(Pieces):
        left, right = getattr(made, field.name), getattr(again, field.name)
        if isinstance(left, Ragged):
            np.testing.assert_array_equal(left.offsets, right.offsets)
            left, right = left.values, right.values
        np.testing.assert_array_equal(left, right)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_lists_are_taken_joined_and_counted_like_lists():
    lists = [[3, 1, 3], [], [7], [1, 1]]
    made = Ragged.of(lists)
    assert [made[i].tolist() for i in range(4)] == lists
    taken = made.take(np.array([3, 1, 0, 0]))
    assert [taken[i].tolist() for i in range(4)] == [[1, 1], [], [3, 1, 3], [3, 1, 3]]
    joined = Ragged.joined([made, taken])
    assert [joined[i].tolist() for i in range(8)] == [*lists, [1, 1], [], [3, 1, 3], [3, 1, 3]]
    keys, counts = made.counted()
    assert [(k >> 32, k & 0xFFFFFFFF) for k in keys.tolist()] == [(0, 1), (0, 3), (2, 7), (3, 1)]
    assert counts.tolist() == [1, 2, 1, 2]
