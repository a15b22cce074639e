"""Positions of the protocol against a slow count of characters."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol.types import Position

from codebyte.apps.positions import Positions

TEXTS = st.text(st.sampled_from("ab\n\r\t\u00e9\u20ac\U0001f600"), max_size=30)
UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


def slowly(text: str, index: int, encoding: str) -> Position:
    """The position of the character at an index, counted from the start."""
    lines = re.split(r"\r\n|\n|\r", text[:index])
    name, size = UNITS[encoding]
    return Position(len(lines) - 1, len(lines[-1].encode(name)) // size)


@given(TEXTS, st.sampled_from(sorted(UNITS)))
def test_every_character_is_found_at_its_position(text: str, encoding: str) -> None:
    places = Positions(text, encoding)
    for index in range(len(text) + 1):
        if text[index - 1 : index + 1] == "\r\n" and index:
            continue  # between the two there is no position
        offset = len(text[:index].encode())
        position = slowly(text, index, encoding)
        assert places.offset(position) == offset
        assert places.position(offset) == position


@pytest.mark.parametrize(("line", "character", "offset"), [(0, 99, 1), (1, 9, 4), (7, 0, 4)])
def test_what_is_past_the_end_is_the_end(line: int, character: int, offset: int) -> None:
    assert Positions("a\nbc").offset(Position(line, character)) == offset


def test_half_a_character_is_the_whole_ones_start() -> None:
    places = Positions("x\U0001f600y")
    assert places.offset(Position(0, 2)) == 1
    assert places.position(3) == Position(0, 1)


def test_lines_of_a_scan_are_counted_by_newlines() -> None:
    places = Positions("a\rb\nc\n")
    assert [places.line_start(number) for number in (1, 2, 3)] == [0, 4, 6]
