"""Lines and columns as people count them (from 1, in characters), and the bytes they stand for."""

from codebyte.errors import InputError


def split_lines(data: bytes) -> list[bytes]:
    r"""Cuts after every b"\n", as git and editors do; a last line without one counts too.

    Example:
        b"a\r\nb" -> [b"a\r\n", b"b"]; b"" -> [].
    """
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def encoded(text: str) -> bytes:
    """Gives the bytes of a text from outside; half of a surrogate pair, no character, is a "?"."""
    return text.encode("utf-8", "replace")


def caret(data: bytes, line: int, column: int) -> int:
    """Finds the byte a caret stands before.

    Args:
        data: a whole file, in any encoding; a byte that is not UTF-8 counts as one character.
        line: from 1; the line after a last line end may be meant too.
        column: from 1, in characters; one past the end of the line at most.

    Returns:
        An offset into data.

    Raises:
        InputError: if there is no such line or column.
    """
    lines = data.split(b"\n")
    if not 1 <= line <= len(lines):
        raise InputError(f"line {line} is outside the file: it has lines 1 to {len(lines)}")
    text = lines[line - 1].removesuffix(b"\r").decode("utf-8", "surrogateescape")
    if not 1 <= column <= len(text) + 1:
        raise InputError(
            f"column {column} is outside line {line}: it has columns 1 to {len(text) + 1}"
        )
    before = sum(len(part) + 1 for part in lines[: line - 1])
    return before + len(text[: column - 1].encode("utf-8", "surrogateescape"))
