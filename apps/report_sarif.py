"""A scan as SARIF 2.1.0, the form in which code scanning services and editors take findings.

Paths are relative to the top of what was scanned, columns count characters, and each finding
carries a fingerprint that stays the same while its line moves. A byte that is not part of UTF-8
makes its file Latin-1, so that every byte has a column.
"""

import json
from typing import Any
from urllib.parse import quote

import codebyte
from codebyte.tasks.places import Edit, Place
from codebyte.tasks.rules import RULES, is_payload, level_of
from codebyte.tasks.scan_results import ScanResult

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
FINGERPRINT = "codebyteFinding/v1"
MOST_RESULTS = 5000  # a service refuses larger runs; the most suspicious are kept
MOST_NAMED = 1000  # files left out that are named one by one
_ROOT = "ROOT"


def sarif_report(result: ScanResult, top: int | None = None) -> str:
    """The report.

    Args:
        result: of the scan.
        top: the most findings; None for all, but never more than 5,000.
    """
    places = result.places[: min(top or MOST_RESULTS, MOST_RESULTS)]
    rules = sorted(RULES)
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "codebyte",
                        "semanticVersion": codebyte.__version__,
                        "version": codebyte.__version__,
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "invocations": [_invocation(result)],
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {
                    _ROOT: {"description": {"text": "The top folder of what was scanned."}}
                },
                "results": [_result(place, rules.index(place.finding.rule)) for place in places],
            }
        ],
    }
    return json.dumps(log, indent=1) + "\n"


def _rule(identity: str) -> dict[str, Any]:
    rule = RULES[identity]
    silence = (
        f"A comment `codebyte: ignore[{identity}]` on the line, or alone on the line before, "
        "silences it."
    )
    tags = ["security"] if is_payload(identity) else ["correctness"]
    return {
        "id": identity,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.help},
        "help": {
            "text": f"{rule.help} {silence}",
            "markdown": f"**{rule.title}** ({identity})\n\n{rule.help}\n\n{silence}",
        },
        "defaultConfiguration": {"level": rule.level.name.lower()},
        "properties": {"tags": tags, "precision": "low" if identity == "CB001" else "medium"},
    }


def _invocation(result: ScanResult) -> dict[str, Any]:
    notices = [
        _notice("warning" if path in result.problems else "note", f"not scored: {reason}", path)
        for path, reason in sorted(
            result.skipped.items(), key=lambda item: (item[0] not in result.problems, item[0])
        )[:MOST_NAMED]
    ]
    if result.interrupted:
        notices.insert(0, _notice("error", "interrupted: only a part was scanned"))
    return {"executionSuccessful": not result.interrupted, "toolExecutionNotifications": notices}


def _notice(level: str, text: str, path: str | None = None) -> dict[str, Any]:
    notice: dict[str, Any] = {"level": level, "message": {"text": _text(text)}}
    if path is not None:
        notice["locations"] = [{"physicalLocation": {"artifactLocation": _artifact(path)}}]
    return notice


def _result(place: Place, rule_index: int) -> dict[str, Any]:
    finding = place.finding
    reasons = "".join(f"\n- {_text(reason)}" for reason in finding.reasons)
    region = {
        "startLine": finding.line,
        "startColumn": place.column,
        "endLine": finding.line,
        "endColumn": max(place.end_column, place.column),
    }
    index = finding.line - place.first_line
    if 0 <= index < len(place.before):
        region["snippet"] = {"text": place.before[index]}  # type: ignore[assignment]
    found: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": level_of(finding).name.lower(),
        "message": {"text": _text(finding.message) + reasons},
        "rank": round(100 * min(max(finding.suspicion, 0.0), 1.0), 2),
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(finding.path),
                    "region": region,
                }
            }
        ],
        "partialFingerprints": {FINGERPRINT: place.fingerprint},
    }
    if place.edit is not None:
        found["fixes"] = [_fix(place.edit, finding.path)]
    return found


def _fix(edit: Edit, path: str) -> dict[str, Any]:
    region = {
        "startLine": edit.start_line,
        "startColumn": edit.start_column,
        "endLine": edit.end_line,
        "endColumn": edit.end_column,
    }
    change = {"deletedRegion": region, "insertedContent": {"text": edit.replacement}}
    return {
        "description": {"text": f"What the model finds {edit.gain_bits:.1f} bits likelier."},
        "artifactChanges": [{"artifactLocation": _artifact(path), "replacements": [change]}],
    }


def _artifact(path: str) -> dict[str, str]:
    # The bytes of the name, whatever they are; a colon would be taken for a scheme.
    return {"uri": quote(path.encode("utf-8", "surrogateescape"), safe="/"), "uriBaseId": _ROOT}


def _text(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
