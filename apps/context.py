"""Texts from elsewhere in front of what is typed: open files, declarations, recent changes.

They stand before the prefix, where the model's matches find what was written there.
"""

from collections.abc import Sequence

from codebyte.apps.lines import encoded

_SHARE = 3  # of the context, one part in so many is for other texts
_LEAST = 16  # bytes of a text that is worth its place


def with_context(prefix: bytes, others: Sequence[tuple[str, str]], context: int) -> bytes:
    """The prefix behind the other texts, as much of both as a model of this context reads.

    Args:
        prefix: what stands before the caret.
        others: name and text of each, the most telling last; the first are left out first.
        context: bytes that the model reads.
    """
    room = context // _SHARE
    kept: list[bytes] = []
    for name, text in reversed(others):
        data = encoded(text).strip(b"\n")
        data = (b"# " + encoded(name) + b"\n" if name else b"") + data + b"\n\n"
        if len(data) < _LEAST or len(data) > room:
            continue
        room -= len(data)
        kept.append(data)
    if not kept:
        return prefix
    return b"".join(reversed(kept)) + _end(prefix, context // 2)


def _end(prefix: bytes, most: int) -> bytes:
    """The end of a prefix; the cut moves in steps, so that a cache holds while one types."""
    if len(prefix) <= most:
        return prefix
    grain = max(1, most // 4)
    start = -(-(len(prefix) - most) // grain) * grain
    line = prefix.find(b"\n", start, start + grain) + 1
    return prefix[line or start :]
