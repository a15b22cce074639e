"""What stands around a caret, and what of it fits a prompt."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codebyte.tasks.caret import Caret, caret_between, fit, indent, opens_block


def test_a_caret_has_a_line_on_both_sides_and_one_below() -> None:
    assert caret_between(b"a\n  b", b" c  \n\n   \n  d  \ne") == Caret(
        lead=b"  b", rest=b" c  ", next_line=b"  d"
    )
    assert caret_between(b"", b"") == Caret()
    assert caret_between(b"a\r\nb", b"\r\nc\r\n") == Caret(
        lead=b"b", next_line=b"c", newline=b"\r\n"
    )


@pytest.mark.parametrize(
    ("prefix", "suffix", "multiline"),
    [
        (b"", b"", True),
        (b"def f():\n    ", b"\nx", True),
        (b"def f():", b"", True),
        (b"if (x) {", b"  \n}", True),
        (b"foo(", b"\n)", True),
        (b"x = ", b"", False),
        (b"x = 1", b"\n", False),
        (b"foo(", b")", False),
        (b"    ", b"x\n", False),
        (b"    ", b"\r\n", True),
    ],
)
def test_several_lines_are_expected_where_a_block_can_begin(
    prefix: bytes, suffix: bytes, multiline: bool
) -> None:
    assert caret_between(prefix, suffix).multiline is multiline


def test_tabs_indent_to_the_next_eighth_column() -> None:
    assert [indent(line) for line in (b"x", b"  x", b"\tx", b"  \tx", b"\t  x")] == [0, 2, 8, 8, 10]


def test_blocks_are_opened_by_the_end_of_a_line() -> None:
    opening = [b"if x:", b"f(", b"x => {  ", b"loop do", b"begin"]
    assert [opens_block(line) for line in opening] == [True, True, True, True, False]
    assert not opens_block(b"x = 1")


LINES = b"".join(b"line %d of the text\n" % i for i in range(400))


@settings(deadline=None)
@given(st.integers(0, len(LINES)), st.integers(0, len(LINES)), st.integers(0, 6000), st.booleans())
def test_what_fits_is_nearest_to_the_caret(
    before: int, after: int, room: int, one_line: bool
) -> None:
    text = LINES.replace(b"\n", b" ") if one_line else LINES
    prefix, suffix = text[:before], text[:after]
    near, below = fit(prefix, suffix, room)
    assert len(near) + len(below) <= room
    assert prefix.endswith(near)
    assert suffix.startswith(below)
    if len(prefix) + len(suffix) > room >= 512:
        assert len(near) >= min(len(prefix), room // 4)
        assert len(below) >= min(len(suffix), room // 4 - 24)


def test_what_fits_whole_is_not_cut() -> None:
    assert fit(LINES[:300], LINES[:100], 400) == (LINES[:300], LINES[:100])


def test_cuts_are_at_line_starts() -> None:
    near, below = fit(LINES, LINES, 2000)
    assert near.startswith(b"line ")
    assert below.endswith(b"text\n")


def test_cuts_stay_in_place_while_one_types() -> None:
    room, suffix = 2000, LINES
    starts, ends = set(), set()
    for typed in range(500):
        prefix = LINES + b"x" * typed
        near, below = fit(prefix, suffix, room)
        starts.add(len(prefix) - len(near))
        ends.add(len(below))
    assert len(starts) <= 3  # every eighth of the room, 250 bytes
    assert len(ends) == 1
