"""How well a model knows some files: bits per byte, and rests of lines completed exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codebyte.indexer.repo import SourceFile
from codebyte.megabyte import Megabyte
from codebyte.scoring import surprisal
from codebyte.tasks.completion import Completer

_PREFIX, _SUFFIX = 2048, 1024  # bytes shown around a caret
_LONGEST = 80  # bytes of a rest of a line


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """Figures of a model."""

    bits_per_byte: float  # over the held-out files
    exact_lines: float  # share of carets in them where the rest of the line was right; may be NaN
    elsewhere: float  # bits per byte over text of other repositories


def mean_bits(model: Megabyte, texts: Sequence[bytes]) -> float:
    """Bits per byte over all the bytes of some texts, each by itself."""
    total = sum(float(surprisal(model, text).sum(dtype=np.float64)) for text in texts)
    return total / max(1, sum(map(len, texts)))


def exact_lines(model: Megabyte, files: Sequence[SourceFile], carets: int) -> float:
    """The share of seeded carets at which the rest of the line is completed exactly.

    NaN where the files have no line to complete.
    """
    rng = np.random.default_rng(1)
    weights = np.array([len(file.data) for file in files], np.float64)
    completer, right, asked = Completer(model), 0, 0
    for number in rng.choice(len(files), size=20 * carets, p=weights / weights.sum()):
        file = files[int(number)]
        caret = int(rng.integers(len(file.data)))
        end = file.data.find(b"\n", caret)
        target = file.data[caret : end if end >= 0 else len(file.data)].rstrip()
        if not target or len(target) > _LONGEST or file.data[caret] & 0xC0 == 0x80:
            continue
        after = caret + len(target)
        done = completer.complete(
            file.data[max(0, caret - _PREFIX) : caret],
            file.data[after : after + _SUFFIX],
            path=file.path,
            multiline=False,
        )
        right, asked = right + (done.text.rstrip() == target), asked + 1
        if asked == carets:
            break
    return right / asked if asked else float("nan")
