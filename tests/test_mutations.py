import ast
import random
import textwrap

import numpy as np
import pytest

from codebyte.tasks.candidates import (
    LIGHT,
    light_features,
    line_starts,
    name_of,
    window_end,
)
from codebyte.tasks.edit import KINDS, Edit, apply
from codebyte.tasks.injection import KINDS as BUGS
from codebyte.tasks.injection import inject
from codebyte.tasks.known import Wrong, mends
from codebyte.tasks.mutations import edits
from codebyte.tasks.syntax import parse, text_kinds, tree_kinds
from codebyte.tasks.uses import uses

SOURCE = textwrap.dedent('''\
    """A shop."""

    LIMIT = 10


    def total(prices, rate, *, round_up=False):
        """Adds up."""
        amount = 0
        for i in range(len(prices)):
            if prices[i] > LIMIT and not round_up:
                amount += prices[i] * rate
        return pay(amount, rate - 1) if amount is not None else None


    class Till:
        def open(self):
            self.count = self.start + 1
            return self.drawer.pull(self.count, self.start)
''').encode()


def edited(source: bytes, path: str = "a.py") -> dict[bytes, Edit]:
    tree = parse(source, path)
    assert tree is not None
    return {apply(source, edit): edit for edit in edits(tree, source)}


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b"prices[i] > LIMIT", b"prices[i] >= LIMIT", "bound"),
        (b"prices[i] > LIMIT", b"prices[i] < LIMIT", "operator"),
        (b"LIMIT and not", b"LIMIT or not", "operator"),
        (b"not round_up", b"round_up", "negation"),
        (b"is not None else", b"is None else", "negation"),
        (b"prices[i] * rate", b"prices[i] / rate", "operator"),
        (b"amount += prices", b"amount -= prices", "operator"),
        (b"prices[i] * rate", b"prices[i] * amount", "name"),
        (b"len(prices)):", b"len(prices) - 1):", "bound"),
        (b"rate - 1)", b"rate)", "bound"),
        (b"(amount, rate - 1)", b"(rate - 1, amount)", "swap"),
        (b"round_up=False", b"round_up=True", "literal"),
        (b"LIMIT = 10", b"LIMIT = 11", "bound"),
        (b"= self.start + 1", b"= self.count + 1", "field"),
        (b"(self.count, self.start)", b"(self.start, self.count)", "swap"),
    ],
)
def test_this_edit_is_among_those_tried(old: bytes, new: bytes, kind: str) -> None:
    assert SOURCE.count(old) == 1
    assert edited(SOURCE)[SOURCE.replace(old, new)].kind == kind


def test_every_edit_parses_and_means_something_else() -> None:
    tree = ast.dump(ast.parse(SOURCE))
    for source, edit in edited(SOURCE).items():
        assert ast.dump(ast.parse(source)) != tree, edit


def test_names_are_not_put_where_something_is_defined_or_named() -> None:
    for source in edited(SOURCE):
        for kept in (
            b"def total(",
            b"class Till",
            b"round_up=",
            b"self.count = ",
            b"def open(self)",
        ):
            assert kept in source


@pytest.mark.parametrize(
    ("path", "source", "old", "new"),
    [
        ("a.js", b"if (a < b && ok) { f(a, b); }\n", b"a < b", b"a <= b"),
        ("a.js", b"if (a < b && ok) { f(a, b); }\n", b"&&", b"||"),
        ("a.js", b"if (a < b && ok) { f(a, b); }\n", b"f(a, b)", b"f(b, a)"),
        ("a.ts", b"function f(x: number) { if (!x) { return true; } }\n", b"(!x)", b"(x)"),
        ("a.go", b"package a\nfunc f(n int) int { if n >= 3 { return n } return 0 }\n", b"3", b"4"),
        ("A.java", b"class A { int f(int a, int b) { return a + b; } }\n", b"a + b", b"a - b"),
        ("a.rs", b"fn f(a: i32, b: i32) -> bool { a == b }\n", b"a == b", b"a != b"),
        ("a.c", b"int f(int n) { while (n > 0) n--; return n; }\n", b"n > 0", b"n >= 0"),
        ("a.rb", b"def f(a)\n  g(a, 1) if a == 2\nend\n", b"a == 2", b"a != 2"),
    ],
)
def test_other_languages_have_the_same_edits(
    path: str, source: bytes, old: bytes, new: bytes
) -> None:
    assert source.replace(old, new) in edited(source, path)


@pytest.mark.parametrize(
    "condition",
    [
        "not (a or b)",
        "not (a or b) and c",
        "not not (a or b)",
        "not (a or b) == c",
        "not (a if b else c) and d",
        "not (a if b else c)",
        "not (m := f(a)) or m[1]",
        "not (m := f(a))",
        "not (yield a)",
        "not (await a)",
        "not (lambda: a) or b",
        "c if not (a or b) else d",
        "c if not (a if b else c) else d",
        "[c for c in d if not (a or b)]",
        "[c for c in d if not (a if b else c)]",
        "not (a.b[1](c)) and d",
        "not (a\n    .b()) and c",
        "not (f(\n    a))",
        "x == (not (a and b))",
    ],
)
@pytest.mark.parametrize("place", ["    if {}:\n        pass\n", "    x = [g({}), {}]\n"])
def test_a_negation_that_is_taken_out_leaves_what_it_negated(condition: str, place: str) -> None:
    source = "async def function(a):\n" + place.format(condition, condition)
    tree = ast.parse(source)
    wanted = set()
    for negation in [node for node in ast.walk(tree) if isinstance(node, ast.UnaryOp)]:
        positive = _Positive(negation).visit(ast.parse(source))
        wanted.add(ast.dump(positive))
    deleted = [text for text, e in edited(source.encode()).items() if e.detail == "delete"]
    assert {ast.dump(ast.parse(text)) for text in deleted} == wanted


class _Positive(ast.NodeTransformer):
    """Takes out one negation, known by its place."""

    def __init__(self, negation: ast.UnaryOp) -> None:
        self.place = negation.lineno, negation.col_offset

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        here = (node.lineno, node.col_offset) == self.place
        return self.visit(node.operand) if here else self.generic_visit(node)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("a.js", "if (!!(a || b)) {}", "if (!(a || b)) {}"),
        ("a.js", "x = !(a ? b : c) && d;", "x = (a ? b : c) && d;"),
        ("a.js", "f(!(a, b));", "f((a, b));"),
        ("a.js", "if (!(a || b)) {}", "if (a || b) {}"),
        ("a.js", "if (!(a.b) && c) {}", "if (a.b && c) {}"),
        ("a.c", "int f() { if (!(p = g()) || !q) {} }", "int f() { if ((p = g()) || !q) {} }"),
        ("a.c", "int f() { if (!(p = g())) {} }", "int f() { if (p = g()) {} }"),
        ("a.java", "class A { boolean b = !(c > d); }", "class A { boolean b = c > d; }"),
        ("a.js", "if (a ? b : c) {}", "if (!(a ? b : c)) {}"),
        ("a.c", "int f() { if (p = g()) {} }", "int f() { if (!(p = g())) {} }"),
        ("a.py", "if m := f(a):\n    pass", "if not (m := f(a)):\n    pass"),
    ],
)
def test_parentheses_stay_where_they_are_needed(path: str, old: str, new: str) -> None:
    assert edited(old.encode(), path)[new.encode()].kind == "negation"


def test_of_two_negations_either_taken_out_leaves_the_other() -> None:
    found = edited(b"if (!!(a || b)) {}", "a.js").items()
    assert [text for text, e in found if e.detail == "delete"] == [b"if (!(a || b)) {}"]


def test_a_broken_file_still_has_edits_where_it_parses() -> None:
    source = b"def f(a, b):\n    return a < b\n\n\ndef g(:\n    return (((\n"
    assert source.replace(b"a < b", b"a <= b") in edited(source)


@pytest.mark.parametrize("kind", BUGS)
def test_a_bug_put_in_is_one_edit_on_its_line_and_its_fix_takes_it_out(kind: str) -> None:
    for seed in range(8):
        case = inject(SOURCE, "shop.py", kind, random.Random(seed))
        assert case is not None
        assert case.source[: case.start] + case.fix + case.source[case.end :] == SOURCE
        changed = zip(case.source.split(b"\n"), SOURCE.split(b"\n"), strict=True)
        assert [i for i, (a, b) in enumerate(changed, 1) if a != b] == [case.line]
        wrong = Wrong(case.line, case.start, case.end, case.fix, True)
        found = [e for e in edited(case.source).values() if mends(case.source, e, wrong)]
        assert all(apply(case.source, edit) == SOURCE for edit in found)


def test_most_bugs_put_in_have_their_repair_among_the_edits() -> None:
    cases = [inject(SOURCE, "a.py", kind, random.Random(i)) for kind in BUGS for i in range(10)]
    found = [SOURCE in edited(case.source) for case in cases if case is not None]
    assert np.mean(found) >= 0.9


def test_nothing_is_put_into_a_file_without_a_place_or_without_syntax() -> None:
    assert inject(b"x = y\n", "a.py", "swap", random.Random(0)) is None
    assert inject(b"def (:\n", "a.py", "operator", random.Random(0)) is None


def test_lines_are_known_by_their_statement() -> None:
    tree = parse(SOURCE, "a.py")
    assert tree is not None
    kinds = tree_kinds(tree, len(line_starts(SOURCE)))
    lines = SOURCE.decode().split("\n")
    told = {lines[i].strip(): kind.kind for i, kind in enumerate(kinds) if kind is not None}
    assert told["amount = 0"] == "expression_statement:assignment"
    assert told["if prices[i] > LIMIT and not round_up:"] == "if_statement"
    assert told["def open(self):"] == "function_definition"
    assert '"""Adds up."""' not in told
    assert [i for i, line in enumerate(lines[:-1]) if not line and kinds[i] is not None] == []


def test_without_a_grammar_lines_are_known_by_their_text() -> None:
    kinds = text_kinds(b"-- a comment\nif x then\n\nreturn f(x)\ny = 1")
    assert [kind and kind.kind for kind in kinds] == [
        None,
        "if_statement",
        None,
        "return_statement",
        "expression_statement:assignment",
    ]


def test_uses_of_a_name_are_counted_by_function_and_neighbour() -> None:
    from test_counterfactual import MODELS

    from codebyte.tasks.reading import Reading

    source = b"def f(a, b):\n    return a + b\n\n\ndef g(a):\n    return a + a\n"
    tree = parse(source, "a.py")
    assert tree is not None
    place = source.index(b"b\n\n")
    edit = Edit("name", "value", place, place + 1, b"a")
    used = uses(tree, source, [edit], line_starts(source))
    reading, odds = Reading(MODELS["quick"], source), np.array([-3.0], np.float32)
    (row,) = light_features(reading, [edit], used, odds, {"name value": (7, 1)})
    told = dict(zip(LIGHT, row.tolist(), strict=True))
    assert told["usual gain"] == 7
    assert told["odds at the first look"] == -3
    assert told["is name"] == 1
    assert sum(told[f"is {kind}"] for kind in KINDS) == 1
    assert told["old in function"] == 1  # its parameter
    assert told["new in function"] == 2
    assert told["new in file"] == 5
    assert told["new with left neighbour"] == 1  # "+ a" in g
    assert told["old with left neighbour"] == 0
    assert told["new on the line"] == 1
    assert name_of(edit) == "name value"


def test_an_edit_bears_on_its_line_and_the_next() -> None:
    source = b"abc\ndef\nghi\n"
    assert window_end(source, 1) == 8
    assert window_end(source, 9) == 12
    assert window_end(b"x" * 500, 3) == 83


def test_the_classes_that_a_class_is_made_from_are_not_exchanged() -> None:
    source = b"class A(B, C):\n    pass\n\n\nx = B(C)\ny = C(x)\nz = B(y)\n"
    tree = parse(source, "a.py")
    assert tree is not None
    names = [edit.start for edit in edits(tree, source) if edit.kind == "name"]
    assert names
    assert min(names) > source.index(b"x = ")
