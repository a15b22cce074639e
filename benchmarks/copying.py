"""Completion without a model: copies what followed the same text elsewhere in the file."""

SHORTEST = 4  # bytes before the caret that must stand elsewhere too
ENDS_AT = 6  # bytes of the suffix that end the copy of a span


def copied_line(prefix: bytes, suffix: bytes, longest: int) -> bytes:
    r"""What followed the longest end of the prefix that also stands elsewhere, up to a newline.

    Of several places the nearest before the caret is taken, then the first one after it. For
    example `x = foo(1)\ny = foo(` has ` = foo(` twice, and gives `1)`.

    Args:
        prefix: the text before the caret.
        suffix: the text after it.
        longest: most bytes to copy.
    """
    return _followed(prefix, suffix, longest).partition(b"\n")[0]


def copied_span(prefix: bytes, suffix: bytes, longest: int) -> bytes:
    """As `copied_line`, but up to where the first bytes of the suffix stand, if they do."""
    copied = _followed(prefix, suffix, longest)
    end = copied.find(suffix[:ENDS_AT]) if suffix else -1
    return copied[:end] if end >= 0 else copied.partition(b"\n")[0]


def _followed(prefix: bytes, suffix: bytes, longest: int) -> bytes:
    source, end = b"", 0
    for length in range(SHORTEST, len(prefix)):
        wanted = prefix[-length:]
        before = prefix.rfind(wanted, 0, len(prefix) - 1)
        after = suffix.find(wanted)
        if before < 0 and after < 0:
            break
        source, place = (prefix, before) if before >= 0 else (suffix, after)
        end = place + length
    return source[end : end + longest]
