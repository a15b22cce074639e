"""A scan as one HTML file that needs nothing else: findings, files, and a heat map of their bytes.

Everything that comes from the scanned files is escaped, and a policy in the page's head lets no
script and no style run but the two that are written into it, known by their digests.
"""

import base64
import hashlib
from collections import Counter
from pathlib import Path

import codebyte
from codebyte.apps.report_heat import anchor, counted, drawings, heat_maps, safe
from codebyte.indexer.filters import format_skips
from codebyte.tasks.places import Place
from codebyte.tasks.rules import RULES, Level, level_of
from codebyte.tasks.scan_results import ScannedFile, ScanResult

MOST_FINDINGS = 300
MOST_FILES = 2000
_COLUMNS = (  # head, kind
    ("File", "text"),
    ("Suspicion", "number"),
    ("Out of place", "number"),
    ("Findings", "number"),
    ("Bits per byte", "number"),
    ("Lines", "number"),
)


def html_report(result: ScanResult, top: int | None = None) -> str:
    """The report.

    Args:
        result: of the scan; files that kept their bits get a heat map, as far as there is room.
        top: the most findings; None for 300.
    """
    style = _asset("report.css")
    script = _asset("report.js") + _asset("heat.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    places = result.places
    shown = places[: top or MOST_FINDINGS]
    drawn = dict(drawings(result))
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>codebyte scan of {safe(result.name)}</title>",
        f"<style>{style}</style></head><body><main>",
        _head(result, places),
        f"<h2>{counted(len(shown), 'finding')}"
        + (f" of {len(places):,}, the most suspicious" if len(shown) < len(places) else "")
        + "</h2>",
        *(_finding(place, drawn) for place in shown),
        _files(result, drawn),
        heat_maps(result, drawn),
        _left_out(result),
        f"<footer>Made by codebyte {safe(codebyte.__version__)}. Suspicion is the share of such "
        "places that turned out to be bugs among known ones; a suggested repair is what the model "
        "expected, not what is right.</footer>",
        f"</main><script>{script}</script></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _head(result: ScanResult, places: list[Place]) -> str:
    levels = Counter(level_of(place.finding) for place in places)
    cards = [(f"{levels[level]:,}", f"{level.name.lower()}s") for level in sorted(Level)[::-1]]
    cards.append((f"{len(result.files):,}", "files scanned"))
    cards.append((f"{result.scored_bytes / 1000:,.0f} KB", "of code"))
    cards.append((f"{sum(p.edit is not None for p in places):,}", "suggested repairs"))
    boxes = "".join(f'<div class="card"><b>{b}</b><span>{s}</span></div>' for b, s in cards)
    lead = f"Changes since {result.base[:12]}" if result.base else "All files"
    if result.interrupted:
        lead += "; interrupted, so this is only a part"
    notes = [f"{result.suppressed} silenced by comments"] if result.suppressed else []
    notes += [f"{result.known} in the baseline"] if result.known else []
    lead += "".join(f", {note}" for note in notes)
    return (
        f'<h1>codebyte scan of {safe(result.name)}</h1><p class="lead">{safe(lead)}.</p>'
        f'<div class="cards">{boxes}</div>'
    )


def _finding(place: Place, drawn: dict[str, str]) -> str:
    finding = place.finding
    level = level_of(finding).name.lower()
    where = f"{safe(finding.path)}:{finding.line}:{place.column}"
    if finding.path in drawn:
        where = f'<a href="#{anchor(finding.path)}-{finding.line}">{where}</a>'
    reasons = "".join(f"<li>{safe(reason)}</li>" for reason in finding.reasons)
    repair = ""
    if place.edit is not None and place.after is not None:
        rows = [_code_row("minus", "-", line) for line in place.before]
        rows += [_code_row("plus", "+", line) for line in place.after]
        repair = f'<p>Suggested repair:</p><div class="code">{"".join(rows)}</div>'
    return (
        f'<article class="finding {level}"><span class="rule"><b>{finding.suspicion:.0%}</b> '
        f"{level} {finding.rule} {RULES[finding.rule].name}</span>"
        f'<span class="at">{where}</span><div class="code">{_marked(place)}</div>'
        f"<p>{safe(finding.message)}</p>{f'<ul>{reasons}</ul>' if reasons else ''}{repair}"
        "</article>"
    )


def _marked(place: Place) -> str:
    index = place.finding.line - place.first_line
    line = place.before[index] if 0 <= index < len(place.before) else ""
    start = place.column - 1 - place.offset
    end = max(place.end_column - 1 - place.offset, start + 1)
    inside = f"<mark>{safe(line[start:end])}</mark>" if line[start:end] else ""
    before = ("... " if place.offset else "") + line[:start]
    return f"<div><i>{place.finding.line}</i>{safe(before)}{inside}{safe(line[end:])}</div>"


def _code_row(style: str, sign: str, line: str) -> str:
    return f'<div class="{style}"><i>{sign}</i>{safe(line)}</div>'


def _files(result: ScanResult, drawn: dict[str, str]) -> str:
    head = "".join(
        f'<th data-kind="{kind}"{_sorted(name)}><button type="button">{name}</button></th>'
        for name, kind in _COLUMNS
    )
    rows = "".join(_file_row(file, drawn) for file in result.files[:MOST_FILES])
    more = len(result.files) - MOST_FILES
    note = f'<p class="lead">{more:,} less suspicious files are not listed.</p>' if more > 0 else ""
    return (
        f'<h2>Files</h2><div class="box files"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{note}"
    )


def _sorted(name: str) -> str:
    return ' aria-sort="descending"' if name == "Suspicion" else ""


def _file_row(file: ScannedFile, drawn: dict[str, str]) -> str:
    report = file.report
    name = safe(report.path)
    if report.path in drawn:
        name = f'<a href="#{anchor(report.path)}">{name}</a>'
    numbers = [
        (report.suspicion, f"{report.suspicion:.1%}"),
        (file.out_of_place, f"{file.out_of_place:.0%}" if file.out_of_place else "-"),
        (len(report.findings), f"{len(report.findings):,}"),
        (report.bits_per_byte, f"{report.bits_per_byte:.2f}"),
        (len(report.lines), f"{len(report.lines):,}"),
    ]
    cells = "".join(f'<td data-value="{value:.6g}">{shown}</td>' for value, shown in numbers)
    return f'<tr><td data-value="{safe(report.path)}">{name}</td>{cells}</tr>'


def _left_out(result: ScanResult) -> str:
    if not result.skipped:
        return ""
    reasons = Counter(reason.partition(":")[0] for reason in result.skipped.values())
    listed = "".join(
        f"<li>{safe(path)}: {safe(reason)}</li>"
        for path, reason in sorted(result.problems.items())[:100]
    )
    return (
        f'<h2>Left out</h2><p class="lead">{safe(format_skips(reasons))}.</p>'
        f"{f'<ul>{listed}</ul>' if listed else ''}"
    )
