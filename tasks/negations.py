"""Negations put in and taken out, with the parentheses that the rest then needs.

    if not (a or b):         if a or b:
    if not (a or b) and c:   if (a or b) and c:
    if a or b:               if not (a or b):

Grammars name things differently; the sets below hold the names of all of them.
"""

from collections.abc import Iterator

from tree_sitter import Node

from codebyte.tasks.edit import Edit
from codebyte.tasks.syntax import CALLS, CONSTANTS, NUMBERS, STRINGS

_CONDITIONS = {
    "if_statement": "condition",
    "elif_clause": "condition",
    "while_statement": "condition",
    "if_expression": "condition",
    "while_expression": "condition",
    "do_statement": "condition",
    "ternary_expression": "condition",
    "conditional_expression": "condition",
}
_NEGATED = {"not_operator", "unary_expression", "unary_not", "prefix_unary_expression"}
# What no operator outside of it can tear apart.
_ATOMS = {
    "identifier",
    "qualified_identifier",
    "scoped_identifier",
    "this",
    "self",
    "attribute",
    "member_expression",
    "member_access_expression",
    "field_expression",
    "field_access",
    "selector_expression",
    "subscript",
    "subscript_expression",
    "index_expression",
    "array_access",
    "element_access_expression",
    *CALLS,
    *CONSTANTS,
    *NUMBERS,
    *STRINGS,
}
_CHOICES = {"conditional_expression", "ternary_expression", "if_clause"}
# What binds so weakly, or may stand in so few places, that it keeps its parentheses.
_WEAK = {
    "named_expression",
    "assignment_expression",
    "augmented_assignment_expression",
    "sequence_expression",
    "comma_expression",
    "yield",
    "yield_expression",
    "lambda",
    "arrow_function",
}
_LOOSE = {
    "boolean_operator",
    "binary_expression",
    "comparison_operator",
    *_CHOICES,
    *_WEAK,
}
# Where nothing binds an expression from outside.
_OPEN = {
    "parenthesized_expression",
    "condition_clause",
    "if_statement",
    "if_expression",
    "elif_clause",
    "while_statement",
    "while_expression",
    "for_statement",
    "assert_statement",
    "return_statement",
    "return_expression",
    "assignment",
    "assignment_expression",
    "variable_declarator",
    "init_declarator",
    "let_declaration",
    "argument_list",
    "arguments",
    "keyword_argument",
    "expression_list",
    "lambda",
    "arrow_function",
}


def negations(node: Node, source: bytes, python: bool) -> Iterator[Edit]:
    """The edits at one node that take out its negation or negate a condition of it."""
    if node.type in _NEGATED:
        yield from _without_not(node, source)
    yield from _with_not(node, source, python)


def _without_not(node: Node, source: bytes) -> Iterator[Edit]:
    mark = node.children[0].type if node.children else ""
    if mark not in ("not", "!"):
        return
    operand = inner = node.children[-1]
    while inner.type == "parenthesized_expression" and inner.named_child_count == 1:
        inner = inner.named_children[0]
    kept = inner if _stands_bare(inner, node.parent, source) else operand
    text = source[kept.start_byte : kept.end_byte]
    yield Edit("negation", "delete", node.start_byte, node.end_byte, text)


def _stands_bare(node: Node, outer: Node | None, source: bytes) -> bool:
    """Whether an expression means the same without parentheses inside of another node."""
    head = node.children[0] if node.type == "call" else node  # arguments may have line ends
    if b"\n" in source[head.start_byte : head.end_byte]:
        return False
    if node.type in _ATOMS or outer is None:
        return True
    if node.type in _WEAK:
        return outer.type == "parenthesized_expression"
    return outer.type in _OPEN or (outer.type in _CHOICES and node.type not in _CHOICES)


def _with_not(node: Node, source: bytes, python: bool) -> Iterator[Edit]:
    conditions = []
    if node.type in _CONDITIONS:
        named = node.child_by_field_name(_CONDITIONS[node.type])
        if node.type == "conditional_expression" and python:
            named = node.children[2] if node.child_count == 5 else None
        conditions.append(named)
    elif node.type in ("assert_statement", "if_clause"):
        conditions.append(node.children[1] if node.child_count > 1 else None)
    elif node.type in ("boolean_operator", "return_statement") and python:
        conditions += [
            c for c in node.named_children if c.type in ("identifier", "attribute", "call")
        ]
    for condition in conditions:
        if condition is None:
            continue
        if condition.type == "parenthesized_expression" and condition.named_child_count == 1:
            condition = condition.named_children[0]
        if condition.type in _NEGATED or condition.type == "comparison_operator":
            continue
        mark, start, end = "not " if python else "!", condition.start_byte, condition.end_byte
        text = source[start:end]
        if condition.type in _LOOSE:
            yield Edit("negation", "insert", start, end, mark.encode() + b"(" + text + b")")
        else:
            yield Edit("negation", "insert", start, start, mark.encode())
