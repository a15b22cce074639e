"""BM25 over fields: against a plain reference, and updated against built anew."""

import math
import random
from pathlib import Path

import numpy as np
import pytest

from codebyte.errors import StaleIndexError
from codebyte.indexer.lexical import LENGTH, SATURATION, WEIGHTS, Fields, LexicalIndex
from codebyte.indexer.words import count_terms, exact_name, terms

WORDS = [
    "read",
    "write",
    "file",
    "buffer",
    "parse",
    "token",
    "stream",
    "close",
    "retry",
    "http_get",
]


def documents(num: int, seed: int = 1) -> list[Fields]:
    rng = random.Random(seed)

    def some(most: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))

    return [
        Fields(
            symbol=f"{rng.choice(WORDS)}.{rng.choice(WORDS)}",
            path=f"src/{rng.choice(WORDS)}.py",
            signature=some(4),
            body=some(30).encode(),
        )
        for _ in range(num)
    ]


def reference(query: str, kept: list[Fields]) -> dict[int, float]:
    """The sum over terms and fields, written as in the textbook."""
    fields = [
        [
            {**count_terms(it.symbol), exact_name(it.symbol): 1},
            count_terms(it.path),
            count_terms(it.signature),
            count_terms(it.body),
        ]
        for it in kept
    ]
    means = [sum(sum(it[f].values()) for it in fields) / len(kept) for f in range(4)]
    scores: dict[int, float] = {}
    for term in dict.fromkeys(terms(query)):
        holding = [i for i, it in enumerate(fields) if any(term in field for field in it)]
        rarity = math.log(1 + (len(kept) - len(holding) + 0.5) / (len(holding) + 0.5))
        for i in holding:
            for f, field in enumerate(fields[i]):
                count, length = field.get(term, 0), sum(field.values()) / means[f]
                norm = SATURATION[f] * (1 - LENGTH[f] + LENGTH[f] * length)
                scores[i] = scores.get(i, 0) + rarity * WEIGHTS[f] * count / (count + norm)
    return scores


def found(index: LexicalIndex, query: str) -> dict[int, float]:
    ids, scores = index.scores(query)
    return dict(zip(ids.tolist(), scores.tolist(), strict=True))


def test_scores_are_those_of_the_textbook() -> None:
    kept = documents(40)
    index = LexicalIndex()
    index.add(range(40), kept)
    for query in ("read a file", "http_get retries", "close", "nothing here"):
        assert found(index, query) == pytest.approx(reference(query, kept), rel=1e-5)


def test_an_index_updated_in_any_way_scores_exactly_as_one_built_anew() -> None:
    rng, kept = random.Random(2), documents(120)
    updated, there = LexicalIndex(), set[int]()
    for _ in range(60):
        chosen = rng.sample(range(120), rng.randint(1, 12))
        if rng.random() < 0.4:
            updated.remove(chosen)
            there -= set(chosen)
        else:
            updated.add(chosen, [kept[i] for i in chosen])
            there |= set(chosen)
    anew = LexicalIndex()
    anew.add(sorted(there), [kept[i] for i in sorted(there)])
    assert sorted(updated.ids.tolist()) == sorted(there)
    assert len(updated) == len(there)
    for query in WORDS:
        assert found(updated, query) == found(anew, query)


def test_adding_an_id_again_replaces_its_document() -> None:
    index = LexicalIndex()
    index.add([7], [Fields(symbol="old", path="a.py", signature="", body=b"ancient")])
    index.add([7], [Fields(symbol="new_name", path="a.py", signature="", body=b"modern")])
    assert (found(index, "ancient"), list(found(index, "modern")), len(index)) == ({}, [7], 1)


def test_two_indexes_with_shared_statistics_score_as_one() -> None:
    kept = documents(50)
    one, left, right = LexicalIndex(), LexicalIndex(), LexicalIndex()
    one.add(range(50), kept)
    left.add(range(20), kept[:20])
    right.add(range(20, 50), kept[20:])
    query = {"read": 1.0, "file": 0.5, "=close": 1.0, "absent": 1.0}
    together = left.statistics(query) + right.statistics(query)
    assert together == one.statistics(query)
    parts = [index.scores(query, together) for index in (left, right)]
    ids = np.concatenate([ids for ids, _ in parts])
    scores = np.concatenate([scores for _, scores in parts])
    expected = one.scores(query)
    assert ids.tolist() == expected[0].tolist()
    assert scores.tolist() == expected[1].tolist()


def test_a_saved_index_is_the_same_and_can_be_changed_further(tmp_path: Path) -> None:
    kept, index = documents(30), LexicalIndex()
    index.add(range(30), kept)
    index.remove([3, 4])
    index.save(tmp_path / "words")
    assert [path.name for path in tmp_path.iterdir()] == ["words"]
    loaded = LexicalIndex.load(tmp_path / "words")
    assert all(found(loaded, query) == found(index, query) for query in WORDS)
    for it in (loaded, index):
        it.add([3], [kept[3]])
    assert all(found(loaded, query) == found(index, query) for query in WORDS)


def test_an_empty_index_is_saved_and_searched(tmp_path: Path) -> None:
    index = LexicalIndex()
    index.add([], [])
    index.save(tmp_path / "words")
    assert found(LexicalIndex.load(tmp_path / "words"), "read") == {}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    file, index = tmp_path / "words", LexicalIndex()
    index.add(range(30), documents(30))
    index.save(file)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(StaleIndexError, match="codebyte index"):
        LexicalIndex.load(file)


def test_a_missing_file_and_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StaleIndexError, match="missing"):
        LexicalIndex.load(tmp_path / "words")
    with (tmp_path / "words").open("wb") as file:
        np.savez(file, version=np.array([99, 0]))
    with pytest.raises(StaleIndexError, match="version 99"):
        LexicalIndex.load(tmp_path / "words")


def test_a_failed_save_leaves_the_earlier_file(tmp_path: Path) -> None:
    file, index = tmp_path / "words", LexicalIndex()
    index.add([1], documents(1))
    index.save(file)
    before = file.read_bytes()
    index._ids = np.array([object()])  # cannot be written without pickle
    with pytest.raises(ValueError, match="allow_pickle"):
        index.save(file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["words"]


def test_a_unique_name_is_found_among_its_uses() -> None:
    index = LexicalIndex()
    uses = [
        Fields(symbol=f"f{i}", path="a.py", signature="", body=b"get() " * 9) for i in range(50)
    ]
    index.add(range(51), [*uses, Fields(symbol="Box.get", path="b.py", signature="", body=b"x")])
    ids, scores = index.scores({"=get": 1.0, "get": 1.0})
    assert ids[scores.argmax()] == 50
