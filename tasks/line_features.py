"""What is known of each line before any edit is tried: its shape, its kind and its surprise."""

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from codebyte.tasks.calibration import Usual, deviations, group_of, within
from codebyte.tasks.surprise import SIGNALS, line_surprise
from codebyte.tasks.syntax import LineKind

Table = NDArray[np.float32]

_COUNTED = {  # shapes that need no parser
    "tokens": re.compile(rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*|\d[\w.]*|[^\w\s]"),
    "names": re.compile(rb"[A-Za-z_][\w]*"),
    "numbers": re.compile(rb"(?<![\w.])\d[\w.]*"),
    "calls": re.compile(rb"\w\s*\("),
    "dots": re.compile(rb"\w\.\w"),
    "commas": re.compile(rb","),
    "brackets": re.compile(rb"[\[{]"),
    "strings": re.compile(rb"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""),
    "operators": re.compile(rb"[-+*/%<>=!&|^~]+|\b(?:and|or|not|in|is)\b"),
    "comparisons": re.compile(rb"==|!=|<=|>=|(?<![-=<>])[<>](?![<>=])|\b(?:in|is)\b"),
    "logic": re.compile(rb"\b(?:and|or|not|if|else|while)\b|&&|\|\||!(?!=)"),
    "assignments": re.compile(rb"(?<![=!<>])=(?!=)"),
}
SHAPE = ("length", "indent", *_COUNTED, "depth", "first line of statement", "rate of kind")
PLACE = ("place in file", "lines since function", "same line elsewhere", "lines", "code lines")
LINE = (
    *SHAPE,
    *PLACE,
    *SIGNALS,
    *(f"{signal} within file" for signal in SIGNALS),
    *(f"{signal} within kind" for signal in SIGNALS),
    "bits before",
    "bits after",
)


def line_features(
    source: bytes,
    kinds: list[LineKind | None],
    bits: NDArray[np.float32],
    entropy: NDArray[np.float32],
    usual: dict[str, Usual],
    rates: dict[str, float],
) -> Table:
    """(number of lines, len(LINE)).

    Args:
        source: the file.
        kinds: of each line, None where there is no code.
        bits: (bytes,).
        entropy: (bytes,).
        usual: by signal, what is usual for lines of a group.
        rates: by kind, how many times likelier than others its lines were to be fixed.
    """
    lines = source.split(b"\n")[: len(kinds)]
    surprise = line_surprise(source, bits, entropy)
    code = np.array([kind is not None for kind in kinds], bool)
    table = np.zeros((len(lines), len(LINE)), np.float32)
    if not lines:
        return table
    column = {name: i for i, name in enumerate(LINE)}
    same = Counter(line.strip() for line in lines)
    groups = []
    for i, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
        text = line.strip()
        name = kind.kind if kind is not None else "none"
        groups.append(group_of(name, len(text)))
        shape: list[float] = [len(text), len(line) - len(line.lstrip())]
        shape += [len(pattern.findall(text)) for pattern in _COUNTED.values()]
        if kind is not None:
            shape += [kind.depth, kind.first, rates.get(name, 1.0)]
        else:
            shape += [0, 0, 0]
        since = i - kind.function if kind is not None and kind.function >= 0 else -1
        table[i, : len(SHAPE)] = shape
        place = (i / len(lines), since, same[text] - 1, len(lines), code.sum())
        table[i, len(SHAPE) : len(SHAPE) + len(PLACE)] = place
    start = column[SIGNALS[0]]
    width = len(SIGNALS)
    table[:, start : start + width] = surprise
    table[:, start + width : start + 2 * width] = within(surprise, code)
    for i, signal in enumerate(SIGNALS):
        table[:, start + 2 * width + i] = deviations(usual.get(signal, {}), groups, surprise[:, i])
    table[1:, column["bits before"]] = surprise[:-1, 0]
    table[:-1, column["bits after"]] = surprise[1:, 0]
    return table
