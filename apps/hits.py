"""Shows what a search found: where, what it is called, why it matched, and its best lines."""

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from codebyte.apps.options import printable

if TYPE_CHECKING:
    from codebyte.indexer.searching import Hit

_WORD = re.compile(r"[A-Za-z_]\w{2,}")
_LEXERS = {"csharp": "csharp", "shell": "bash", "make": "makefile", "docker": "docker"}
_WHY = {"words": "words", "meaning": "meaning", "both": "words and meaning"}


def print_hits(hits: "Sequence[Hit]", query: str, lines: int, file: object = None) -> None:
    """Prints hits, in colours where the output is a terminal.

    Args:
        hits: best first.
        query: its words are marked, and choose the lines that are shown.
        lines: how many of each hit.
        file: where to; standard output if not given.
    """
    console = Console(file=file or sys.stdout, highlight=False, soft_wrap=True)  # type: ignore[arg-type]
    several = len({hit.repo for hit in hits}) > 1
    wanted = {word.lower() for word in _WORD.findall(query)}
    for hit in hits:
        head = Text()
        place = f"{hit.repo}/{hit.path}" if several else hit.path
        head.append(printable(place), "bold cyan")
        head.append(f":{hit.start_line}-{hit.end_line}", "cyan")
        if hit.symbol:
            head.append(f"  {printable(hit.symbol)}", "bold")
        head.append(f"  {hit.score:.2f} by {_WHY[hit.why]}", "dim")
        if hit.copies:
            head.append(f", {hit.copies} more like it", "dim")
        console.print(head)
        if lines:
            _print_lines(console, hit, wanted, lines)


def best_lines(snippet: str, wanted: set[str], count: int) -> tuple[int, list[str]]:
    """The run of lines with most of some words: its first line, from 0, and the lines.

    The first lines win where all are equal, since they say what is defined.
    """
    text = snippet.removesuffix("\n")  # of all line ends, an index counts this one alone
    lines = [line.removesuffix("\r") for line in text.split("\n")] if snippet else []
    said = [len({word.lower() for word in _WORD.findall(line)} & wanted) for line in lines]
    starts = range(max(len(lines) - count, 0) + 1)
    first = max(starts, key=lambda start: (sum(said[start : start + count]), -start))
    return first, lines[first : first + count]


def _print_lines(console: Console, hit: "Hit", wanted: set[str], count: int) -> None:
    first, lines = best_lines(hit.snippet, wanted, count)
    width = len(str(hit.start_line + first + len(lines)))
    code = "\n".join(printable(line)[:500] for line in lines)
    syntax = Syntax("", _LEXERS.get(hit.language, hit.language), background_color="default")
    shown = syntax.highlight(code)
    for word in sorted(wanted):
        shown.highlight_regex(rf"(?i)(?<![A-Za-z0-9]){re.escape(word)}", "bold reverse")
    for place, line in enumerate(shown.split("\n")[: len(lines)]):
        number = Text(f"  {hit.start_line + first + place:>{width}}  ", "dim")
        console.print(number + line)
