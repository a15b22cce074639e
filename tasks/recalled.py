"""Where in a repository stands what a completion repeats: the lines that a mixer found it in."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from codebyte.contexts import REACH
from codebyte.mixing import OPEN, Mixer

LEAST = 6  # bytes before a place that must be the same for it to count
MOST = 3  # lines named
LONGEST = 160  # bytes shown of a line


@dataclass(frozen=True, slots=True)
class Recalled:
    """A line of another file that foretold some of a completion."""

    path: str
    line: int
    text: str
    bytes: int  # of the completion, that stood there after the same bytes


def recalled(mixer: Mixer, prefix: bytes, text: bytes, most: int = MOST) -> list[Recalled]:
    """The lines that foretold most bytes of a completion.

    Args:
        mixer: as it was when the text was written.
        prefix: before the caret.
        text: the completion.
        most: lines.
    """
    if not text:
        return []
    recall = mixer.recall
    before = (prefix[-REACH:] + text)[:-1].rjust(REACH + len(text) - 1, b"\0")
    found = recall.matches(np.frombuffer(before, np.uint8))
    places: Counter[tuple[str, int]] = Counter()
    for i, byte in enumerate(text):
        right = (found.bytes[:, i] == byte) & (found.lengths[:, i] >= LEAST)
        if not right.any():
            continue
        best = int(np.where(right, found.lengths[:, i], 0).argmax())
        name, offset = recall.file_at(int(found.places[best, i]))
        if not name.startswith(OPEN):  # what is open is before one's eyes
            start = recall.text(name).rfind(b"\n", 0, offset) + 1
            places[name, start] += 1
    return [_line(mixer, *place, count) for place, count in places.most_common(most)]


def _line(mixer: Mixer, name: str, start: int, count: int) -> Recalled:
    data = mixer.recall.text(name)
    line = data[start:].partition(b"\n")[0].strip()[:LONGEST]
    number = data.count(b"\n", 0, start) + 1
    return Recalled(name, number, line.decode("utf-8", "replace"), count)
