"""An edit: one small change of a file."""

from dataclasses import dataclass

KINDS = {  # kind of edit -> rule of its findings
    "name": "CB101",
    "field": "CB101",
    "operator": "CB102",
    "bound": "CB103",
    "negation": "CB104",
    "swap": "CB105",
    "literal": "CB106",
}


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces the bytes from start to end."""

    kind: str  # a key of KINDS
    detail: str  # what exactly, for calibration: "<= to <", "insert", "+1"
    start: int
    end: int
    replacement: bytes


def apply(source: bytes, edit: Edit) -> bytes:
    """The file with the edit made."""
    return source[: edit.start] + edit.replacement + source[edit.end :]
