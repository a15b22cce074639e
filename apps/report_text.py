"""A scan for a terminal: the worst places, each with its line, a caret, reasons and the repair."""

import io
from collections import Counter
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from codebyte.apps.options import printable
from codebyte.indexer.filters import format_skips
from codebyte.tasks.places import Place
from codebyte.tasks.rules import RULES, Level, level_of
from codebyte.tasks.scan_results import ScanResult

NARROWEST, WIDEST = 40, 100  # columns
_INDENT = 7  # columns before a line of code
_STYLES = {Level.NOTE: "cyan", Level.WARNING: "yellow", Level.ERROR: "bold red"}
_TAB = "    "


def text_report(result: ScanResult, top: int, width: int = 80, *, colour: bool = False) -> str:
    """The report.

    Args:
        result: of the scan.
        top: the most places that are shown.
        width: columns of the terminal.
        colour: whether to write terminal colours.
    """
    buffer = io.StringIO()
    width = min(max(width, NARROWEST), WIDEST)
    console = Console(
        file=buffer,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        soft_wrap=False,
        legacy_windows=False,
    )
    places = result.places
    for place in places[:top]:
        _print_place(console, place)
    _print_summary(console, result, top)
    return "\n".join(line.rstrip() for line in buffer.getvalue().split("\n"))


def _print_place(console: Console, place: Place) -> None:
    finding = place.finding
    level = level_of(finding)
    head = Text()
    head.append(f"{_name(finding.path)}:{finding.line}:{place.column}", style="bold")
    head.append(f"  {level.name.lower()}", style=_STYLES[level])
    head.append(f" {finding.rule} {RULES[finding.rule].name}")
    head.append(f"  {finding.suspicion:.0%}", style=_STYLES[level])
    console.print(head, overflow="fold")
    _print_code(console, place)
    _print_wrapped(console, _sentence(finding.message), "  ", "  ", "")
    for reason in finding.reasons:
        if reason != finding.message:
            _print_wrapped(console, _clean(reason), "  - ", "    ", "dim")
    _print_repair(console, place)
    console.print()


def _print_code(console: Console, place: Place) -> None:
    """The line with carets under what is meant; a part of it where it is longer than the row."""
    index = place.finding.line - place.first_line
    if not 0 <= index < len(place.before):
        return
    line = place.before[index]
    room = console.width - _INDENT
    start, end = place.column - place.offset, place.end_column - place.offset
    shown, column = _window(line, start, end, room)
    carets = max(1, min(_wide(line, start, end), room - column))
    number = Text(f"{place.finding.line:>5}  ", style="dim")
    console.print(number + Text(shown), no_wrap=True, overflow="crop", crop=True)
    marks = Text(" " * (_INDENT + column) + "^" * carets, style="bold yellow")
    console.print(marks, no_wrap=True, overflow="crop")


def _print_wrapped(console: Console, text: str, first: str, later: str, style: str) -> None:
    lines = wrap(text, console.width, initial_indent=first, subsequent_indent=later)
    for line in lines:
        console.print(Text(line), style=style)


def _print_repair(console: Console, place: Place) -> None:
    if place.edit is None or place.after is None:
        return
    console.print(Text("  Suggested repair:"))
    room = console.width - _INDENT
    column = place.edit.start_column
    if place.edit.start_line == place.finding.line:
        column = max(1, column - place.offset)
    for sign, lines, style in (("-", place.before, "red"), ("+", place.after, "green")):
        for i, line in enumerate(lines):
            # A long line is shown from the place where it changes.
            at = column if place.first_line + i == place.edit.start_line else 1
            shown, _ = _window(line, at, at + 1, room)
            console.print(
                Text(f"     {sign} ", style=style) + Text(shown, style=style),
                no_wrap=True,
                overflow="crop",
            )


def _print_summary(console: Console, result: ScanResult, top: int) -> None:
    places = result.places
    if result.interrupted:
        console.print(Text("Interrupted: this is what was scanned so far.", style="bold"))
    levels = Counter(level_of(place.finding) for place in places)
    named = ", ".join(
        f"{levels[level]} {level.name.lower()}{'s' if levels[level] > 1 else ''}"
        for level in sorted(Level, reverse=True)
        if levels[level]
    )
    files = f"{len(result.files):,} file{'' if len(result.files) == 1 else 's'}"
    size = f"{result.scored_bytes / 1000:,.1f} KB"
    since = f" changed since {result.base[:12]}" if result.base else ""
    if not places:
        console.print(Text(f"Nothing suspicious in {files}{since} ({size})."))
    else:
        more = f"; the {top} worst are shown, --top shows more" if len(places) > top else ""
        console.print(
            Text(f"{len(places):,} place{'s' if len(places) > 1 else ''} to look at in {files}")
            + Text(f"{since} ({size}): {named}{more}.")
        )
    if result.suppressed or result.known:
        told = [f"{result.suppressed} silenced by comments"] if result.suppressed else []
        told += [f"{result.known} in the baseline"] if result.known else []
        console.print(Text(f"Not counted: {', '.join(told)}."))
    reasons = Counter(reason.partition(":")[0] for reason in result.skipped.values())
    if reasons:
        console.print(Text(format_skips(reasons)), style="dim")
    for path, reason in sorted(result.problems.items())[:10]:
        console.print(Text(f"  {_name(path)}: {_clean(reason)}"), style="dim", overflow="fold")
    if len(result.problems) > 10:
        console.print(Text(f"  and {len(result.problems) - 10} more", style="dim"))


def _window(line: str, column: int, end: int, room: int) -> tuple[str, int]:
    """A part of a line that shows what is meant; and the column, from 0, at which that begins."""
    lead = _wide(line, 1, column)
    text = "".join(_character(c) for c in line)
    if len(text) <= room:
        return text, lead
    if lead < room - 12 and _wide(line, 1, end) <= room:
        return text[: room - 3] + "...", lead
    start = max(0, lead - room // 4)
    cut = text[start : start + room - 6]
    left, right = ("..." if start else ""), ("..." if start + room - 6 < len(text) else "")
    return left + cut + right, lead - start + len(left)


def _wide(line: str, column: int, end: int) -> int:
    return sum(len(_character(c)) for c in line[max(0, column - 1) : max(0, end - 1)])


def _character(c: str) -> str:
    return _TAB if c == "\t" else printable(c)


def _clean(text: str) -> str:
    return printable(" ".join(text.split()))


def _sentence(text: str) -> str:
    text = _clean(text)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _name(path: str) -> str:
    return printable(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
