"""How surprising lines are: bits summed by byte, token and line, beside what was to be expected.

A byte's excess is its bits less the entropy of the prediction: how much more surprising it was than
the model thought it would be. White space at either end of a line is left out.
"""

import re

import numpy as np
from numpy.typing import NDArray

SIGNALS = (
    "bits",
    "bits per byte",
    "most bits in a token",
    "excess",
    "most excess in a token",
    "excess of the three worst tokens",
    "entropy",
)

_TOKEN = re.compile(rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*|\d[\w.]*|\S")


def line_surprise(
    source: bytes, bits: NDArray[np.float32], entropy: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The SIGNALS of each line, (number of lines, len(SIGNALS)); 0 for blank lines.

    Args:
        source: the file.
        bits: (bytes,).
        entropy: (bytes,), of the predictions, bits.
    """
    sums = np.concatenate([[0.0], np.cumsum(bits, dtype=np.float64)])
    expected = np.concatenate([[0.0], np.cumsum(entropy, dtype=np.float64)])
    lines = source.split(b"\n")
    if not lines[-1]:
        lines.pop()
    table = np.zeros((len(lines), len(SIGNALS)), np.float32)
    begin = 0
    for i, line in enumerate(lines):
        spans = np.array([m.span() for m in _TOKEN.finditer(line)], np.int64).reshape(-1, 2)
        if len(spans):
            first, last = begin + spans[:, 0], begin + spans[:, 1]
            start, end = first[0], last[-1]
            tokens = sums[last] - sums[first]
            excess = tokens - (expected[last] - expected[first])
            total = sums[end] - sums[start]
            hoped = expected[end] - expected[start]
            table[i] = (
                total,
                total / (end - start),
                tokens.max(),
                total - hoped,
                excess.max(),
                np.sort(excess)[-3:].sum(),
                hoped,
            )
        begin += len(line) + 1
    return table
