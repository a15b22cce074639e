"""How often the token that an edit takes out and the one that it puts in are used, and where."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from math import log1p

import numpy as np
from numpy.typing import NDArray
from tree_sitter import Tree

from codebyte.tasks.edit import Edit
from codebyte.tasks.syntax import COMMENTS, FUNCTIONS, leaves

USES = (
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

_FAR = log1p(1 << 16)  # of a token that stands nowhere else


def uses(
    tree: Tree, source: bytes, edits: Sequence[Edit], lines: NDArray[np.int64]
) -> NDArray[np.float32]:
    """How often the old and the new token stand where, and beside what, (n, len(USES)).

    Args:
        tree: of the file.
        source: the file.
        edits: those of one place behind each other.
        lines: where lines begin.
    """
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
    table = np.zeros((len(edits), len(USES)), np.float32)
    before = (-1, -1)
    for i, edit in enumerate(edits):
        start = edit.start
        at = bisect_right(starts, start) - 1
        if at < 0 or edit.kind == "swap" or start == edit.end:
            continue
        if (start, edit.end) != before:  # all of these are the same for the edits of one place
            before = (start, edit.end)
            old = source[start : edit.end]
            left = tokens[at - 1] if at else b""
            right = tokens[at + 1] if at + 1 < len(tokens) else b""
            begin, end = _innermost(functions, start)
            row = int(np.searchsorted(lines, start, side="right")) - 1
            first = int(lines[row])
            last = int(lines[row + 1]) if row + 1 < len(lines) else len(source)
            old_at = where.get(old, [])
            of_old = (
                _between(old_at, begin, end) - 1,
                len(old_at) - 1,
                _between(old_at, begin, start),
                _between(old_at, first, last) - 1,
                _distance(old_at, start),
                pairs[left, old] - 1,
                pairs[old, right] - 1,
                triples[left, old, right] - 1,
            )
        new = edit.replacement
        new_at = where.get(new)
        if new_at is None:
            of_new: tuple[float, ...] = (0, 0, 0, 0, _FAR, 0, 0, 0)
        else:
            of_new = (
                _between(new_at, begin, end),
                len(new_at),
                _between(new_at, begin, start),
                _between(new_at, first, last),
                _distance(new_at, start),
                pairs[left, new],
                pairs[new, right],
                triples[left, new, right],
            )
        table[i, ::2], table[i, 1::2] = of_old, of_new
    return table


def _between(places: list[int], begin: int, end: int) -> int:
    return bisect_right(places, end - 1) - bisect_right(places, begin - 1)


def _distance(places: list[int], start: int) -> float:
    """Log of the bytes to the nearest other place of a token."""
    at = bisect_right(places, start)
    near = places[max(0, at - 2) : at + 2]
    return log1p(min((abs(place - start) for place in near if place != start), default=1 << 16))


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
