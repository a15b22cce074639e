r"""Where a completion ends: pure functions over the text so far, asked after every byte.

Each gives a Verdict: how much of the text nothing to come can take back, and whether it ends there.
What is not yet safe is not shown, so that nothing shown is ever taken back.

    text so far      rule     safe     ends
    x + 1\n          line     x + 1    "line"
    x = 1\n    y     block    x = 1\n    y
    x = 1\n          block    x = 1             what is next may stand outside the block
    x = 1\ndef       block    x = 1    "block"
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from codebyte.sampling import overlap, whole_characters
from codebyte.tasks.caret import HEAD, LINE_ENDS, OPENERS, Caret, indent, opens_block

MOST_BLANK = 1  # blank lines inside a block
MOST_BLANK_FIRST = 3  # before it
MOST_SPACE = 100  # bytes of white space in a row, indentation included
LONG_REPEAT = 8  # bytes of the rest of the line that are a repeat and no coincidence
MOST_REPEAT = 24  # bytes of it that are compared
SHORTEST_LOOP, LONGEST_LOOP = 6, 96  # bytes that come again and again
SHORTEST_WRAPPED = 16  # bytes of them that may come in lines of different lengths
MOST_TURNS = 4  # of a loop
LONGEST_DATA = 96  # bytes of a loop without letters, such as the numbers of a table
_CLOSERS = (b"}", b")", b"]")
_BREAK = re.compile(rb"\s*\n\s*(?:[#*/]+\s)?")  # between lines of prose, in a comment too


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of a text."""

    safe: int  # bytes that stay
    reason: str | None = None  # why the text ends with them; None if it goes on


Rule = Callable[[bytes], Verdict]


def judge(text: bytes, rules: Iterable[Rule]) -> Verdict:
    """Asks all rules: any of them can end the text, and all must hold a byte safe to show it."""
    verdicts = [rule(text) for rule in rules]
    ends = [verdict for verdict in verdicts if verdict.reason is not None]
    return min(ends or verdicts, key=lambda verdict: verdict.safe, default=Verdict(len(text)))


def at_stop_string(text: bytes, stops: Sequence[bytes]) -> Verdict:
    """Ends before the first stop string."""
    found = max((len(stop) for stop in stops if text.endswith(stop)), default=0)
    if found:
        return Verdict(len(text) - found, "stop")
    return Verdict(len(text) - max((overlap(text, stop) for stop in stops), default=0))


def at_character(text: bytes) -> Verdict:
    """Holds back a character that is not whole."""
    return Verdict(whole_characters(text))


def at_line_end(text: bytes) -> Verdict:
    """Ends before the first newline."""
    end = text.find(b"\n")
    if end >= 0:
        return Verdict(len(text[:end].rstrip(LINE_ENDS)), "line")
    return Verdict(len(text.rstrip(LINE_ENDS)))


def at_block_end(text: bytes, caret: Caret) -> Verdict:
    """Ends before a line that is out of the block, after a line that closes it, or in a gap.

    The block is that which the first line opens; if it opens none, that which it stands in.
    """
    start = text.rfind(b"\n") + 1
    body = len(text.rstrip())
    if len(text) - body > MOST_SPACE or (not body and text.count(b"\n") > MOST_BLANK_FIRST):
        return Verdict(body, "block")
    if not body:
        return Verdict(0)
    if start < body:
        if start and _outside(text[start:], text, caret):
            return Verdict(len(text[:start].rstrip()), "block")
        return Verdict(body)
    last = text.rfind(b"\n", 0, body) + 1
    closed = last > 0 and _closes(text[last:body], text, caret)
    if closed or text.count(b"\n", body) - 1 > MOST_BLANK:
        return Verdict(body, "block")
    return Verdict(body)


def _outside(line: bytes, text: bytes, caret: Caret) -> bool:
    first, opener = _first_line(text, caret)
    if not opener or (opener in OPENERS and line.lstrip().startswith(_CLOSERS)):
        return indent(line) < indent(first)
    return indent(line) <= indent(first)


def _closes(line: bytes, text: bytes, caret: Caret) -> bool:
    """Whether a line ends the block that a bracket on the caret's line began."""
    first, opener = _first_line(text, caret)
    at_start = opener in OPENERS and line.lstrip().startswith(_CLOSERS)
    return at_start and indent(line) <= indent(first) and not opens_block(line)


def _first_line(text: bytes, caret: Caret) -> tuple[bytes, bytes]:
    """The first line that is not blank, and what begins a block on it, if it is the caret's."""
    if not caret.lead.strip():
        return next(line for line in (caret.lead + text).split(b"\n") if line.strip()), b""
    first = caret.lead + text.partition(b"\n")[0]
    opening = next((line for line in (caret.lead, first) if opens_block(line)), b"")
    return first, opening.rstrip()[-1:]


def at_next_line(text: bytes, caret: Caret) -> Verdict:
    """Ends before a line that is the one below the caret once more."""
    if not caret.next_line:
        return Verdict(len(text))
    body = text.removesuffix(b"\n")
    start = body.rfind(b"\n") + 1
    before = len(text[:start].rstrip(LINE_ENDS))
    line = body[start:] if start else caret.lead + body
    begun_by_hand = start == 0 and caret.lead.strip()
    repeats = line.rstrip() == caret.next_line and not begun_by_hand
    if len(body) < len(text):  # the line has ended
        return Verdict(before, "suffix") if repeats else Verdict(len(text.rstrip(LINE_ENDS)))
    may_repeat = repeats or (caret.next_line.startswith(line) and not begun_by_hand)
    return Verdict(before if may_repeat else len(text))


def at_rest_of_line(text: bytes, suffix: bytes, caret: Caret) -> Verdict:
    """Ends before a repeat of what follows the caret; holds back what may become one."""
    rest = caret.rest.rstrip()[:MOST_REPEAT]
    if len(rest.strip()) >= LONG_REPEAT and text.endswith(rest):
        return Verdict(len(text) - len(rest), "suffix")
    return Verdict(len(text) - overlap(text, suffix[:HEAD]))


def at_third_repeat(text: bytes, caret: Caret) -> Verdict:
    """Ends after the first of three equal lines in a row."""
    whole = caret.lead + text
    *_, third, second, first, now = [b""] * 3 + whole.rsplit(b"\n", 4)[-4:]
    if not first.strip():
        return Verdict(len(text))
    end = len(whole) - len(now) - 1  # of the last whole line
    same = first == second
    if same and second == third:
        end -= len(first) + len(second) + 2
        reason = "block"
    elif first.startswith(now):
        end -= len(first) + 1 if same else 0
        reason = None
    else:
        return Verdict(len(text))
    return Verdict(len(text[: max(0, end - len(caret.lead))].rstrip(LINE_ENDS)), reason)


def at_loop(text: bytes, shortest: int = SHORTEST_LOOP) -> Verdict:
    """Ends after the second of four equal stretches in a row, which a model seldom leaves again.

    Without letters they may be data, and there may be more of them.
    """
    safe, reason = len(text.rstrip()), None
    key = text[-shortest:]
    first = max(0, len(text) - len(key) - LONGEST_LOOP)
    found = text.rfind(key, first, len(text) - len(key))
    while found >= 0 and len(key) == shortest:
        length = len(text) - len(key) - found
        same = same_as_before(text, length)
        if not any(map(_is_letter, text[-length:])):
            reason = "block" if same >= LONGEST_DATA else reason
        elif same >= length:
            safe = min(safe, len(text[: len(text) - same + length].rstrip()))
            if same >= (MOST_TURNS - 1) * length:
                reason = "block"
        found = text.rfind(key, first, found + len(key) - 1)
    return Verdict(safe, reason)


def at_wrapped_loop(text: bytes) -> Verdict:
    """The same of longer stretches, whatever the lines that they are wrapped to."""
    verdict = at_loop(_BREAK.sub(b" ", text), SHORTEST_WRAPPED)
    safe = verdict.safe
    for found in _BREAK.finditer(text):  # a space stood for each
        safe += len(found.group()) - 1 if found.start() < safe else 0
    return Verdict(min(safe, len(text)), verdict.reason)


def same_as_before(text: bytes, distance: int) -> int:
    """How many of the last bytes equal those `distance` before them."""
    same = 0
    while same + distance < len(text) and text[-1 - same] == text[-1 - same - distance]:
        same += 1
    return same


def _is_letter(byte: int) -> bool:
    return ord("a") <= byte | 0x20 <= ord("z") or byte >= 0x80
