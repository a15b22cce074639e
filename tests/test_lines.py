import pytest

from codebyte.apps.lines import caret, split_lines
from codebyte.errors import InputError


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [b"\n"]),
        (b"a", [b"a"]),
        (b"a\r\nb\n", [b"a\r\n", b"b\n"]),
        (b"a\rb\x0cc\n\xff", [b"a\rb\x0cc\n", b"\xff"]),  # only b"\n" ends a line
    ],
)
def test_lines_end_after_a_newline_and_nowhere_else(data: bytes, lines: list[bytes]) -> None:
    assert split_lines(data) == lines


@pytest.mark.parametrize(
    ("data", "line", "column", "offset"),
    [
        (b"", 1, 1, 0),
        (b"ab\ncd", 1, 3, 2),
        (b"ab\ncd", 2, 1, 3),
        (b"ab\n", 2, 1, 3),  # the empty line after the last line end
        ("a\u00e9b".encode(), 1, 3, 3),  # columns are characters, not bytes
        ("\U0001f600x".encode(), 1, 2, 4),
        (b"\xff\xfex", 1, 3, 2),  # a byte that is not UTF-8 is one character
        (b"ab\r\ncd", 1, 3, 2),  # the carriage return is part of the line end
    ],
)
def test_a_line_and_column_from_one_name_a_byte(
    data: bytes, line: int, column: int, offset: int
) -> None:
    assert caret(data, line, column) == offset


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        (0, 1, "line 0 is outside the file: it has lines 1 to 2"),
        (3, 1, "line 3 is outside the file: it has lines 1 to 2"),
        (1, 0, "column 0 is outside line 1: it has columns 1 to 3"),
        (1, 4, "column 4 is outside line 1: it has columns 1 to 3"),
    ],
)
def test_a_place_outside_the_file_is_refused_with_what_there_is(
    line: int, column: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        caret(b"ab\r\ncd", line, column)
