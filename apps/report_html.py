"""A scan as one HTML file that needs nothing else: findings, files, and a heat map of their bytes.

Everything that comes from the scanned files is escaped, and a policy in the page's head lets no
script and no style run but the two that are written into it, known by their digests.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import codebyte
from codebyte.apps.heat import EDGES
from codebyte.apps.lines import split_lines
from codebyte.indexer.filters import format_skips
from codebyte.tasks.places import Place
from codebyte.tasks.rules import RULES, Level, level_of
from codebyte.tasks.scan_results import ScannedFile, ScanResult

MOST_FINDINGS = 300
MOST_FILES = 2000
HEAT_BYTES = 6 << 20  # of HTML for heat maps
MOST_TOLD = 8  # characters of a run whose bits are told
LONGEST_LINE = 2000  # bytes of a line that are drawn
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
    script = _asset("report.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    places = result.places
    shown = places[: top or MOST_FINDINGS]
    drawn = dict(_drawn(result))
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>codebyte scan of {_text(result.name)}</title>",
        f"<style>{style}</style></head><body><main>",
        _head(result, places),
        f"<h2>{_counted(len(shown), 'finding')}"
        + (f" of {len(places):,}, the most suspicious" if len(shown) < len(places) else "")
        + "</h2>",
        *(_finding(place, drawn) for place in shown),
        _files(result, drawn),
        _maps(result, drawn),
        _left_out(result),
        f"<footer>Made by codebyte {_text(codebyte.__version__)}. Suspicion is the share of such "
        "places that turned out to be bugs among known ones; a suggested repair is what the model "
        "expected, not what is right.</footer>",
        f'</main><div id="tip" hidden></div><script>{script}</script></body></html>\n',
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
        f'<h1>codebyte scan of {_text(result.name)}</h1><p class="lead">{_text(lead)}.</p>'
        f'<div class="cards">{boxes}</div>'
    )


def _finding(place: Place, drawn: dict[str, str]) -> str:
    finding = place.finding
    level = level_of(finding).name.lower()
    where = f"{_text(finding.path)}:{finding.line}:{place.column}"
    if finding.path in drawn:
        where = f'<a href="#{_anchor(finding.path)}-{finding.line}">{where}</a>'
    reasons = "".join(f"<li>{_text(reason)}</li>" for reason in finding.reasons)
    repair = ""
    if place.edit is not None and place.after is not None:
        rows = [_code_row("minus", "-", line) for line in place.before]
        rows += [_code_row("plus", "+", line) for line in place.after]
        repair = f'<p>Suggested repair:</p><div class="code">{"".join(rows)}</div>'
    return (
        f'<article class="finding {level}"><span class="rule"><b>{finding.suspicion:.0%}</b> '
        f"{level} {finding.rule} {RULES[finding.rule].name}</span>"
        f'<span class="at">{where}</span><div class="code">{_marked(place)}</div>'
        f"<p>{_text(finding.message)}</p>{f'<ul>{reasons}</ul>' if reasons else ''}{repair}"
        "</article>"
    )


def _marked(place: Place) -> str:
    index = place.finding.line - place.first_line
    line = place.before[index] if 0 <= index < len(place.before) else ""
    start, end = place.column - 1, max(place.end_column - 1, place.column)
    inside = f"<mark>{_text(line[start:end])}</mark>" if line[start:end] else ""
    return f"<div><i>{place.finding.line}</i>{_text(line[:start])}{inside}{_text(line[end:])}</div>"


def _code_row(style: str, sign: str, line: str) -> str:
    return f'<div class="{style}"><i>{sign}</i>{_text(line)}</div>'


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
    name = _text(report.path)
    if report.path in drawn:
        name = f'<a href="#{_anchor(report.path)}">{name}</a>'
    numbers = [
        (report.suspicion, f"{report.suspicion:.1%}"),
        (file.out_of_place, f"{file.out_of_place:.0%}" if file.out_of_place else "-"),
        (len(report.findings), f"{len(report.findings):,}"),
        (report.bits_per_byte, f"{report.bits_per_byte:.2f}"),
        (len(report.lines), f"{len(report.lines):,}"),
    ]
    cells = "".join(f'<td data-value="{value:.6g}">{shown}</td>' for value, shown in numbers)
    return f'<tr><td data-value="{_text(report.path)}">{name}</td>{cells}</tr>'


def _drawn(result: ScanResult) -> Iterator[tuple[str, str]]:
    """Yields path and heat map of the most suspicious files, until there is no more room."""
    room = HEAT_BYTES
    for file in result.files:
        bits, data = file.report.bits, file.data
        if bits is None or data is None or len(bits) != len(data):
            continue
        drawing = "".join(_rows(file, data, bits))
        if len(drawing) > room:
            return
        room -= len(drawing)
        yield file.report.path, drawing


def _maps(result: ScanResult, drawn: dict[str, str]) -> str:
    if not drawn:
        return ""
    boxes = "".join(f'<i class="h{heat}"></i>' for heat in range(len(EDGES) + 1))
    maps = []
    for file in result.files:
        path = file.report.path
        if path in drawn:
            told = f"{file.report.bits_per_byte:.2f} bits per byte"
            told += f", {_counted(len(file.report.findings), 'finding')}"
            maps.append(
                f'<details id="{_anchor(path)}"><summary>{_text(path)} <span>{told}</span>'
                f'</summary><div class="heat" tabindex="0">{drawn[path]}</div></details>'
            )
    missing = len(result.files) - len(drawn)
    note = f" The {missing:,} least suspicious files are not drawn." if missing else ""
    return (
        f'<h2>Byte by byte</h2><p class="lead">The bar tells how suspicious a line is, the colour '
        f"how much a character surprises the model.{note}</p>"
        f'<div class="legend">expected {boxes} surprising</div>{"".join(maps)}'
    )


def _rows(file: ScannedFile, data: bytes, bits: NDArray[np.float32]) -> Iterator[str]:
    suspicion = file.report.lines
    highest = float(suspicion.max(initial=0.0)) or 1.0
    found = {finding.line for finding in file.report.findings}
    anchor = _anchor(file.report.path)
    try:
        data.decode("utf-8")
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = "latin-1"
    start = 0
    for number, line in enumerate(split_lines(data), 1):
        span = bits[start : start + len(line)]
        start += len(line)
        share = float(suspicion[number - 1]) / highest if number <= len(suspicion) else 0.0
        style = f"g{min(10, round(10 * share))}" + (" found" if number in found else "")
        identity = f' id="{anchor}-{number}"' if number in found else ""
        yield (
            f'<div class="{style}"{identity}><i>{number}</i><u></u>'
            f"<b>{_runs(line, span, encoding)}</b></div>"
        )


def _runs(line: bytes, bits: NDArray[np.float32], encoding: str) -> str:
    """A line with each run of equally surprising characters in a span that tells their bits."""
    whole = line.rstrip(b"\r\n")
    text = whole[:LONGEST_LINE].decode(encoding, "ignore")
    if not text:
        return ""
    costs = bits[: len(text)]
    if encoding == "utf-8" and not text.isascii():
        starts = np.cumsum([0, *(len(character.encode()) for character in text)])
        costs = np.add.reduceat(bits[: starts[-1]], starts[:-1])
    heats = np.searchsorted(EDGES, costs, "right")
    edges = [0, *(np.flatnonzero(np.diff(heats)) + 1).tolist(), len(text)]
    listed = costs.tolist()
    parts = []
    for first, last in pairwise(edges):
        shown = _text(text[first:last])
        if heats[first] == 0:
            parts.append(shown)
        else:
            told = listed[first : min(last, first + MOST_TOLD)]
            numbers = " ".join(f"{bits_of_one:.1f}" for bits_of_one in told)
            more = " ..." if last - first > MOST_TOLD else ""
            parts.append(f'<span class="h{heats[first]}" data-b="{numbers}{more}">{shown}</span>')
    return "".join(parts) + (" ..." if len(whole) > LONGEST_LINE else "")


def _left_out(result: ScanResult) -> str:
    if not result.skipped:
        return ""
    reasons = Counter(reason.partition(":")[0] for reason in result.skipped.values())
    listed = "".join(
        f"<li>{_text(path)}: {_text(reason)}</li>"
        for path, reason in sorted(result.problems.items())[:100]
    )
    return (
        f'<h2>Left out</h2><p class="lead">{_text(format_skips(reasons))}.</p>'
        f"{f'<ul>{listed}</ul>' if listed else ''}"
    )


def _anchor(path: str) -> str:
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
    return f"f{digest[:12]}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _text(text: str) -> str:
    """Text from a file, for a page: escaped, and with nothing that cannot be seen."""
    if text.isprintable():  # which half of a character is not
        return escape(text)
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return escape("".join(_visible(character) for character in shown))


def _visible(character: str) -> str:
    code = ord(character)
    if character == "\t" or character == " " or character.isprintable():
        return character
    return chr(0x2400 + code) if code < 0x20 else f"\\u{code:04x}"
