from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from codebyte.errors import StaleIndexError
from codebyte.indexer import vectors
from codebyte.indexer.vectors import VectorFile, VectorSearch

DIM = 32
Floats = NDArray[np.float32]


def clustered(count: int, seed: int) -> Floats:
    """Unit rows around a hundred centres, exact in float16."""
    rng = np.random.default_rng(seed)
    rows = np.random.default_rng(0).normal(size=(100, DIM))[rng.integers(0, 100, count)]
    rows += 0.4 * rng.normal(size=(count, DIM))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float16).astype(np.float32)


@pytest.fixture
def inexact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes 500 rows enough for an inverted file."""
    monkeypatch.setattr(vectors, "EXACT_ROWS", 500)
    monkeypatch.setattr(vectors, "PROBES", 16)


def true_nearest(rows: Floats, query: Floats, k: int) -> set[int]:
    return set(np.argsort(-(rows @ query), kind="stable")[:k].tolist())


def recall(
    search: VectorSearch, rows: Floats, numbers: NDArray[np.int64], queries: Floats
) -> float:
    hits = [
        len(
            set(search.nearest(q, 10)[0].tolist())
            & {int(numbers[i]) for i in true_nearest(rows, q, 10)}
        )
        for q in queries
    ]
    return float(np.mean(hits)) / 10


@pytest.mark.parametrize("in_memory", [True, False])
def test_rows_come_back_as_they_were_added(tmp_path: Path, in_memory: bool) -> None:
    file = None if in_memory else tmp_path / "rows.f16"
    held = VectorFile(file, DIM)
    rows = clustered(70, 1)
    assert (held.append(rows[:30]), held.append(rows[30:])) == (0, 30)
    np.testing.assert_array_equal(held.take([69, 0, 31]), rows[[69, 0, 31]])
    if file is not None:
        np.testing.assert_array_equal(VectorFile(file, DIM, 70).take(range(70)), rows)


def test_rows_left_by_a_killed_run_are_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "rows.f16"
    VectorFile(file, DIM).append(clustered(30, 1))  # of which only 20 were ever counted
    held = VectorFile(file, DIM, 20)
    more = clustered(5, 2)
    assert held.append(more) == 20
    assert file.stat().st_size == 25 * DIM * 2
    np.testing.assert_array_equal(held.take(range(20, 25)), more)


def test_a_truncated_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "rows.f16"
    VectorFile(file, DIM).append(clustered(30, 1))
    with file.open("r+b") as opened:
        opened.truncate(100)
    with pytest.raises(StaleIndexError, match=r"has 100 of 1920 bytes: .* `codebyte index --ree"):
        VectorFile(file, DIM, 30)


def test_few_rows_are_compared_exactly_and_only_those_in_use() -> None:
    held = VectorFile(None, DIM)
    rows = clustered(400, 1)
    held.append(rows)
    used = np.arange(0, 400, 2)
    search = VectorSearch(held, used)
    query = clustered(1, 9)[0]
    found, scores = search.nearest(query, 10)
    assert {int(row) // 2 for row in found} == true_nearest(rows[used], query, 10)
    np.testing.assert_allclose(scores, rows[found] @ query, rtol=1e-5)
    assert (np.diff(scores) <= 0).all()
    allowed = np.array([1, 4, 6, 7, 8])
    assert set(search.nearest(query, 10, allowed)[0].tolist()) == {4, 6, 8}


@pytest.mark.usefixtures("inexact")
def test_many_rows_are_found_nearly_as_by_comparing_all() -> None:
    held = VectorFile(None, DIM)
    rows = clustered(4000, 1)
    held.append(rows)
    search = VectorSearch(held, np.arange(4000))
    assert not search.exact
    assert recall(search, rows, np.arange(4000), clustered(50, 9)) >= 0.97
    query = clustered(1, 8)[0]
    found, scores = search.nearest(query, 10)
    np.testing.assert_allclose(scores, rows[found] @ query, rtol=1e-5)
    allowed = np.arange(0, 4000, 3)
    assert set(search.nearest(query, 10, allowed)[0] % 3) == {0}


@pytest.mark.usefixtures("inexact")
def test_an_inverted_file_follows_additions_and_removals(tmp_path: Path) -> None:
    held = VectorFile(tmp_path / "rows.f16", DIM)
    rows = clustered(3000, 1)
    held.append(rows[:2000])
    cache = tmp_path / "rows.faiss"
    VectorSearch(held, np.arange(2000), cache)
    written = cache.stat().st_mtime_ns
    held.append(rows[2000:])
    used = np.concatenate([np.arange(500, 2000), np.arange(2000, 3000)])
    search = VectorSearch(held, used, cache)
    queries = clustered(30, 9)
    assert recall(search, rows[used], used, queries) >= 0.97
    for query in queries:
        assert search.nearest(query, 20)[0].min() >= 500
    assert cache.stat().st_mtime_ns > written


@pytest.mark.usefixtures("inexact")
@pytest.mark.parametrize("damage", [b"", b"not an index at all", None])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    held = VectorFile(tmp_path / "rows.f16", DIM)
    rows = clustered(1500, 1)
    held.append(rows)
    cache = tmp_path / "rows.faiss"
    VectorSearch(held, np.arange(1500), cache)
    cache.write_bytes(cache.read_bytes()[:1000] if damage is None else damage)
    search = VectorSearch(held, np.arange(1500), cache)
    assert recall(search, rows, np.arange(1500), clustered(20, 9)) >= 0.97
