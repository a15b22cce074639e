"""What a file defines (functions, classes, types), found by its grammar.

A tree with errors in it still gives the definitions around them.
"""

import re
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from tree_sitter import Node, Parser, QueryCursor

from codebyte.indexer.grammars import grammar_of, load_grammar

PARSE_SECONDS = 5.0  # a file that takes longer counts as one without definitions
LONGEST_PARSED = 1 << 20  # bytes
LONGEST_SIGNATURE = 300  # characters

_WRAPPERS = {
    "decorated_definition",
    "export_statement",
    "expression_statement",
    "lexical_declaration",
    "template_declaration",
    "type_declaration",
    "variable_declaration",
}
_NAMES = {"destructor_name", "identifier", "field_identifier", "operator_name", "type_identifier"}
_NAMES |= {"operator_cast", "qualified_identifier", "template_function"}
_ARGUMENTS = re.compile(r"<[^<>]*>")
_ALIAS = re.compile(r"[^\w$~.#]+")
_CPP = re.compile(rb"^[ \t]*(?:class|namespace|template)\b", re.MULTILINE)
_DOC_MARKS = re.compile(
    r"""^[ \t]*(?:/\*+!?<?|\*+/|\*(?!\w)|//[/!]*<?|\#+!?|--|[rRuUbBfF]{0,2}(?:\"{3}|'{3}|"|'))"""
)
_DOC_ENDS = re.compile(r"""(?:\*+/|\"{3}|'{3}|"|')[ \t]*$""")


@dataclass(frozen=True, slots=True)
class Definition:
    """Something with a name, and the bytes it takes up with its doc comment."""

    name: str
    qualified: str  # with the names it is inside of, joined by dots
    kind: str  # "function", "method", "class", "impl" or "section"
    signature: str
    start: int
    end: int
    name_at: int  # where the definition itself begins, after its doc comment
    doc: str = ""
    doc_start: int = 0
    doc_end: int = 0


@dataclass(slots=True)
class _Found:
    node: Node
    kind: str
    name: str
    start: int
    end: int


def definitions(path: str, data: bytes, language: str | None) -> list[Definition]:
    """The definitions of a file in order, outer ones before those inside."""
    name = grammar_of(path, language)
    if name is None or len(data) > LONGEST_PARSED:
        return []
    if name == "c" and path.endswith(".h") and _CPP.search(data):
        name = "cpp"
    grammar, query = load_grammar(name)
    root = _parse(Parser(grammar).parse, data)
    if root is None:
        return []
    found: dict[tuple[int, int], _Found] = {}
    above: dict[int, Node] = {}  # by the row it ends on
    for _, captures in QueryCursor(query).matches(root):
        for node in captures.get("above", ()):
            above[_last_row(node)] = node
        for kind in ("function", "class", "impl"):
            for node in captures.get(kind, ()):
                called = _name(captures)
                if called:
                    outer = _widened(node)
                    key = (node.start_byte, node.end_byte)
                    found[key] = _Found(node, kind, called, outer.start_byte, outer.end_byte)
    ordered = sorted(found.values(), key=lambda it: (it.start, -it.end))
    lines = [0, *(match.end() for match in re.finditer(rb"\n", data))]
    return _described(ordered, above, data, lines, docstrings=name == "python")


def _parse(parse: Callable[..., object], data: bytes) -> Node | None:
    deadline = time.monotonic() + PARSE_SECONDS

    def read(offset: int, _: object) -> bytes:
        # Asked for a piece at a time, which is where a parse that takes too long can be ended.
        if time.monotonic() > deadline:
            raise TimeoutError
        return data[offset : offset + 4096]

    try:
        tree = parse(read)
    except (TimeoutError, ValueError):
        return None
    return tree.root_node if tree is not None else None  # type: ignore[attr-defined]


def _described(
    ordered: list[_Found], above: dict[int, Node], data: bytes, lines: list[int], docstrings: bool
) -> list[Definition]:
    described: list[Definition] = []
    around: list[Definition] = []
    for one in ordered:
        while around and around[-1].end <= one.start:
            around.pop()
        owner = around[-1] if around else None
        name = one.name.rpartition(".")[2]
        kind = one.kind
        if kind == "function" and ("." in one.name or (owner and owner.kind in ("class", "impl"))):
            kind = "method"
        qualified = f"{owner.qualified}.{one.name}" if owner else one.name
        start, doc_start, doc_end = _doc_above(one, above, data, lines)
        if docstrings and (string := _docstring(one.node)) is not None:
            doc_start, doc_end = string.start_byte, string.end_byte
        doc = clean_doc(data[doc_start:doc_end])
        place = (start, one.end, one.start)
        made = Definition(
            name, qualified, kind, _signature(one, data), *place, doc, doc_start, doc_end
        )
        described.append(made)
        around.append(made)
    return described


def _name(captures: dict[str, list[Node]]) -> str:
    """The name that a definition gives, such as "start" or, with its receiver, "Server.start"."""
    if "declarator" in captures:
        node = captures["declarator"][0]
        while node.type not in _NAMES:
            inner = node.child_by_field_name("declarator")
            if inner is None:
                inner = next((it for it in node.named_children if it.type in _NAMES), None)
            if inner is None:
                return ""
            node = inner
    elif "name" in captures:
        node = captures["name"][0]
    else:
        return ""
    name = _plain(node)
    owner = _plain(captures["owner"][0]) if "owner" in captures else ""
    return f"{owner}.{name}" if owner else name


def _plain(node: Node) -> str:
    text = (node.text or b"").decode("utf-8", "replace")
    while "operator" not in text and (bare := _ARGUMENTS.sub("", text)) != text:
        text = bare
    text = text.replace("::", ".").removeprefix("module.exports.").removeprefix("exports.")
    if text.startswith("operator") or ".operator" in text:
        return "".join(text.split())[:100]
    return _ALIAS.sub("", text).strip(".")[:200]


def _widened(node: Node) -> Node:
    """The node together with its decorators, `export` or `const` around it."""
    parent = node.parent
    while parent is not None and parent.type in _WRAPPERS:
        if parent.type == "type_declaration" and parent.named_child_count > 1:
            break  # a group of types: each is its own
        node, parent = parent, parent.parent
    return node


def _last_row(node: Node) -> int:
    """The row of the last byte that is not an end of line: some grammars count it in."""
    row, column = node.end_point
    return row - 1 if column == 0 and row > node.start_point[0] else row


def _doc_above(
    one: _Found, above: dict[int, Node], data: bytes, lines: list[int]
) -> tuple[int, int, int]:
    """Where a definition starts with the comments right above it, and where these stand."""
    start = one.start
    doc_start = doc_end = 0
    row = bisect_right(lines, start) - 1
    while (node := above.get(row - 1)) is not None:
        line = lines[node.start_point[0]]
        if data[line : node.start_byte].strip() or data.startswith(b"#!", node.start_byte):
            break  # it stands behind code, which it is about, or it names the interpreter
        start = node.start_byte
        row = node.start_point[0]
        if node.type != "attribute_item":
            doc_start, doc_end = start, doc_end or node.end_byte
    return start, doc_start, doc_end


def _docstring(node: Node) -> Node | None:
    body = node.child_by_field_name("body")
    first = body.named_children[0] if body is not None and body.named_child_count else None
    if first is None or first.type != "expression_statement" or not first.named_child_count:
        return None
    string = first.named_children[0]
    return string if string.type in ("string", "concatenated_string") else None


def _signature(one: _Found, data: bytes) -> str:
    """What stands before the body, in one line."""
    node = one.node
    if node.type in ("variable_declarator", "assignment_expression", "pair"):
        value = node.child_by_field_name("value") or node.child_by_field_name("right")
        body = value.child_by_field_name("body") if value is not None else None
    else:
        body = node.child_by_field_name("body")
    if body is not None:
        head = data[node.start_byte : body.start_byte]
    else:
        head = data[node.start_byte : node.end_byte].split(b"\n", 1)[0]
    text = " ".join(head.decode("utf-8", "replace").split())
    return text.rstrip("{:=> ")[:LONGEST_SIGNATURE]


def clean_doc(raw: bytes) -> str:
    """The words of a doc comment or a docstring, without the marks of comments and strings."""
    text = raw.decode("utf-8", "replace").strip()
    text = _DOC_ENDS.sub("", text)
    lines = (_DOC_MARKS.sub("", line).strip() for line in text.splitlines())
    return "\n".join(lines).strip()
