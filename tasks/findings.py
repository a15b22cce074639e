"""What a scan says: reports of files, findings at lines, and the repairs that go with them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SURPRISING = "CB001"
RULES = {
    SURPRISING: "surprising line",
    "CB101": "another name is likelier here",
    "CB102": "another operator is likelier here",
    "CB103": "another bound is likelier here",
    "CB104": "the opposite condition is likelier here",
    "CB105": "another order of arguments is likelier here",
    "CB106": "another literal is likelier here",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    """One edit that makes the file likelier."""

    start: int  # byte range of the file, half-open
    end: int
    replacement: bytes
    gain_bits: float  # how much likelier the edit makes the code around it


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One place that deserves a look."""

    rule: str  # a key of RULES
    path: str
    line: int  # 1-based
    column: int  # 1-based, in bytes of the line
    end_column: int  # one past the last byte
    suspicion: float  # 0 to 1: calibrated share of such places that are bugs
    message: str  # one sentence
    reasons: tuple[str, ...]  # what was measured, the strongest first
    repair: Repair | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileReport:
    """What a scan found in one file."""

    path: str
    language: str  # "" where the name tells none
    suspicion: float  # 0 to 1: calibrated chance that a bug is among its lines
    bits_per_byte: float
    lines: NDArray[np.float32]  # (number of lines,), 0 to 1, how suspicious each is
    bits: NDArray[np.float32] | None  # (bytes,), surprise of each; None when not kept
    findings: tuple[Finding, ...]  # the most suspicious first
    skipped: str | None = None  # why it was not scored, or None


def skipped_file(path: str, language: str, reason: str) -> FileReport:
    """The report of a file that was not scored."""
    nothing = np.zeros(0, np.float32)
    return FileReport(
        path=path,
        language=language,
        suspicion=0.0,
        bits_per_byte=0.0,
        lines=nothing,
        bits=None,
        findings=(),
        skipped=reason,
    )
