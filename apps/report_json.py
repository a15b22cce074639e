"""A scan as JSON lines: one for each finding, each file and each file left out, then a summary."""

import json
from collections.abc import Iterator
from typing import Any

from codebyte.tasks.places import Place
from codebyte.tasks.rules import RULES, is_payload, level_of
from codebyte.tasks.scan_results import ScannedFile, ScanResult


def json_report(result: ScanResult, top: int | None = None) -> str:
    """The report.

    Args:
        result: of the scan.
        top: the most findings; None for all.
    """
    return "".join(json.dumps(line) + "\n" for line in _lines(result, top))


def _lines(result: ScanResult, top: int | None) -> Iterator[dict[str, Any]]:
    for rank, place in enumerate(result.places[:top], 1):
        yield _finding(place, rank)
    for file in result.files:
        yield _file(file)
    for path, reason in sorted(result.skipped.items()):
        yield {"type": "skipped", "path": _text(path), "reason": reason}
    yield {
        "type": "summary",
        "scanned": result.name,
        "base": result.base,
        "files": len(result.files),
        "bytes": result.scored_bytes,
        "findings": len(result.places),
        "skipped": len(result.skipped),
        "suppressed": result.suppressed,
        "in_baseline": result.known,
        "from_cache": result.from_cache,
        "unchanged": result.unchanged,
        "interrupted": result.interrupted,
    }


def _finding(place: Place, rank: int) -> dict[str, Any]:
    finding = place.finding
    found: dict[str, Any] = {
        "type": "finding",
        "rank": rank,
        "rule": finding.rule,
        "name": RULES[finding.rule].name,
        "level": level_of(finding).name.lower(),
        "category": "payload" if is_payload(finding.rule) else "bug",
        "path": _text(finding.path),
        "line": finding.line,
        "column": place.column,
        "end_column": place.end_column,
        "suspicion": round(finding.suspicion, 4),
        "message": _text(finding.message),
        "reasons": [_text(reason) for reason in finding.reasons],
        "fingerprint": place.fingerprint,
        "repair": None,
    }
    if place.edit is not None and finding.repair is not None:
        found["repair"] = {
            "start": finding.repair.start,
            "end": finding.repair.end,
            "replacement": place.edit.replacement,
            "gain_bits": round(place.edit.gain_bits, 2),
            "before": list(place.before),
            "after": None if place.after is None else list(place.after),
        }
    return found


def _file(file: ScannedFile) -> dict[str, Any]:
    report = file.report
    return {
        "type": "file",
        "path": _text(report.path),
        "language": report.language,
        "suspicion": round(report.suspicion, 4),
        "out_of_place": round(file.out_of_place, 4),
        "bits_per_byte": round(report.bits_per_byte, 4),
        "lines": len(report.lines),
        "findings": len(report.findings),
    }


def _text(text: str) -> str:
    """Text that UTF-8 can carry: names on disk may hold bytes that are none."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
