"""What a scan asks of a file's syntax: a tree, its tokens, and the statement that each line is in.

Grammars name things differently; the sets below bring what they share under one name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tree_sitter import Node, Parser, Tree

from codebyte.indexer.grammars import grammar_of, load_grammar
from codebyte.indexer.languages import language_of

LONGEST_PARSED = 1 << 20  # bytes

NAMES = {"identifier", "shorthand_property_identifier"}
FIELDS = {"property_identifier", "field_identifier", "type_identifier"}
NUMBERS = {
    "integer",
    "number",
    "number_literal",
    "int_literal",
    "integer_literal",
    "decimal_integer_literal",
    "float",
    "float_literal",
    "decimal_floating_point_literal",
}
COMMENTS = {"comment", "line_comment", "block_comment"}
STRINGS = {
    "string",
    "string_literal",
    "raw_string_literal",
    "interpreted_string_literal",
    "template_string",
    "char_literal",
    "character_literal",
    "concatenated_string",
    "rune_literal",
    "encapsed_string",
}
CALLS = {"call", "call_expression", "method_invocation", "new_expression", "invocation_expression"}
ARGUMENTS = {"argument_list", "arguments"}
FUNCTIONS = {
    "function_definition",
    "function_declaration",
    "method_declaration",
    "method_definition",
    "function_item",
    "constructor_declaration",
    "function_expression",
    "arrow_function",
    "lambda",
    "method",
    "func_literal",
    "closure_expression",
}
BINARY = {
    "binary",
    "binary_operator",
    "comparison_operator",
    "boolean_operator",
    "binary_expression",
    "augmented_assignment",
    "assignment_expression",
    "augmented_assignment_expression",
    "compound_assignment_expr",
}
CONSTANTS = {"true", "false", "none", "null", "nil"}


@dataclass(frozen=True, slots=True)
class LineKind:
    """The innermost statement that a line's first token is in."""

    kind: str  # statement type of the grammar, with what it holds: "expression_statement:call"
    first: bool  # whether the statement begins on this line
    depth: int  # of the token in the tree
    function: int  # the line (from 0) where the innermost function begins, or -1


def parse(source: bytes, path: str) -> Tree | None:
    """The syntax tree; None where there is no grammar for the file or it is too large."""
    grammar = grammar_of(path, language_of(path))
    if grammar is None or len(source) > LONGEST_PARSED:
        return None
    return Parser(load_grammar(grammar)[0]).parse(source)


def leaves(tree: Tree) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Each token in order with its ancestors, outermost first; strings and comments are tokens."""
    stack: list[tuple[Node, tuple[Node, ...]]] = [(tree.root_node, ())]
    while stack:
        node, above = stack.pop()
        plain = node.type in STRINGS and not any(c.type == "interpolation" for c in node.children)
        if node.child_count == 0 or plain or node.type in COMMENTS:
            if node.end_byte > node.start_byte:
                yield node, above
            continue
        inner = (*above, node)
        stack.extend((child, inner) for child in reversed(node.children))


def is_statement(node: Node) -> bool:
    """Whether a node is a statement, a declaration or a definition."""
    name = node.type
    ends = ("_statement", "_declaration", "_definition", "_item", "_clause")
    return name.endswith(ends) or name in ("method", "statement", "macro_invocation")


def tree_kinds(tree: Tree, num_lines: int) -> list[LineKind | None]:
    """What each line is, (number of lines,); None for blank lines, comments and inside strings."""
    kinds: list[LineKind | None] = [None] * num_lines
    for node, above in leaves(tree):
        row = node.start_point[0]
        if row >= num_lines or kinds[row] is not None or node.type in COMMENTS:
            continue
        if node.type in STRINGS and _is_documentation(node, above):
            continue
        statement = next((n for n in reversed(above) if is_statement(n)), None)
        function = next((n for n in reversed(above) if n.type in FUNCTIONS), None)
        kinds[row] = LineKind(
            kind="" if statement is None else _kind(statement),
            first=statement is not None and statement.start_point[0] == row,
            depth=len(above),
            function=-1 if function is None else function.start_point[0],
        )
    return kinds


def text_kinds(source: bytes) -> list[LineKind | None]:
    """As `tree_kinds`, told by the text of each line: for files without a grammar."""
    lines = source.split(b"\n")
    if not lines[-1]:
        lines.pop()
    kinds: list[LineKind | None] = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith((b"#", b"//", b"/*", b"*", b"--", b";", b"<!--")):
            kinds.append(None)
            continue
        depth = (len(line) - len(line.lstrip())) // 4
        name = next((name for name, rule in _TEXT_KINDS if rule.match(text)), "text")
        kinds.append(LineKind(kind=name, first=True, depth=depth, function=-1))
    return kinds


_TEXT_KINDS = (
    ("if_statement", re.compile(rb"(?:\} *)?(?:if|elif|else|when|unless|switch|case)\b")),
    ("for_statement", re.compile(rb"(?:for|while|foreach|loop|until)\b")),
    ("return_statement", re.compile(rb"(?:return|yield)\b")),
    ("import_statement", re.compile(rb"(?:import|from|use|using|require|include|#include)\b")),
    ("function_definition", re.compile(rb"(?:\w+ )*(?:def|func|fn|function|sub|fun)\b")),
    ("class_definition", re.compile(rb"(?:\w+ )*(?:class|struct|enum|interface|trait)\b")),
    ("expression_statement:assignment", re.compile(rb"[^=(]*[^=<>!]=[^=]")),
    ("expression_statement:call", re.compile(rb"[\w.:>-]+ *\(")),
)


def _kind(statement: Node) -> str:
    if statement.type in ("expression_statement", "return_statement", "lexical_declaration"):
        inner = statement.named_children
        return f"{statement.type}:{inner[0].type}" if inner else statement.type
    return statement.type


def _is_documentation(node: Node, above: tuple[Node, ...]) -> bool:
    return bool(above) and above[-1].type == "expression_statement" and above[-1].child_count == 1
