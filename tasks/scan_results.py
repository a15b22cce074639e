"""What a scan of a tree found: its files with their findings placed, and all that was left out."""

from dataclasses import dataclass, field

from codebyte.tasks.findings import FileReport
from codebyte.tasks.places import Place
from codebyte.tasks.rules import is_payload

# Skips that a person did not ask for and that a repository does not have by habit.
_PROBLEMS = ("unreadable", "failed", "missing", "too big")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedFile:
    """One file, with all that a report shows of it."""

    report: FileReport  # findings as configured; bits only where they were to be kept
    places: tuple[Place, ...]  # of the findings, the most suspicious first
    data: bytes | None = None  # kept together with the bits

    @property
    def out_of_place(self) -> float:
        """How suspicious its most suspicious payload is, 0 to 1."""
        return max((f.suspicion for f in self.report.findings if is_payload(f.rule)), default=0.0)


@dataclass(kw_only=True, slots=True)
class ScanResult:
    """What a scan found, also where it was interrupted."""

    name: str  # of what was scanned
    files: list[ScannedFile] = field(default_factory=list)  # the most suspicious first
    skipped: dict[str, str] = field(default_factory=dict)  # path -> why it was not scored
    scored_bytes: int = 0
    from_cache: int = 0  # files
    unchanged: int = 0  # files that are as they were at the base
    suppressed: int = 0  # findings that comments silence
    known: int = 0  # findings of the baseline
    interrupted: bool = False
    base: str | None = None  # the commit that was compared with

    @property
    def places(self) -> list[Place]:
        """All findings, the most suspicious first."""
        found = [place for file in self.files for place in file.places]
        return sorted(found, key=_worst_first)

    @property
    def problems(self) -> dict[str, str]:
        """The files that should have been scanned and could not be, with the reason."""
        return {p: why for p, why in self.skipped.items() if why.startswith(_PROBLEMS)}


def _worst_first(place: Place) -> tuple[float, str, int]:
    finding = place.finding
    return -finding.suspicion, finding.path, finding.line
