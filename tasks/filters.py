"""What is taken off a completion that has ended: what the text after the caret already says.

Pure functions over bytes; each is asked once, at the end.
"""

from codebyte.sampling import overlap
from codebyte.tasks.caret import HEAD, LINE_ENDS, Caret
from codebyte.tasks.stops import LONG_REPEAT

_PAIRS = {ord("("): ord(")"), ord("["): ord("]"), ord("{"): ord("}")}
_QUOTES = frozenset(b"\"'`")
_CLOSERS = frozenset(b")]}\"'`")
_SEEN = 2048  # bytes of the prefix in which open brackets are looked for
_BACKSLASH, _NEWLINE = ord("\\"), ord("\n")


def without_open_line(text: bytes) -> bytes:
    """Drops newlines and indentation at the end, of a line that was not written any more."""
    return text[: len(text.rstrip())] if not text[text.rfind(b"\n") + 1 :].strip() else text


def without_next_line(text: bytes, caret: Caret) -> bytes:
    """Drops a last line that is the one below the caret once more."""
    start = text.rfind(b"\n") + 1
    line = text[start:] if start else caret.lead + text
    if (
        not caret.next_line
        or line.rstrip() != caret.next_line
        or (not start and caret.lead.strip())
    ):
        return text
    return text[:start].rstrip(LINE_ENDS)


def without_repeat(text: bytes, suffix: bytes, caret: Caret) -> bytes:
    """Cuts an end with which the suffix begins: if it is the rest of the line, or long.

    Closing brackets and quotes alone are left to `closers_replaced`.
    """
    shared = overlap(text, suffix[:HEAD])
    repeat = text[len(text) - shared :].strip()
    whole_rest = caret.rest.strip() == repeat
    if repeat and not _CLOSERS.issuperset(repeat) and (whole_rest or len(repeat) >= LONG_REPEAT):
        return text[: len(text) - shared]
    return text


def closers_replaced(prefix: bytes, text: bytes, suffix: bytes) -> int:
    """How many closing brackets and quotes after the caret the text makes superfluous.

    An editor inserts them together with their openers: in `print(|)` the text `x)` replaces one,
    but `f(x)` replaces none, and in `print(len(|)` neither does `x)`.
    """
    head = next((i for i, byte in enumerate(suffix) if byte not in _CLOSERS), len(suffix))
    expected = _scan(prefix[-_SEEN:], [])[0]
    expected, closed = _scan(text, expected)
    for count in range(min(head, closed) + 1):
        kept = list(suffix[count:head])
        if kept == expected[::-1][: len(kept)]:
            return count
    return 0


def _scan(code: bytes, expected: list[int]) -> tuple[list[int], int]:
    """Follows brackets and quotes.

    Args:
        code: the bytes to read on.
        expected: what closes that which is open before, innermost last.

    Returns:
        The same after the code; and how many of those before it closed, or closed with none open.
    """
    expected, before, closed = list(expected), len(expected), 0
    escaped = False
    for byte in code:
        inside = expected[-1] if expected and expected[-1] in _QUOTES else None
        if escaped:
            escaped = False
        elif inside is not None and byte == _BACKSLASH:
            escaped = True
        elif inside is not None and byte == _NEWLINE:  # a quote not closed, or an apostrophe
            expected.pop()
            before = min(before, len(expected))
        elif expected and byte == expected[-1]:
            expected.pop()
            if len(expected) < before:
                before, closed = len(expected), closed + 1
        elif inside is not None:
            continue
        elif byte in _PAIRS or byte in _QUOTES:
            expected.append(_PAIRS.get(byte, byte))
        elif byte in _CLOSERS and not expected:
            closed += 1
    return expected, closed
