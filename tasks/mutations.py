"""Small edits that could have been meant: what a repair is chosen from.

Each edit changes one token or swaps two arguments, and leaves the file parsing as before:

    if count <= limit and not done:      another name   if total <= limit and not done:
                                         operator       if count >= limit and not done:
                                         bound          if count < limit and not done:
                                         negation       if count <= limit and done:
    copy(source, target, depth=1)        arguments      copy(target, source, depth=1)
                                         literal        copy(source, target, depth=2)
"""

from collections.abc import Iterator
from itertools import pairwise

from tree_sitter import Node, Tree

from codebyte.tasks.edit import Edit
from codebyte.tasks.names import Names
from codebyte.tasks.negations import negations
from codebyte.tasks.syntax import (
    ARGUMENTS,
    BINARY,
    CALLS,
    COMMENTS,
    CONSTANTS,
    NUMBERS,
)

LONGEST_ARGUMENT = 80  # bytes; longer ones are not swapped

_OPERATORS = {
    "==": ("!=",),
    "!=": ("==",),
    "===": ("!==",),
    "!==": ("===",),
    "<": (">", ">="),
    ">": ("<", "<="),
    "<=": (">=", ">"),
    ">=": ("<=", "<"),
    "is": ("is not",),
    "is not": ("is",),
    "in": ("not in",),
    "not in": ("in",),
    "and": ("or",),
    "or": ("and",),
    "&&": ("||",),
    "||": ("&&",),
    "+": ("-", "*"),
    "-": ("+",),
    "*": ("/", "+"),
    "/": ("*", "//"),
    "//": ("/", "%"),
    "%": ("//",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
    "+=": ("-=", "="),
    "-=": ("+=",),
    "*=": ("/=",),
    "/=": ("*=",),
}
_PYTHON_ONLY = {"//", "is", "is not", "in", "not in", "and", "or"}
_MOVED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_CONSTANTS = {
    "True": ("False", "None"),
    "False": ("True", "None"),
    "None": ("True", "False"),
    "true": ("false",),
    "false": ("true",),
}
_BOUND_PARENTS = {"slice", "subscript", "subscript_expression", "index_expression"}


def edits(tree: Tree, source: bytes) -> list[Edit]:
    """All edits of a file, in order of place."""
    found = list(Names(tree, source).edits())
    python = tree.root_node.type == "module"
    stack = [tree.root_node]
    while stack:
        node = stack.pop()
        stack.extend(node.children)
        if node.type in BINARY:
            found += _operator_edits(node, python)
        elif node.type in ARGUMENTS:
            found += _swaps(node, source)
        elif node.type in NUMBERS:
            found += _numbers(node)
        elif node.type in CONSTANTS:
            found += _constants(node)
        found += negations(node, source, python)
        found += _one_more(node, source)
    return sorted(set(found), key=lambda e: (e.start, e.end, e.replacement))


def _operator_edits(node: Node, python: bool) -> Iterator[Edit]:
    for child in node.children:
        if child.is_named or child.type not in _OPERATORS:
            continue
        for other in _OPERATORS[child.type]:
            if not python and other in _PYTHON_ONLY:
                continue
            kind = "negation" if {child.type, other} <= _NEGATIONS else "operator"
            yield _edit(kind, f"{child.type} to {other}", child, other)
        if child.type in _MOVED:
            yield _edit("bound", f"{child.type} to {_MOVED[child.type]}", child, _MOVED[child.type])


_NEGATIONS = {"is", "is not", "in", "not in"}


def _edit(kind: str, detail: str, node: Node, replacement: str) -> Edit:
    return Edit(kind, detail, node.start_byte, node.end_byte, replacement.encode())


def _numbers(node: Node) -> Iterator[Edit]:
    text = (node.text or b"").decode("ascii", "replace")
    if not text.isdigit() or len(text) > 9 or (len(text) > 1 and text[0] == "0"):
        return
    size = "small" if len(text) == 1 else "large"
    yield _edit("bound", f"+1 {size}", node, str(int(text) + 1))
    if int(text):
        yield _edit("bound", f"-1 {size}", node, str(int(text) - 1))


def _constants(node: Node) -> Iterator[Edit]:
    text = (node.text or b"").decode("ascii", "replace")
    for other in _CONSTANTS.get(text, ()):
        yield _edit("literal", f"{text} to {other}", node, other)


def _swaps(node: Node, source: bytes) -> Iterator[Edit]:
    given = [child for child in node.named_children if child.type not in COMMENTS]
    for left, right in pairwise(given):
        named = ("keyword_argument", "list_splat", "dictionary_splat", "spread_element")
        if left.type in named or right.type in named or left.type == "named_argument":
            continue
        one = source[left.start_byte : left.end_byte]
        other = source[right.start_byte : right.end_byte]
        if one != other and len(one) + len(other) <= LONGEST_ARGUMENT:
            middle = source[left.end_byte : right.start_byte]
            yield Edit("swap", "", left.start_byte, right.end_byte, other + middle + one)


def _one_more(node: Node, source: bytes) -> Iterator[Edit]:
    """`x` to `x - 1` and `x + 1` where x is a bound, and back."""
    if node.type in ("binary_operator", "binary_expression") and node.child_count == 3:
        left, sign, right = node.children
        if right.text == b"1" and sign.type in ("+", "-"):
            yield Edit("bound", f"drop {sign.type} 1", left.end_byte, node.end_byte, b"")
        return
    if node.type in _BOUND_PARENTS:
        bounds = node.named_children if node.type == "slice" else node.named_children[1:]
    elif node.type in CALLS and node.children[0].text == b"range":
        bounds = node.children[-1].named_children
    else:
        return
    for bound in bounds:
        if bound.type in ("identifier", "call", "call_expression", "attribute"):
            yield Edit("bound", "add - 1", bound.end_byte, bound.end_byte, b" - 1")
            yield Edit("bound", "add + 1", bound.end_byte, bound.end_byte, b" + 1")
