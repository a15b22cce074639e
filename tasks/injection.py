"""Bugs put into working Python files on purpose: cases to fit and to measure a scan with.

Five kinds, each an edit of one expression on one line: another variable of the same function, a
bound moved by one, another operator, a condition negated, two arguments swapped. The places are
found with Python's own `ast`, not with the code that looks for repairs (`mutations.py`).
"""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

KINDS = ("variable", "off-by-one", "operator", "negation", "swap")

_FLIPPED = {
    b"==": (b"!=",),
    b"!=": (b"==",),
    b"<": (b">", b">="),
    b">": (b"<", b"<="),
    b"<=": (b">", b">="),
    b">=": (b"<", b"<="),
    b"is": (b"is not",),
    b"is not": (b"is",),
    b"in": (b"not in",),
    b"not in": (b"in",),
    b"and": (b"or",),
    b"or": (b"and",),
    b"+": (b"-",),
    b"-": (b"+",),
    b"*": (b"/", b"+"),
    b"/": (b"*",),
    b"//": (b"/",),
    b"%": (b"//",),
    b"+=": (b"-=",),
    b"-=": (b"+=",),
}
_MOVED = {b"<": b"<=", b"<=": b"<", b">": b">=", b">=": b">"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A file with a bug at one line, and the edit that takes it out."""

    path: str
    kind: str
    source: bytes  # with the bug
    line: int  # 1-based
    start: int  # byte range of the bug in source, half-open
    end: int
    fix: bytes  # what belongs there


def inject(source: bytes, path: str, kind: str, rng: random.Random) -> Case | None:
    """Puts one bug of a kind into a file; None where the file has no place for it.

    Args:
        source: a Python file.
        path: its name, kept in the case.
        kind: one of KINDS.
        rng: chooses the place and the edit.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    places = list(_EDITS[kind](tree, _Text(source)))
    rng.shuffle(places)
    for start, end, bug in places:
        new = source[:start] + bug + source[end:]
        if source[start:end] == bug or b"\n" in source[start:end]:
            continue
        try:
            changed = ast.dump(ast.parse(new)) != ast.dump(tree)
        except (SyntaxError, ValueError):
            continue
        if changed:
            return Case(
                path=path,
                kind=kind,
                source=new,
                line=source.count(b"\n", 0, start) + 1,
                start=start,
                end=start + len(bug),
                fix=source[start:end],
            )
    return None


Edit = tuple[int, int, bytes]  # byte range and what comes in its place


class _Text:
    """Byte offsets of syntax nodes."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def of(self, node: ast.expr) -> bytes:
        start, end = self.span(node)
        return self.source[start:end]

    def between(self, left: ast.expr, right: ast.expr) -> tuple[int, int, bytes]:
        """The operator between two operands, its range without the space around it."""
        start, end = self.span(left)[1], self.span(right)[0]
        text = self.source[start:end]
        if b"#" in text or b"\n" in text:
            return start, start, b""
        stripped = text.strip(b" \t()\\")
        start += text.find(stripped) if stripped else 0
        return start, start + len(stripped), b" ".join(stripped.split())


def _variables(tree: ast.AST, text: _Text) -> Iterator[Edit]:
    for function in ast.walk(tree):
        if not isinstance(function, _FUNCTIONS):
            continue
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        names = {argument.arg for argument in named} - {"self", "cls"}
        uses = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        names |= {node.id for node in uses if isinstance(node.ctx, ast.Store)}
        for node in uses:
            if isinstance(node.ctx, ast.Load) and node.id in names:
                for other in sorted(names - {node.id}):
                    yield *text.span(node), other.encode()


def _bounds(tree: ast.AST, text: _Text) -> Iterator[Edit]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for start, end, operator in _compared(node, text):
                if operator in _MOVED:
                    yield start, end, _MOVED[operator]
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            start, end = text.span(node)
            if text.source[start:end].isdigit():
                yield start, end, b"%d" % (node.value + 1)
                if node.value > 0:
                    yield start, end, b"%d" % (node.value - 1)
        elif isinstance(node, ast.BinOp) and _adds_one(node):
            yield text.span(node.left)[1], text.span(node)[1], b""
        for bound in _bound_expressions(node):
            if isinstance(bound, ast.Name | ast.Call | ast.Attribute):
                end = text.span(bound)[1]
                yield end, end, b" - 1"
                yield end, end, b" + 1"


def _adds_one(node: ast.BinOp) -> bool:
    one = isinstance(node.right, ast.Constant) and node.right.value == 1
    return one and isinstance(node.op, ast.Add | ast.Sub)


def _bound_expressions(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        yield from node.args
    elif isinstance(node, ast.Slice):
        yield from (bound for bound in (node.lower, node.upper) if bound is not None)
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name):
        yield node.slice


def _compared(node: ast.Compare, text: _Text) -> Iterator[tuple[int, int, bytes]]:
    operands = [node.left, *node.comparators]
    for left, right in pairwise(operands):
        yield text.between(left, right)


def _operators(tree: ast.AST, text: _Text) -> Iterator[Edit]:
    for node in ast.walk(tree):
        found: list[tuple[int, int, bytes]] = []
        if isinstance(node, ast.Compare):
            found += _compared(node, text)
        elif isinstance(node, ast.BoolOp):
            pairs = pairwise(node.values)
            found += [text.between(left, right) for left, right in pairs]
        elif isinstance(node, ast.BinOp) and not isinstance(node.left, ast.Constant):
            found.append(text.between(node.left, node.right))
        elif isinstance(node, ast.AugAssign):
            found.append(text.between(node.target, node.value))
        for start, end, operator in found:
            for other in _FLIPPED.get(operator, ()):
                yield start, end, other


def _negations(tree: ast.AST, text: _Text) -> Iterator[Edit]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
            test = node.test
            start, end = text.span(test)
            if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                yield start, end, text.of(test.operand)
            elif isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
                yield start, start, b"not "
            elif isinstance(test, ast.BoolOp | ast.Compare):
                yield start, end, b"not (" + text.of(test) + b")"


def _swaps(tree: ast.AST, text: _Text) -> Iterator[Edit]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for left, right in pairwise(node.args):
                if isinstance(left, ast.Starred) or isinstance(right, ast.Starred):
                    continue
                (start, middle), (second, end) = text.span(left), text.span(right)
                yield start, end, text.of(right) + text.source[middle:second] + text.of(left)


_EDITS = {
    "variable": _variables,
    "off-by-one": _bounds,
    "operator": _operators,
    "negation": _negations,
    "swap": _swaps,
}
