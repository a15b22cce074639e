"""What is known of each line before any edit is tried: its shape, its kind and its surprise."""

import re
from collections import Counter
from collections.abc import Mapping

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


def words_of(line: bytes) -> set[bytes]:
    """The different words, numbers and signs of a line."""
    return set(_COUNTED["tokens"].findall(line))


def shape_features(
    source: bytes, kinds: list[LineKind | None], rates: Mapping[str, float]
) -> Table:
    """What a line's text, kind and place tell, (number of lines, len(SHAPE) + len(PLACE))."""
    lines = source.split(b"\n")[: len(kinds)]
    table = np.zeros((len(lines), len(SHAPE) + len(PLACE)), np.float32)
    texts = [line.strip() for line in lines]
    same = Counter(texts)
    num_code = sum(kind is not None for kind in kinds)
    for i, (line, text, kind) in enumerate(zip(lines, texts, kinds, strict=True)):
        shape: list[float] = [len(text), len(line) - len(line.lstrip())]
        shape += [len(pattern.findall(text)) for pattern in _COUNTED.values()]
        since = -1
        if kind is not None:
            shape += [kind.depth, kind.first, rates.get(kind.kind, 1.0)]
            since = i - kind.function if kind.function >= 0 else -1
        else:
            shape += [0, 0, 0]
        table[i] = (*shape, i / len(lines), since, same[text] - 1, len(lines), num_code)
    return table


def surprise_features(
    source: bytes,
    kinds: list[LineKind | None],
    bits: NDArray[np.float32],
    entropy: NDArray[np.float32],
    usual: dict[str, Usual],
) -> Table:
    """What the model's bits tell of each line, (number of lines, the rest of LINE)."""
    lines = source.split(b"\n")[: len(kinds)]
    surprise = line_surprise(source, bits, entropy)
    code = np.array([kind is not None for kind in kinds], bool)
    groups = [
        group_of(kind.kind if kind is not None else "none", len(line.strip()))
        for line, kind in zip(lines, kinds, strict=True)
    ]
    width = len(SIGNALS)
    table = np.zeros((len(lines), 3 * width + 2), np.float32)
    if not lines:
        return table
    table[:, :width] = surprise
    table[:, width : 2 * width] = within(surprise, code)
    for i, signal in enumerate(SIGNALS):
        table[:, 2 * width + i] = deviations(usual.get(signal, {}), groups, surprise[:, i])
    table[1:, -2] = surprise[:-1, 0]
    table[:-1, -1] = surprise[1:, 0]
    return table
