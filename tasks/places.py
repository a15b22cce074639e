"""Findings placed in their file: what a reader is shown, what a report needs, who is silenced.

A fingerprint names a finding by its rule, its path and what its line says, so that it stays the
same while the line moves; the second of two such lines counts as the second.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from codebyte.tasks.findings import RULES, FileReport, Finding
from codebyte.tasks.redaction import hides, redacted
from codebyte.tasks.rules import RULES as DESCRIBED

LONGEST = 2000  # characters of a line that are kept for showing
MOST_LINES = 12  # lines that are kept of one place
_IGNORE = re.compile(
    rb"(?:#|//|/\*|--|;|%|<!--|\(\*|\{-|\")\s*codebyte:\s*ignore(-file)?(?![\w-])"
    rb"(?:[ \t]*\[([^\]\n]*))?"
)
_IDS = {rule.name.upper(): identity for identity, rule in DESCRIBED.items()}
_ALONE = re.compile(rb"\s*(?:#|//|/\*|--|;|%|<!--|\(\*|\{-|\")\s*codebyte:")
_HEAD_LINES = 20  # where "codebyte: ignore-file" is looked for


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A repair by lines and columns; a column is a character, from 1, and ends are exclusive."""

    start_line: int
    start_column: int
    end_line: int
    end_column: int
    replacement: str
    gain_bits: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A finding with the text around it."""

    finding: Finding
    fingerprint: str  # 32 hex digits
    column: int  # 1-based, in characters
    end_column: int  # one past the last
    offset: int  # characters left out at the beginning of the finding's line in `before`, `after`
    first_line: int  # of `before`, 1-based
    before: tuple[str, ...]  # the lines of the finding and of its repair, without line ends
    after: tuple[str, ...] | None  # the same with the repair made
    edit: Edit | None
    suppressed: bool  # by a comment in the file


def place_findings(report: FileReport, data: bytes) -> tuple[Place, ...]:
    """Finds the text of every finding of a file.

    Args:
        report: of the file.
        data: the file as it was scored.
    """
    if not report.findings:
        return ()
    text, shown = _Text(data), redacted(data)
    silenced = _Suppressions(text)
    seen: Counter[bytes] = Counter()
    # In the order of the file, so that which of two equal lines is the second does not depend on
    # their suspicion.
    prints = {}
    for finding in sorted(set(report.findings), key=lambda f: (f.line, f.column, f.rule)):
        content = b" ".join(text.line(finding.line).split())
        label = b"\0".join(
            [finding.rule.encode(), finding.path.encode("utf-8", "replace"), content]
        )
        seen[label] += 1
        named = b"%s\0%d" % (label, seen[label])
        prints[finding] = hashlib.sha256(named).hexdigest()[:32]
    text.data = shown  # of the same length: places stay what they are
    return tuple(
        _place(discreet(f, data, shown), prints[f], text, silenced.covers(f))
        for f in report.findings
    )


def discreet(finding: Finding, data: bytes, shown: bytes) -> Finding:
    """A finding of a file, without a repair that would move or tell what `redacted` hides."""
    repair = finding.repair
    if repair is None or not hides(data, shown, repair.start, repair.end):
        return finding
    return replace(finding, repair=None, message=f"{RULES[finding.rule]}: beside a secret")


class _Text:
    """A file by lines, in the encoding that shows each of its bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ends = [match.start() for match in re.finditer(rb"\n", data)]
        try:
            data.decode("utf-8")
            self.encoding = "utf-8"
        except UnicodeDecodeError:
            self.encoding = "latin-1"

    def start(self, line: int) -> int:
        """Where a line begins; one line after the last may be meant."""
        return 0 if line <= 1 else self.ends[min(line - 2, len(self.ends) - 1)] + 1

    def line(self, number: int) -> bytes:
        """A line without its end; b"" where there is none."""
        if not 1 <= number <= len(self.ends) + 1:
            return b""
        end = self.ends[number - 1] if number <= len(self.ends) else len(self.data)
        return self.data[self.start(number) : end].removesuffix(b"\r")

    def number(self, offset: int) -> int:
        """The line that a byte lies in."""
        low, high = 0, len(self.ends)
        while low < high:
            middle = (low + high) // 2
            if self.ends[middle] < offset:
                low = middle + 1
            else:
                high = middle
        return low + 1

    def column(self, line: int, byte_column: int) -> int:
        """A column in characters, from one in bytes; both from 1."""
        return len(self.decode(self.line(line)[: byte_column - 1])) + 1

    def decode(self, raw: bytes) -> str:
        """Text for people; half of a character becomes one."""
        return raw.decode(self.encoding, "replace")


class _Suppressions:
    """What the comments of a file silence."""

    def __init__(self, text: _Text) -> None:
        self._lines: dict[int, list[tuple[str, ...]]] = {}
        self._file: list[tuple[str, ...]] = []
        if b"codebyte:" not in text.data:
            return
        for match in _IGNORE.finditer(text.data):
            rules = ("CB",) if match[2] is None else _named(match[2])
            number = text.number(match.start())
            if match[1] and number <= _HEAD_LINES:
                self._file.append(rules)
            elif not match[1]:
                # On a line of its own it speaks of the next line.
                alone = _ALONE.match(text.line(number)) is not None
                self._lines.setdefault(number + alone, []).append(rules)

    def covers(self, finding: Finding) -> bool:
        """Whether a comment silences a finding."""
        comments = (*self._file, *self._lines.get(finding.line, ()))
        return any(finding.rule.startswith(rules) for rules in comments)


def _named(listed: bytes) -> tuple[str, ...]:
    """The rules between brackets, or how they begin; what is no rule begins none."""
    words = [word.strip().upper() for word in listed.decode("ascii", "replace").split(",")]
    return tuple(_IDS.get(word, word) for word in words if word)


def _place(finding: Finding, fingerprint: str, text: _Text, suppressed: bool) -> Place:
    first = last = finding.line
    repair = finding.repair
    edit = None
    if repair is not None and 0 <= repair.start <= repair.end <= len(text.data):
        start, end = text.number(repair.start), text.number(repair.end)
        first, last = min(first, start), max(last, end)
        edit = Edit(
            start_line=start,
            start_column=text.column(start, repair.start - text.start(start) + 1),
            end_line=end,
            end_column=text.column(end, repair.end - text.start(end) + 1),
            replacement=text.decode(repair.replacement),
            gain_bits=repair.gain_bits,
        )
    last = min(last, first + MOST_LINES - 1)
    numbers = range(first, last + 1)
    column = text.column(finding.line, finding.column)
    long = len(text.line(finding.line)) > LONGEST
    offset = max(0, column - LONGEST // 2) if long else 0
    index = finding.line - first
    after = None
    if repair is not None and edit is not None and edit.end_line <= last:
        end = text.start(last) + len(text.line(last))
        repaired = text.data[text.start(first) : repair.start] + repair.replacement
        repaired += text.data[repair.end : max(end, repair.end)]
        lines = repaired.replace(b"\r\n", b"\n").split(b"\n")[:MOST_LINES]
        after = _shown(text, lines, index, offset)
    return Place(
        finding=finding,
        fingerprint=fingerprint,
        column=column,
        end_column=text.column(finding.line, finding.end_column),
        offset=offset,
        first_line=first,
        before=_shown(text, [text.line(number) for number in numbers], index, offset),
        after=after,
        edit=edit,
        suppressed=suppressed,
    )


def _shown(text: _Text, lines: Sequence[bytes], index: int, offset: int) -> tuple[str, ...]:
    """Lines for people; the one at an index without the characters before an offset."""
    shown = []
    for i, line in enumerate(lines):
        start = offset if i == index else 0
        end = start + LONGEST
        shown.append(text.decode(line[: 4 * end])[start:end])  # a character has up to four bytes
    return tuple(shown)
