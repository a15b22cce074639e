"""How results are ordered, rule by rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest

from codebyte.indexer.embedder import naming
from codebyte.indexer.evidence import EVIDENCE, Evidence
from codebyte.indexer.fields import Statistics
from codebyte.indexer.query import parse_query
from codebyte.indexer.ranking import NEARNESS, Found, Ranked, Rules, rank, summed

NOTHING = {field.name: 0.0 for field in fields(Rules)}
PLAIN = Rules(**{**NOTHING, "own": 1.0, "fold": False})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Piece:
    path: str = "src/a.py"
    symbol: str = "f"
    kind: str = "function"
    repo: str = "r"
    start_line: int = 1
    fingerprint: int | str | None = None


def found(*scores: float) -> Found:
    return np.arange(len(scores)), np.array(scores, np.float32)


def about(*pieces: Piece) -> Callable[[Sequence[int]], Sequence[Piece]]:
    return lambda ids: [pieces[i] for i in ids]


def evidence(**kinds: Sequence[float]) -> Evidence:
    """Of documents from 0; what is not given is 0."""
    columns = [kinds.get(kind, [0.0] * len(next(iter(kinds.values())))) for kind in EVIDENCE]
    table = np.array(columns, np.float32).T
    return np.arange(len(table)), table


def evened(results: list[Ranked]) -> dict[int, float]:
    """The sums of evidence behind what is shown."""
    return {it.id: summed(it.score) for it in results}


def order(results: list[Ranked]) -> list[int]:
    return [it.id for it in results]


@pytest.mark.parametrize("text", ["some words", "Name"])
def test_a_cosine_counts_as_so_many_units_of_words(text: str) -> None:
    pieces, query = about(*[Piece(path=f"{i}.py") for i in range(3)]), parse_query(text)
    results = rank(query, found(4, 2, 0), found(0.1, 0.5, 0.3), pieces, rules=PLAIN)
    worth = NEARNESS[query.kind]
    sums = {0: 4.0, 1: 2 + 0.4 * worth, 2: 0.2 * worth}
    expected = {i: score / max(sums.values()) for i, score in sums.items()}
    assert evened(results) == pytest.approx(expected, abs=1e-4)
    assert order(results) == sorted(expected, key=lambda i: -expected[i])


def test_modes_take_one_kind_of_scores_only() -> None:
    pieces = about(*[Piece(path=f"{i}.py") for i in range(3)])
    query, lexical, dense = parse_query("some words"), found(3, 2, 1), found(0.1, 0.2, 0.3)
    assert order(rank(query, lexical, dense, pieces, mode="lexical", rules=PLAIN)) == [0, 1, 2]
    assert order(rank(query, lexical, dense, pieces, mode="dense", rules=PLAIN)) == [2, 1, 0]


def test_without_vectors_hybrid_goes_by_words_and_what_stands_for_them() -> None:
    pieces = about(*[Piece(path=f"{i}.py") for i in range(3)])
    query, related = parse_query("remove it"), (np.array([2]), np.array([4.0], np.float32))
    results = rank(query, found(3, 2), None, pieces, rules=PLAIN, related=related)
    assert [(it.id, it.why) for it in results] == [(2, "meaning"), (0, "words"), (1, "words")]
    assert order(rank(query, found(3, 2), None, pieces, mode="lexical", related=related)) == [0, 1]


def test_why_names_what_matched() -> None:
    pieces = about(*[Piece(path=f"{i}.py") for i in range(4)])
    results = rank(
        parse_query("some words"), found(4, 4, 0, 0), found(0.9, 0, 0.9, 0), pieces, rules=PLAIN
    )
    assert {it.id: it.why for it in results[:3]} == {0: "both", 1: "words", 2: "meaning"}


def test_a_definition_comes_above_its_uses_even_in_a_test() -> None:
    pieces = about(Piece(path="a.py", symbol="use"), Piece(path="tests/b.py", symbol="Kit.Reader"))
    assert order(rank(parse_query("Reader"), found(9, 1), None, pieces)) == [1, 0]


def test_the_case_of_a_name_decides_between_two() -> None:
    pieces = about(Piece(path="a.go", symbol="Execute"), Piece(path="b.go", symbol="execute"))
    assert order(rank(parse_query("execute"), found(5, 4), None, pieces)) == [1, 0]


def test_a_name_inside_a_sentence_lifts_its_definition() -> None:
    pieces = about(Piece(path="a.py", symbol="g"), Piece(path="b.py", symbol="C.open_all"))
    query = parse_query("who calls open_all at the end")
    assert order(rank(query, found(5, 4), None, pieces, rules=PLAIN)) == [0, 1]
    assert order(rank(query, found(5, 4), None, pieces, rules=replace(PLAIN, mention=1.0))) == [
        1,
        0,
    ]


@pytest.mark.parametrize("path", ["src/json_reader.py", "json/a.py"])
def test_a_file_whose_path_says_the_question_is_lifted(path: str) -> None:
    pieces = about(Piece(path="src/other.py"), Piece(path=path))
    query = parse_query("streaming json reader")
    assert order(rank(query, found(5, 4), None, pieces, rules=PLAIN)) == [0, 1]
    assert order(rank(query, found(5, 4), None, pieces, rules=replace(PLAIN, path=1.0))) == [1, 0]


def test_a_file_whose_name_is_near_is_lifted_by_how_near() -> None:
    pieces, query = about(Piece(path="a.py"), Piece(path="b.py")), parse_query("some words")
    asked: list[Sequence[str]] = []

    def near(paths: Sequence[str]) -> Any:
        asked.append(paths)
        return np.array([0.1, 0.9], np.float32)

    named = replace(PLAIN, name=1.0)
    results = rank(query, found(5, 4), None, pieces, rules=named, near_paths=near)
    assert asked == [["a.py", "b.py"]]
    assert evened(results) == pytest.approx({0: 1.1, 1: 1.7}, abs=1e-4)


def test_a_file_is_called_by_its_stem_and_its_folder() -> None:
    assert naming("src/json/reader.test.py") == "reader json"
    assert naming("src/json/__init__.py") == "json"
    assert naming("setup.py") == "setup "
    assert naming("index.js") == "index "


def test_a_file_is_not_lifted_for_a_name_that_everything_says() -> None:
    pieces = about(Piece(path="model.py"), Piece(path="quantize.py"))
    query, named = parse_query("quantize a model"), replace(PLAIN, path=1.0)
    counted = Statistics(100, (0, 0, 0, 0), {"model": 80, "quantiz": 3})
    results = rank(query, found(5, 4), None, pieces, rules=named, statistics=counted)
    assert order(results) == [1, 0]
    turned = Statistics(100, (0, 0, 0, 0), {"model": 3, "quantiz": 80})
    results = rank(query, found(4, 5), None, pieces, rules=named, statistics=turned)
    assert order(results) == [0, 1]
    assert order(rank(query, found(5, 4), None, pieces, rules=named)) == [0, 1]


@pytest.mark.parametrize(
    ("rule", "path", "kind"),
    [
        ("tests", "tests/test_a.py", "function"),
        ("examples", "examples/a.py", "function"),
        ("examples", "pkg/legacy/a.py", "function"),
        ("made", "src/a_pb2.py", "function"),
        ("made", "third_party/a.c", "function"),
        ("door", "src/__init__.py", "lines"),
        ("prose", "README.md", "section"),
        ("settings", "ci.yml", "lines"),
    ],
)
def test_what_is_rarely_meant_comes_below_until_the_rule_is_off(
    rule: str, path: str, kind: str
) -> None:
    pieces = about(Piece(path=path, kind=kind), Piece(path="src/a.py"))
    query, lexical = parse_query("some words"), found(5, 4)
    only = replace(PLAIN, **{rule: 0.5})  # type: ignore[arg-type]
    assert order(rank(query, lexical, None, pieces, rules=only)) == [1, 0]
    assert order(rank(query, lexical, None, pieces, rules=only.without_paths())) == [0, 1]


def test_a_second_good_chunk_lifts_its_file() -> None:
    pieces = about(Piece(path="a.py"), *[Piece(path="b.py", start_line=i) for i in range(3)])
    query, lexical = parse_query("some words"), found(5, 4, 3, 1)
    assert order(rank(query, lexical, None, pieces, rules=PLAIN))[0] == 0
    lifted = rank(query, lexical, None, pieces, rules=replace(PLAIN, second=0.5))
    assert evened(lifted) == pytest.approx({0: 1.0, 1: 1.1, 2: 0.9, 3: 0.5}, abs=1e-4)


def test_what_a_file_says_lifts_it_in_the_modes_in_which_it_counts() -> None:
    pieces, query = about(Piece(path="a.py"), Piece(path="b.py")), parse_query("some words")
    words, vectors = found(5, 4), found(0.5, 0.4)
    files = evidence(whole=[2, 4], history=[1, 4], cover=[0.2, 0.9])
    for kind in ("whole", "history", "cover"):
        rules = replace(PLAIN, **{kind: 1.0})  # type: ignore[arg-type]
        for mode, expected in (("lexical", [1, 0]), ("hybrid", [1, 0]), ("dense", [0, 1])):
            got = rank(query, words, vectors, pieces, 10, mode, rules, files=files)  # type: ignore[arg-type]
            assert order(got) == expected, (kind, mode)
        apart = rank(query, words, None, pieces, rules=Rules.of_documents(), files=files)
        assert order(apart) == [0, 1]
    half = rank(query, words, None, pieces, rules=replace(PLAIN, whole=1.0), files=files)
    assert evened(half) == pytest.approx({0: 1.5, 1: 1.8}, abs=1e-4)  # beside the best


@pytest.mark.parametrize("kind", ["language", "folder"])
def test_a_file_that_lies_where_most_code_does_is_lifted_in_every_mode(kind: str) -> None:
    pieces, query = about(Piece(path="a.py"), Piece(path="b.py")), parse_query("some words")
    rules, files = replace(PLAIN, **{kind: 2.0}), evidence(**{kind: [0.1, 0.9]})  # type: ignore[arg-type]
    for mode in ("lexical", "dense", "hybrid"):
        got = rank(query, found(5, 4), found(0.5, 0.4), pieces, 10, mode, rules, files=files)  # type: ignore[arg-type]
        assert order(got) == [1, 0]
    assert order(rank(query, found(5, 4), None, pieces, rules=PLAIN, files=files)) == [0, 1]


def test_the_beginning_of_a_file_counts_from_the_least_near_to_the_nearest() -> None:
    pieces, query = about(*[Piece(path=f"{i}.py") for i in range(3)]), parse_query("some words")
    files = evidence(beginning=[-1, 0.2, 0.5])  # one is not known
    vectors = found(0.1, 0.9, 0.5)
    rules = replace(PLAIN, own=0.0, beginning=1.0)
    results = rank(query, None, vectors, pieces, 10, "dense", rules, files=files)
    assert evened(results) == pytest.approx({0: 0.0, 1: 0.125, 2: 0.5}, abs=1e-4)


def test_further_chunks_of_a_file_make_room_for_other_files() -> None:
    pieces = about(Piece(path="a.py"), Piece(path="a.py", start_line=9), Piece(path="b.py"))
    rules = replace(PLAIN, again=0.3)
    assert order(rank(parse_query("w x"), found(5, 4, 3), None, pieces, rules=rules)) == [0, 2, 1]


def test_equal_chunks_are_folded_into_the_best() -> None:
    same = [Piece(path=f"{name}.py", fingerprint="text") for name in "cab"]
    pieces = about(*same, Piece(path="d.py", fingerprint="other"))
    query, lexical = parse_query("some words"), found(5, 5, 5, 1)
    results = rank(query, lexical, None, pieces, k=2, rules=replace(PLAIN, fold=True))
    assert [(it.id, it.copies) for it in results] == [(1, (2, 0)), (3, ())]
    assert order(rank(query, lexical, None, pieces, rules=Rules.of_documents())) == [1, 2, 0, 3]


def test_equal_scores_are_ordered_by_place_and_not_by_id() -> None:
    pieces = [Piece(path=f"{i % 7}.py", start_line=i) for i in range(30)]
    first = rank(parse_query("a b"), found(*[1.0] * 30), None, about(*pieces), rules=PLAIN)
    turned = about(*reversed(pieces))
    other = rank(parse_query("a b"), found(*[1.0] * 30), None, turned, rules=PLAIN)
    assert [29 - it.id for it in other] == order(first)


def test_ties_at_the_border_of_the_pool_do_not_depend_on_ids() -> None:
    pieces = [Piece(path=f"{i:03}.py") for i in range(500)]
    scores = found(*[1.0] * 500)
    assert order(rank(parse_query("a b"), scores, None, about(*pieces), k=3, rules=PLAIN)) == [
        0,
        1,
        2,
    ]
    turned = about(*reversed(pieces))
    assert order(rank(parse_query("a b"), scores, None, turned, k=3, rules=PLAIN)) == [
        499,
        498,
        497,
    ]


def test_the_best_are_looked_at_however_many_tie_at_the_border_of_the_pool() -> None:
    pieces = about(*[Piece(path=f"{i}.py") for i in range(2000)])
    scores = found(*[1.0] * 1990, *[2.0] * 10)
    results = rank(parse_query("a b"), scores, None, pieces, k=10, rules=PLAIN)
    assert set(order(results)) == set(range(1990, 2000))


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "dense"])
def test_nothing_found_is_an_empty_list(mode: str) -> None:
    nothing = (np.empty(0, np.int64), np.empty(0, np.float32))
    assert rank(parse_query("x"), nothing, nothing, about(), mode=mode) == []  # type: ignore[arg-type]
    assert rank(parse_query("x"), None, None, about()) == []
