"""Code as HTML: numbered lines with syntax colours, and words that were asked for marked."""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String
from pygments.util import ClassNotFound

_LEXERS = {"shell": "bash", "make": "makefile", "docker": "docker", "tsx": "typescript"}
_CLASSES = (  # the first that fits
    (Comment, "comment"),
    (Keyword, "keyword"),
    (String, "string"),
    (Number, "number"),
    (Name.Function, "name"),
    (Name.Class, "name"),
)
LONGEST = 400  # characters of a line


def code_html(lines: Sequence[str], language: str, first: int, words: set[str]) -> str:
    """Draws lines of code.

    Args:
        lines: without their ends.
        language: as `codebyte.indexer.languages` calls it.
        first: number of the first line.
        words: in lower case; marked where they stand as part of a name or by themselves.
    """
    rows = "\n".join(line[:LONGEST] for line in lines)
    drawn = "".join(_token(kind, value, words) for kind, value in _tokens(rows, language))
    numbered = (
        f'<div class="cb-row"><span class="cb-number">{first + i}</span><span>{line}</span></div>'
        for i, line in enumerate(drawn.split("\n")[: len(lines)])
    )
    return f'<div class="cb-code">{"".join(numbered)}</div>'


def _tokens(text: str, language: str) -> list[tuple[Any, str]]:
    try:
        lexer = get_lexer_by_name(_LEXERS.get(language, language), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return [(None, text)]
    return list(lexer.get_tokens(text))


def _token(kind: Any, value: str, words: set[str]) -> str:
    name = next((name for of, name in _CLASSES if kind is not None and kind in of), None)
    parts = []
    for i, line in enumerate(value.split("\n")):
        marked = _marked(line, words)
        styled = f'<i class="tok-{name}">{marked}</i>' if name and line else marked
        parts.append(("\n" if i else "") + styled)
    return "".join(parts)


def _marked(line: str, words: set[str]) -> str:
    if not words:
        return escape(line)
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pieces = re.split(f"({pattern})", line, flags=re.IGNORECASE)
    return "".join(
        f"<mark>{escape(piece)}</mark>" if i % 2 else escape(piece)
        for i, piece in enumerate(pieces)
    )
