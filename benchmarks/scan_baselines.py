"""What a scan is compared with: rankings of a file's lines that need no model of ours.

n-grams over tokens use Witten-Bell smoothing, learned from Python's own library; the cache is the
file itself less the line that is scored.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from texts import library_files

from codebyte.tasks.mutations import edits
from codebyte.tasks.syntax import parse

Scores = NDArray[np.float64]  # (number of lines,)
CACHE = 0.5  # share of the file's own n-grams in the mixture
LIBRARY_TOKENS = 600_000
WINDOW = 6  # tokens behind an edit that it bears on

_TOKEN = re.compile(
    rb"[A-Za-z_]\w*|\d[\w.]*|\"[^\"\n]*\"|'[^'\n]*'|[-+*/%<>=!&|^~]=|//|\*\*|<<|>>|->|\n|[^\s\w]"
)


def lines_of(source: bytes) -> list[bytes]:
    """The lines; nothing is a line after the last newline."""
    lines = source.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def at_random(source: bytes, seed: int) -> Scores:
    """Any order."""
    return np.random.default_rng(seed).random(len(lines_of(source)))


def length(source: bytes) -> Scores:
    """Bytes without indent."""
    return np.array([len(line.strip()) for line in lines_of(source)], np.float64)


def complexity(source: bytes) -> Scores:
    """Operators, calls, brackets, attributes and depth, added up."""
    scores = []
    for line in lines_of(source):
        code = re.sub(rb"\"[^\"]*\"|'[^']*'|#.*", b"s", line.strip())
        operators = len(re.findall(rb"[-+*/%<>=!&|]+|\b(?:and|or|not|in|is|if|else|for)\b", code))
        calls, dots = code.count(b"("), len(re.findall(rb"\w\.\w", code))
        brackets, commas = code.count(b"[") + code.count(b"{"), code.count(b",")
        depth = (len(line) - len(line.lstrip())) / 4
        scores.append(operators + 1.5 * calls + 0.5 * (dots + brackets + commas) + 0.3 * depth)
    return np.array(scores)


class NGrams:
    """An n-gram model of code."""

    def __init__(self, order: int, files: Iterable[bytes] = ()) -> None:
        self._order = order
        self._counts: dict[tuple[bytes, ...], Counter[bytes]] = defaultdict(Counter)
        self._totals: Counter[tuple[bytes, ...]] = Counter()
        for source in files:
            self.add(tokens(source)[0], 1)

    @classmethod
    def of_library(cls, order: int) -> "NGrams":
        """Learned from Python's library, as far as LIBRARY_TOKENS go."""
        made, count = cls(order), 0
        for source in library_files().values():
            listed = tokens(source)[0]
            made.add(listed, 1)
            count += len(listed)
            if count >= LIBRARY_TOKENS:
                break
        return made

    def add(self, listed: Sequence[bytes], times: int, first: int = 0) -> None:
        """Counts the n-grams that end at `first` or later, or takes them off."""
        for i in range(first, len(listed)):
            for n in range(min(self._order, i + 1)):
                context = tuple(listed[i - n : i])
                self._counts[context][listed[i]] += times
                self._totals[context] += times

    def p(self, context: tuple[bytes, ...], token: bytes) -> float:
        """Witten-Bell: each order gives way to the next by how many kinds it has seen."""
        p = 1e-5
        for n in range(min(self._order, len(context) + 1)):
            key = context[len(context) - n :]
            total = self._totals.get(key, 0)
            if total <= 0:
                break
            kinds = len(self._counts[key])
            p = (self._counts[key][token] + kinds * p) / (total + kinds)
        return p


def tokens(source: bytes) -> tuple[list[bytes], list[int], list[int]]:
    """The tokens of a file, their lines from 0 and their places in bytes."""
    listed, rows, places = [], [], []
    row = 0
    for match in _TOKEN.finditer(source):
        listed.append(match[0])
        rows.append(row)
        places.append(match.start())
        row += match[0] == b"\n"
    return listed, rows, places


class NGramScan:
    """Lines by the bits of their tokens, and by what edits of them gain."""

    def __init__(self, order: int = 6) -> None:
        self._order = order
        self._library = NGrams.of_library(order)

    def scores(self, source: bytes, path: str) -> tuple[Scores, Scores, list[str], Scores]:
        """Sum of bits by line; best gain by edit with its kind and its line."""
        listed, rows, places = tokens(source)
        cache = NGrams(self._order)
        cache.add(listed, 1)
        total = np.zeros(len(lines_of(source)))
        by_line: dict[int, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            by_line[row].append(i)
        tree = parse(source, path)
        mutated = defaultdict(list)
        for edit in edits(tree, source) if tree is not None else []:
            mutated[source.count(b"\n", 0, edit.start)].append(edit)
        gains, kinds, where = [], [], []
        for row, index in by_line.items():
            begin, end = index[0], index[-1] + 1
            context = listed[max(0, begin - self._order) : end + self._order]
            skip = min(begin, self._order)
            cache.add(context, -1, skip)
            if row < len(total):
                total[row] = -sum(
                    self._log2_p(cache, listed, i) for i in index if listed[i] != b"\n"
                )
            for edit in mutated[row]:
                after = source[edit.end : edit.end + 60]
                old, new = source[edit.start : edit.end] + after, edit.replacement + after
                before = listed[max(0, begin - self._order) : begin]
                before += [
                    t
                    for t, p in zip(listed[begin:end], places[begin:end], strict=True)
                    if p < edit.start
                ]
                gains.append(self._bits(cache, before, old) - self._bits(cache, before, new))
                kinds.append(f"{edit.kind} {edit.detail}")
                where.append(row)
            cache.add(context, 1, skip)
        return total, np.array(gains), kinds, np.array(where)

    def _bits(self, cache: NGrams, before: list[bytes], text: bytes) -> float:
        listed = before + tokens(text)[0][:WINDOW]
        return -sum(self._log2_p(cache, listed, i) for i in range(len(before), len(listed)))

    def _log2_p(self, cache: NGrams, listed: Sequence[bytes], i: int) -> float:
        context = tuple(listed[max(0, i - self._order + 1) : i])
        own, library = cache.p(context, listed[i]), self._library.p(context, listed[i])
        return float(np.log2(CACHE * own + (1 - CACHE) * library))


def ruff(source: bytes) -> Scores:
    """How many findings ruff's rules for bugs have on each line."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache"]
    command += ["--select", "F,E7,E9,B,PLE,PLW", "--output-format", "json", "-"]
    run = subprocess.run(command, input=source, capture_output=True, check=False)
    return _counted(source, run.stdout, lambda entry: int(entry["location"]["row"]), lambda _: 1.0)


def pylint(source: bytes) -> Scores:
    """How many findings pylint has on each line, errors three times."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "code.py")
        file.write_bytes(source)
        command = [sys.executable, "-m", "pylint", "--rcfile=", "--disable=all"]
        command += ["--enable=E,W", "--disable=import-error,no-name-in-module"]
        command += ["--output-format=json", str(file)]
        run = subprocess.run(command, capture_output=True, check=False, cwd=folder)
    return _counted(
        source,
        run.stdout,
        lambda entry: int(entry["line"]),
        lambda entry: 3.0 if entry["type"] == "error" else 1.0,
    )


def _counted(
    source: bytes,
    output: bytes,
    line: Callable[[dict[str, object]], int],
    weight: Callable[[dict[str, object]], float],
) -> Scores:
    scores = np.zeros(len(lines_of(source)))
    for entry in json.loads(output or b"[]"):
        if 1 <= line(entry) <= len(scores):
            scores[line(entry) - 1] += weight(entry)
    return scores
