"""What of a repository is shown to the model before it completes."""

import time

import numpy as np
import pytest

from codebyte.indexer.index import CodeIndex
from codebyte.tasks.retrieval import LARGEST, names_around, snippets_around

DEFINES = (
    "shapes/area.py",
    b"def polygon_area(points, winding):\n    return sum(cross(points)) / 2 * winding\n",
)
USES = (
    "shapes/report.py",
    b"def report(shape):\n    points = shape.points\n"
    b"    total = polygon_area(points, winding=1)\n    print(total)\n",
)
OTHER = ("net/socket.py", b"def connect(host, port):\n    return Socket(host).dial(port)\n")
HERE = "shapes/draw.py"
BEFORE = b"import os\n\ndef draw(shape):\n    points = shape.points\n    size = polygon_area("


def index_of(*documents: tuple[str, bytes]) -> CodeIndex:
    return CodeIndex.from_documents(documents, None)


def test_the_definition_and_a_use_of_what_is_called_are_found_and_nothing_else() -> None:
    with index_of(OTHER, USES, DEFINES) as index:
        found = snippets_around(index, BEFORE, b"\n", HERE)
    assert {it.path for it in found} == {DEFINES[0], USES[0]}
    whole = dict((USES, DEFINES))
    for it in found:
        assert b"polygon_area(" in it.text
        lines = whole[it.path].splitlines(keepends=True)
        assert it.text == b"".join(lines[it.start_line - 1 :])[: len(it.text)]


def test_the_best_comes_last() -> None:
    with index_of(OTHER, USES, DEFINES, ("a.py", b"def other(shape):\n    pass\n")) as index:
        found = snippets_around(index, BEFORE, b"", HERE)
    scores = [it.score for it in found]
    assert len(found) == 3
    assert scores == sorted(scores)
    assert found[0].path == "a.py"


def test_nothing_comes_from_the_file_that_is_typed_in() -> None:
    answer = (HERE, BEFORE + b"points, winding=shape.winding)\n")
    with index_of(answer, USES) as index:
        assert [it.path for it in snippets_around(index, BEFORE, b"", HERE)] == [USES[0]]
        assert HERE in {it.path for it in snippets_around(index, BEFORE, b"", "else.py")}


@pytest.mark.parametrize("budget", [0, 50, 90, 200, 5000])
def test_snippets_keep_within_the_budget(budget: int) -> None:
    with index_of(USES, DEFINES, OTHER) as index:
        found = snippets_around(index, BEFORE, b"", HERE, budget=budget)
        everything = snippets_around(index, BEFORE, b"", HERE)
    assert sum(len(it.text) for it in found) <= budget
    assert bool(found) == (budget >= min(len(it.text) for it in everything))


def test_of_a_long_chunk_the_lines_around_the_best_are_shown() -> None:
    filler = b"".join(b"    step_%d = other_%d()\n" % (i, i) for i in range(300))
    long = (
        b"def work():\n" + filler + b"    got = polygon_area(corners, 1)\n    keep(got)\n" + filler
    )
    with index_of(("work.py", long)) as index:
        (found,) = snippets_around(index, BEFORE, b"", HERE)
    assert b"polygon_area(corners, 1)\n    keep(got)\n" in found.text
    assert len(found.text) <= LARGEST
    lines = long.splitlines(keepends=True)
    assert b"".join(lines[found.start_line - 1 :]).startswith(found.text)


def test_equal_snippets_are_shown_once() -> None:
    with index_of(USES, ("copy.py", USES[1])) as index:
        assert len(snippets_around(index, BEFORE, b"", HERE)) == 1


def test_near_names_count_more_than_far_ones_and_far_ones_are_left_out() -> None:
    names = names_around(b"ancient = 1\n" + b"\n" * 40 + b"far = 1\nnear = far_too(", b"\nbelow\n")
    assert names["near"] == names["far_too"] == 1.0
    assert names["far"] == names["below"] < 1.0
    assert "ancient" not in names


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"\xff\xfe\x00\x80" * 50, b"\x00"), (b"# -- ==\n", b"()"), (b"a" * 100_000, b"")],
)
def test_what_holds_no_known_name_finds_nothing(before: bytes, after: bytes) -> None:
    with index_of(USES, DEFINES) as index:
        assert snippets_around(index, before, after, HERE) == []
    with index_of() as empty:
        assert snippets_around(empty, BEFORE, b"", HERE) == []


def test_it_is_the_same_each_time_and_takes_less_than_thirty_milliseconds() -> None:
    rng = np.random.default_rng(0)
    words = [f"{a}_{b}" for a in ("get", "set", "polygon", "total") for b in range(200)]
    documents = [
        (f"f{i}.py", f"def {rng.choice(words)}({', '.join(rng.choice(words, 20))}): pass".encode())
        for i in range(5000)
    ]
    with index_of(USES, DEFINES, *documents) as index:
        first = snippets_around(index, BEFORE, b"", HERE)
        taken = []
        for _ in range(10):
            start = time.thread_time()
            assert snippets_around(index, BEFORE, b"", HERE) == first
            taken.append(time.thread_time() - start)
    assert min(taken) < 0.03
