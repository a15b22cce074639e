"""What each rule of a scan means: names, help for people, and how serious its findings are."""

from dataclasses import dataclass
from enum import IntEnum

from codebyte.errors import InputError
from codebyte.tasks.findings import Finding


class Level(IntEnum):
    """How serious a finding is, as SARIF names it."""

    NOTE = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding."""

    name: str  # in words joined by "-", as people write it in a configuration or a search
    title: str
    help: str  # a paragraph
    level: Level


_BUGS = (
    "The model finds the code much likelier after this one small edit than as it stands. It has "
    "read the rest of the file and of the repository, and does not run anything: take it as a "
    "question from a reviewer, and the edit as what it would have expected."
)

RULES = {
    "CB001": Rule(
        "surprising-line",
        "A line unlike the rest",
        "The line surprises the model more than lines of its kind do in this repository. Odd is "
        "not wrong: many such lines are fine.",
        Level.NOTE,
    ),
    "CB101": Rule("other-name", "Another name is likelier here", _BUGS, Level.WARNING),
    "CB102": Rule("other-operator", "Another operator is likelier here", _BUGS, Level.WARNING),
    "CB103": Rule("other-bound", "Another bound is likelier here", _BUGS, Level.WARNING),
    "CB104": Rule("negation", "The opposite condition is likelier here", _BUGS, Level.WARNING),
    "CB105": Rule("argument-order", "Another order is likelier here", _BUGS, Level.WARNING),
    "CB106": Rule("other-literal", "Another literal is likelier here", _BUGS, Level.WARNING),
    "CB201": Rule(
        "encoded-payload",
        "Encoded data inside source code",
        "A long run of base64, hexadecimal or escaped bytes. Data that nobody can read in a "
        "review belongs in a file of its own, and is a way to hide code.",
        Level.WARNING,
    ),
    "CB202": Rule(
        "number-array",
        "Bytes written as a list of numbers",
        "A long list of byte values. Tables of constants look like this, and so do programs "
        "smuggled into source code: know which this is.",
        Level.WARNING,
    ),
    "CB203": Rule(
        "packed-code",
        "Packed or obfuscated code",
        "Code made unreadable by a packer, or code that decodes data and runs it.",
        Level.WARNING,
    ),
    "CB204": Rule(
        "minified-code",
        "Minified code among sources",
        "Code without line breaks or meaningful names, which nobody can review. Keep its source "
        "instead and build it.",
        Level.WARNING,
    ),
    "CB205": Rule(
        "secret",
        "A key or password in the source",
        "Something shaped like a credential. If it is real, revoke it first: deleting the line "
        "leaves it in the history.",
        Level.ERROR,
    ),
    "CB206": Rule(
        "other-content",
        "Content that does not fit the file's name",
        "The file, or a long part of it, is in another language than its name says, or is not "
        "text at all.",
        Level.WARNING,
    ),
    "CB207": Rule(
        "invisible-characters",
        "Invisible or misleading characters",
        "Characters that change the direction of text or that take no room make code look other "
        "than what runs.",
        Level.WARNING,
    ),
    "CB208": Rule(
        "unlike-code",
        "A region that carries too much or too little information",
        "Each byte of the region costs far more bits than code does, as encrypted data would, or "
        "nearly none, as generated repetition does.",
        Level.WARNING,
    ),
}

SURE = 0.8  # suspicion of a payload from which its rule's level counts; below it is a note


def level_of(finding: Finding) -> Level:
    """How serious one finding is."""
    rule = RULES[finding.rule]
    if is_payload(finding.rule):
        return rule.level if finding.suspicion >= SURE else Level.NOTE
    return rule.level


def is_payload(rule: str) -> bool:
    """Whether a rule is about files and regions out of place, and not about bugs."""
    return rule.startswith("CB2")


def parse_fail_on(text: str) -> Level | float | None:
    """What `--fail-on` means: a level, a suspicion from 0 to 1, or None for "never".

    Raises:
        InputError: it is none of these.
    """
    word = text.strip().lower()
    if word == "never":
        return None
    if word.upper() in Level.__members__:
        return Level[word.upper()]
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(
            f"fail-on {text!r} must be note, warning, error, never or a suspicion from 0 to 1"
        )
    return value


def reaches(finding: Finding, fail_on: Level | float | None) -> bool:
    """Whether a finding is at or above what `parse_fail_on` gave."""
    if fail_on is None:
        return False
    if isinstance(fail_on, Level):
        return level_of(finding) >= fail_on
    return finding.suspicion >= fail_on
