"""Which words stand on lines that get fixed, and which do not.

A word's rate is the log of how many times likelier than others the lines with it were to be fixed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from codebyte.tasks.line_features import words_of

WORDS = ("words", "most telling word", "least telling word")
SHRUNK = 4.0  # fixed lines that the mean rate counts for in a word
_FEWEST = 40  # lines with a word whose rate is kept
_LEAST = 0.1  # rate that is kept


class FixedWords:
    """Counts of lines with each word, and of those that were fixed."""

    def __init__(self) -> None:
        self.lines: Counter[bytes] = Counter()
        self.fixed: Counter[bytes] = Counter()
        self.all_lines = self.all_fixed = 0

    def add(self, lines: Iterable[tuple[bytes, bool]], times: int = 1) -> None:
        """Counts lines, each with whether it was fixed; -1 times takes them away again."""
        for line, fixed in lines:
            self.all_lines += times
            self.all_fixed += times * fixed
            for word in words_of(line):
                self.lines[word] += times
                self.fixed[word] += times * fixed

    def rates(self, words: Iterable[bytes] | None = None) -> dict[bytes, float]:
        """Rates of the words that tell something; of all if none are named."""
        mean = max(self.all_fixed, 1) / max(self.all_lines, 1)
        found = {}
        for word in sorted(self.lines if words is None else set(words)):
            count = self.lines[word]
            if count >= _FEWEST:
                rate = np.log((self.fixed[word] + SHRUNK) / (count * mean + SHRUNK))
                if abs(rate) >= _LEAST:
                    found[word] = float(rate)
        return found


def word_features(lines: list[bytes], rates: Mapping[bytes, float]) -> NDArray[np.float32]:
    """What its words tell of each line, (number of lines, len(WORDS))."""
    table = np.zeros((len(lines), len(WORDS)), np.float32)
    for i, line in enumerate(lines):
        told = [rates.get(word, 0.0) for word in words_of(line)]
        if told:
            table[i] = sum(told), max(told), min(told)
    return table
