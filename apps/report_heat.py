"""The heat maps of an HTML report: every byte of its files in the colour of its bits."""

import hashlib
from collections.abc import Iterator
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codebyte.apps.heat import EDGES, HEAT, told
from codebyte.apps.lines import split_lines
from codebyte.tasks.scan_results import ScannedFile, ScanResult

HEAT_BYTES = 6 << 20  # of HTML for heat maps
LONGEST_LINE = 2000  # bytes of a line that are drawn


def drawings(result: ScanResult) -> Iterator[tuple[str, str]]:
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


def heat_maps(result: ScanResult, drawn: dict[str, str]) -> str:
    """The drawings of `drawings`, each to be unfolded, with a legend; nothing for none."""
    if not drawn:
        return ""
    boxes = "".join(f'<i class="h{heat}"></i>' for heat in range(len(EDGES) + 1))
    maps = []
    for file in result.files:
        path = file.report.path
        if path in drawn:
            told = f"{file.report.bits_per_byte:.2f} bits per byte"
            told += f", {counted(len(file.report.findings), 'finding')}"
            maps.append(
                f'<details id="{anchor(path)}"><summary>{safe(path)} <span>{told}</span>'
                f'</summary><div class="heat" {HEAT}>{drawn[path]}</div></details>'
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
    name = anchor(file.report.path)
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
        identity = f' id="{name}-{number}"' if number in found else ""
        yield (
            f'<div class="{style}"{identity}><i>{number}</i><u></u>'
            f"{_text(line, span, encoding)}</div>"
        )


def _text(line: bytes, bits: NDArray[np.float32], encoding: str) -> str:
    """A line with each run of equally surprising characters in a span, and the bits of all."""
    whole = line.rstrip(b"\r\n")
    text = whole[:LONGEST_LINE].decode(encoding, "ignore")
    if not text:
        return "<b></b>"
    widths = [1] * len(text)
    costs = bits[: len(text)]
    if encoding == "utf-8" and not text.isascii():
        widths = [len(character.encode()) for character in text]
        starts = np.cumsum([0, *widths])
        costs = np.add.reduceat(bits[: starts[-1]], starts[:-1])
    heats = np.searchsorted(EDGES, costs, "right")
    edges = [0, *(np.flatnonzero(np.diff(heats)) + 1).tolist(), len(text)]
    parts = []
    for first, last in pairwise(edges):
        shown = _pointed(text[first:last])
        parts.append(f'<span class="h{heats[first]}">{shown}</span>' if heats[first] else shown)
    more = " ..." if len(whole) > LONGEST_LINE else ""
    return f'<b data-b="{told(bits, widths)}">{"".join(parts)}</b>{more}'


def _pointed(text: str) -> str:
    """Text, safe; what is shown as several characters is one thing to point at."""
    if text.isprintable():
        return escape(text)
    letters = (_visible(letter) for letter in text)
    return "".join(escape(it) if len(it) == 1 else f"<span data-one>{it}</span>" for it in letters)


def anchor(path: str) -> str:
    """What a file's heat map is called in links."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()
    return f"f{digest[:12]}"


def counted(count: int, noun: str) -> str:
    """A number of things: 1 finding, 2 findings."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def safe(text: str) -> str:
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
