"""The edits of a file that may be repairs, and what is known of each.

What the model said while it read the file, and how often names are used, costs little and is
known of every edit (LIGHT features). The edits that look best by it are scored in full (FULL ones).
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tree_sitter import Tree

from codebyte.tasks.calibration import Usual
from codebyte.tasks.edit import KINDS, Edit
from codebyte.tasks.reading import Reading
from codebyte.tasks.syntax import COMMENTS, FUNCTIONS, leaves

WINDOW = 80  # bytes scored behind an edit, at most
WINDOW_LINES = 2  # its own and the next

Table = NDArray[np.float32]

_ORDER = tuple(KINDS)
_USES = (
    "old in function",
    "new in function",
    "old in file",
    "new in file",
    "old before in function",
    "new before in function",
    "old on the line",
    "new on the line",
    "distance to old",
    "distance to new",
    "old with left neighbour",
    "new with left neighbour",
    "old with right neighbour",
    "new with right neighbour",
    "old with both neighbours",
    "new with both neighbours",
)
LIGHT = (
    *(f"is {kind}" for kind in _ORDER),
    "first byte gain",
    "bits taken out",
    "most bits in a byte taken out",
    "entropy at the start",
    "bits of the line",
    "length taken out",
    "length put in",
    "other edits here",
    "usual gain",
    *_USES,
)
FULL = (
    *LIGHT,
    "gain at the edit",
    "gain on the line",
    "gain after",
    "gain",
    "gain over usual",
    "gain in deviations",
    "lead over others here",
    "rank in the file",
)


def light_features(reading: Reading, tree: Tree, edits: Sequence[Edit], usual: Usual) -> Table:
    """What is known of each edit without reading anything again, (n, len(LIGHT)).

    Args:
        reading: of the file.
        tree: of the file.
        edits: in order of place.
        usual: mean and deviation of gains in good code by `name_of`.
    """
    source, bits = reading.source, reading.bits
    table = np.zeros((len(edits), len(LIGHT)), np.float32)
    if not edits:
        return table
    column = {name: i for i, name in enumerate(LIGHT)}
    table[np.arange(len(edits)), [_ORDER.index(edit.kind) for edit in edits]] = 1
    starts = np.array([edit.start for edit in edits], np.int64)
    ends = np.array([max(edit.end, edit.start + 1) for edit in edits], np.int64)
    ends = np.minimum(ends, len(source))
    sums = np.concatenate([[0.0], np.cumsum(bits, dtype=np.float64)])
    lines = line_starts(source)
    row = np.searchsorted(lines, starts, side="right") - 1
    bounds = np.append(lines, len(source))
    here = Counter((edit.start, edit.kind) for edit in edits)
    table[:, column["first byte gain"]] = reading.first_gains(edits)
    table[:, column["bits taken out"]] = sums[ends] - sums[starts]
    table[:, column["most bits in a byte taken out"]] = [
        bits[a:b].max(initial=0.0) for a, b in zip(starts, ends, strict=True)
    ]
    table[:, column["entropy at the start"]] = reading.entropy[starts.clip(max=len(source) - 1)]
    table[:, column["bits of the line"]] = sums[bounds[row + 1]] - sums[bounds[row]]
    table[:, column["length taken out"]] = [edit.end - edit.start for edit in edits]
    table[:, column["length put in"]] = [len(edit.replacement) for edit in edits]
    table[:, column["other edits here"]] = [here[edit.start, edit.kind] for edit in edits]
    table[:, column["usual gain"]] = [usual.get(name_of(edit), (0.0, 1.0))[0] for edit in edits]
    table[:, column[_USES[0]] :] = _uses(tree, source, edits, lines)
    return table


def gains_of(reading: Reading, edits: Sequence[Edit]) -> Table:
    """What each edit gains at the edit, on the line behind it and on the next, bits, (n, 3)."""
    return reading.gains(edits, [window_end(reading.source, edit.end) for edit in edits])


def full_features(edits: Sequence[Edit], light: Table, gains: Table, usual: Usual) -> Table:
    """Adds what each edit gains to what was known, (n, len(FULL)).

    Args:
        edits: those scored in full, of one file.
        light: their light features.
        gains: of `gains_of`.
        usual: mean and deviation of gains in good code by `name_of`.
    """
    total = gains.sum(axis=1)
    means = np.array([usual.get(name_of(edit), (0.0, 1.0)) for edit in edits], np.float32)
    means = means.reshape(-1, 2)
    over = total - means[:, 0]
    deviations = over / np.maximum(means[:, 1], 1.0)
    ranks = np.argsort(np.argsort(-deviations, kind="stable"), kind="stable")
    more = [gains, total, over, deviations, _leads(edits, total), np.log1p(ranks)]
    return np.column_stack([light, *more]).astype(np.float32)


def name_of(edit: Edit) -> str:
    """The kind and detail of an edit, under which its usual gain is kept."""
    return f"{edit.kind} {edit.detail}".strip()


def window_end(source: bytes, place: int) -> int:
    """Where the text that an edit bears on ends."""
    end = place
    for _ in range(WINDOW_LINES):
        newline = source.find(b"\n", end)
        end = len(source) if newline < 0 else newline + 1
    return min(end, place + WINDOW)


def line_starts(source: bytes) -> NDArray[np.int64]:
    """Where each line begins, (number of lines,); nothing is a line after the last newline."""
    starts = np.flatnonzero(np.frombuffer(source, np.uint8) == ord("\n")) + 1
    starts = np.concatenate([[0], starts])
    return starts[starts < len(source)]


def _leads(edits: Sequence[Edit], total: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each edit is above the best other one at its place, bits; 20 where there is none."""
    best: dict[int, list[float]] = defaultdict(list)
    for edit, gain in zip(edits, total, strict=True):
        best[edit.start].append(float(gain))
    leads = np.full(len(edits), 20.0, np.float32)
    for i, (edit, gain) in enumerate(zip(edits, total, strict=True)):
        others = sorted(best[edit.start], reverse=True)
        if len(others) > 1:
            leads[i] = gain - (others[1] if gain >= others[0] else others[0])
    return leads.clip(-20, 20)


def _uses(
    tree: Tree, source: bytes, edits: Sequence[Edit], lines: NDArray[np.int64]
) -> NDArray[np.float32]:
    """How often the old and the new token stand where, and beside what, (n, len(_USES))."""
    starts: list[int] = []
    tokens: list[bytes] = []
    for node, _ in leaves(tree):
        if node.type not in COMMENTS:
            starts.append(node.start_byte)
            tokens.append(source[node.start_byte : node.end_byte])
    where: dict[bytes, list[int]] = defaultdict(list)
    for place, token in zip(starts, tokens, strict=True):
        where[token].append(place)
    pairs = Counter(pairwise(tokens))
    triples = Counter(zip(tokens, tokens[1:], tokens[2:], strict=False))
    functions = _functions(tree)
    table = np.zeros((len(edits), len(_USES)), np.float32)
    for i, edit in enumerate(edits):
        at = bisect_right(starts, edit.start) - 1
        if at < 0 or edit.kind == "swap" or edit.start == edit.end:
            continue
        old, new = source[edit.start : edit.end], edit.replacement
        left = tokens[at - 1] if at else b""
        right = tokens[at + 1] if at + 1 < len(tokens) else b""
        begin, end = _innermost(functions, edit.start)
        row = int(np.searchsorted(lines, edit.start, side="right")) - 1
        first = int(lines[row])
        last = int(lines[row + 1]) if row + 1 < len(lines) else len(source)
        old_at, new_at = where.get(old, []), where.get(new, [])
        table[i] = (
            _between(old_at, begin, end) - 1,
            _between(new_at, begin, end),
            len(old_at) - 1,
            len(new_at),
            _between(old_at, begin, edit.start),
            _between(new_at, begin, edit.start),
            _between(old_at, first, last) - 1,
            _between(new_at, first, last),
            _distance(old_at, edit.start),
            _distance(new_at, edit.start),
            pairs[left, old] - 1,
            pairs[left, new],
            pairs[old, right] - 1,
            pairs[new, right],
            triples[left, old, right] - 1,
            triples[left, new, right],
        )
    return table


def _between(places: list[int], begin: int, end: int) -> int:
    return bisect_right(places, end - 1) - bisect_right(places, begin - 1)


def _distance(places: list[int], start: int) -> float:
    """Log of the bytes to the nearest other place of a token."""
    at = bisect_right(places, start)
    near = places[max(0, at - 2) : at + 2]
    return float(np.log1p(min((abs(p - start) for p in near if p != start), default=1 << 16)))


def _functions(tree: Tree) -> list[tuple[int, int]]:
    """The byte ranges of the file's functions, those inside others later."""
    found, stack = [(0, tree.root_node.end_byte)], [tree.root_node]
    while stack:
        node = stack.pop()
        if node.type in FUNCTIONS:
            found.append((node.start_byte, node.end_byte))
        stack.extend(node.children)
    return sorted(found, key=lambda r: (r[0], -r[1]))


def _innermost(ranges: list[tuple[int, int]], place: int) -> tuple[int, int]:
    at = bisect_right(ranges, (place, 1 << 60))
    return next((r for r in reversed(ranges[:at]) if place < r[1]), ranges[0])
