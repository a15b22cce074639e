"""Fill-in-the-middle prompts as other models want them, read as a prefix and a suffix.

Editors with templates for other models send one text with that model's marks in it:

    <|fim_prefix|>def f(<|fim_suffix|>): pass<|fim_middle|>  ->  "def f(" and "): pass"
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Marks:
    """What stands before the prefix, before the suffix and before the middle ("" for nothing)."""

    prefix: bytes
    suffix: bytes
    middle: bytes


_FORMS = (
    _Marks(b"<|fim_prefix|>", b"<|fim_suffix|>", b"<|fim_middle|>"),  # Qwen, CodeGemma, Granite 4
    _Marks(b"<fim_prefix>", b"<fim_suffix>", b"<fim_middle>"),  # StarCoder, Granite
    _Marks(b"<fim-prefix>", b"<fim-suffix>", b"<fim-middle>"),  # SantaCoder
    _Marks(b"<PRE> ", b" <SUF>", b" <MID>"),  # Code Llama
    _Marks(b"<PRE>", b"<SUF>", b"<MID>"),
    _Marks(  # DeepSeek
        "<\uff5cfim\u2581begin\uff5c>".encode(),
        "<\uff5cfim\u2581hole\uff5c>".encode(),
        "<\uff5cfim\u2581end\uff5c>".encode(),
    ),
    _Marks(b"<|code_prefix|>", b"<|code_suffix|>", b"<|code_middle|>"),  # GLM
    _Marks(b"[PREFIX]", b"[SUFFIX]", b""),  # Codestral: suffix first
)


def split_at_marks(prompt: bytes) -> tuple[bytes, bytes] | None:
    """The prefix and the suffix of a prompt with marks; None if it has none, or not in order.

    Both orders are known, prefix first and suffix first. What stands before the first mark, such as
    other files, is kept before the prefix.
    """
    for marks in _FORMS:
        if all(prompt.count(mark) == 1 for mark in (marks.prefix, marks.suffix) if mark):
            found = _prefix_first(prompt, marks) or _suffix_first(prompt, marks)
            if found is not None:
                before, prefix, suffix = found
                return before + prefix, suffix
    return None


def _prefix_first(prompt: bytes, marks: _Marks) -> tuple[bytes, bytes, bytes] | None:
    """[prefix] p [suffix] s [middle]."""
    before, _, rest = prompt.partition(marks.prefix)
    prefix, found, rest = rest.partition(marks.suffix)
    if not found or not marks.middle:
        return None
    suffix, found, after = rest.partition(marks.middle)
    # With nothing between the first two marks, what comes after the last one is the prefix.
    if not found or (after.strip() and prefix):
        return None
    return before, prefix or after, suffix


def _suffix_first(prompt: bytes, marks: _Marks) -> tuple[bytes, bytes, bytes] | None:
    """[suffix] s [prefix] p [middle]."""
    before, _, rest = prompt.partition(marks.suffix)
    suffix, found, rest = rest.partition(marks.prefix)
    if not found:
        return None
    if not marks.middle:
        return before, rest, suffix
    prefix, found, after = rest.partition(marks.middle)
    return (before, prefix, suffix) if found and not after.strip() else None
