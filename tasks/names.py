"""Other names that could have been meant: those used in the same function and role.

Fields are those that the file asks of the same receiver.
"""

from collections import defaultdict
from collections.abc import Iterator

from tree_sitter import Node, Tree

from codebyte.tasks.edit import Edit
from codebyte.tasks.syntax import ARGUMENTS, CALLS, FIELDS, FUNCTIONS, NAMES, leaves

MOST_NAMES = 24  # other names tried at a place: those used nearest to it


class Names:
    """Which names are used where, by function and role."""

    def __init__(self, tree: Tree, source: bytes) -> None:
        self._uses: list[tuple[Node, str, int]] = []  # token, role, function
        self._fields: list[tuple[Node, bytes]] = []  # token, receiver with the role
        self._known: dict[tuple[int, str], dict[bytes, list[int]]] = defaultdict(dict)
        asked: dict[bytes, dict[bytes, int]] = defaultdict(lambda: defaultdict(int))
        self._asked = asked
        for node, above in leaves(tree):
            role = _role(node, above)
            if role is None:
                continue
            text = source[node.start_byte : node.end_byte]
            if role.startswith("field"):
                receiver = source[above[-1].start_byte : node.start_byte] + role.encode()
                self._asked[receiver][text] += 1
                if role != "field target":
                    self._fields.append((node, receiver))
                continue
            function = next((n.start_byte for n in reversed(above) if n.type in FUNCTIONS), -1)
            family = "callee" if role == "callee" else "value"
            self._known[function, family].setdefault(text, []).append(node.start_byte)
            if role != "bound":
                self._uses.append((node, family, function))

    def edits(self) -> Iterator[Edit]:
        """Every other name at every place where a name is used."""
        for node, family, function in self._uses:
            text = node.text or b""
            known = self._known[function, family]
            near = sorted(
                (min(abs(place - node.start_byte) for place in places), name)
                for name, places in known.items()
                if name != text
            )
            for _, name in near[:MOST_NAMES]:
                yield Edit("name", family, node.start_byte, node.end_byte, name)
        for node, receiver in self._fields:
            text = node.text or b""
            counts = self._asked[receiver]
            others = sorted((-count, name) for name, count in counts.items() if name != text)
            for _, name in others[:MOST_NAMES]:
                yield Edit("field", "", node.start_byte, node.end_byte, name)


def _role(node: Node, above: tuple[Node, ...]) -> str | None:
    """How a token is used: callee, value, bound (it is given a value here), field; or None."""
    if (node.type not in NAMES and node.type not in FIELDS) or not above:
        return None
    parent = above[-1]
    called = len(above) > 1 and above[-2].type in CALLS and above[-2].children[0] == parent
    if parent.type in ("attribute", "member_expression", "field_expression", "selector_expression"):
        if parent.children[0] != node:
            target = len(above) > 1 and _is_target(parent, above[-2])
            return "field target" if target else "field call" if called else "field"
    elif node.type in FIELDS:
        return None
    if parent.type in CALLS and parent.children[0] == node:
        return "callee"
    kind = parent.type
    if kind in ("keyword_argument", "default_parameter", "typed_default_parameter"):
        return (
            None
            if parent.children[0] == node and kind == "keyword_argument"
            else ("bound" if parent.children[0] == node else "value")
        )
    if "parameter" in kind or "pattern" in kind or kind in ("for_in_clause", "named_expression"):
        return (
            "bound"
            if parent.children[0] == node or "pattern" in kind or "param" in kind
            else "value"
        )
    if (
        kind in FUNCTIONS
        or "import" in kind
        or "class" in kind
        or kind
        in (
            "type",
            "aliased_import",
            "dotted_name",
            "global_statement",
            "nonlocal_statement",
            "decorator",
            "generic_type",
            "scoped_identifier",
            "labeled_statement",
            "macro_invocation",
        )
    ):
        return None
    if any(n.type in ("type", "import_statement", "import_from_statement") for n in above[-3:]):
        return None
    if kind in ARGUMENTS and len(above) > 1 and "class" in above[-2].type:
        return None  # what a class is made from is no value that is at hand
    if _is_target(node, parent):
        return "bound"
    return "value"


def _is_target(node: Node, parent: Node) -> bool:
    """Whether the parent gives a value to the node."""
    if parent.type in (
        "assignment",
        "for_statement",
        "variable_declarator",
        "assignment_expression",
    ):
        for name in ("left", "name"):
            if parent.child_by_field_name(name) == node:
                return True
    return parent.type in ("as_pattern_target", "pattern_list", "tuple_pattern", "init_declarator")
