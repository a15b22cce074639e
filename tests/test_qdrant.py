from pathlib import Path

import pytest
from indexed import Bag, commit

from codebyte.indexer.index import CodeIndex

qdrant_client = pytest.importorskip("qdrant_client")


def test_vectors_in_qdrant_give_what_vectors_in_a_file_give(
    tmp_path: Path, tiny_repo: Path
) -> None:
    from codebyte.indexer.qdrant import Qdrant

    client = qdrant_client.QdrantClient(":memory:")
    ours = CodeIndex(tmp_path / "ours", Bag())
    theirs = CodeIndex(tmp_path / "theirs", Bag(), nearest=Qdrant(client, "test"))
    for change in (
        {},
        {"src/app.py": None, "src/new.py": b"def count(items): return len(items)\n"},
    ):
        if change:
            commit(tiny_repo, change)
        for index in (ours, theirs):
            index.update(tiny_repo)
        for query in ("greets a person", "settings path:src/*", "count the items", "lang:go next"):
            for mode in ("hybrid", "dense"):
                a, b = (
                    [(hit.path, hit.start_line) for hit in index.search(query, 3, mode=mode)]
                    for index in (ours, theirs)
                )
                assert a == b, (query, mode)
    held = client.count("test-vectors-1").count
    assert held == len({row for (row,) in theirs.store.rows(
        "SELECT row FROM vectors JOIN texts USING (digest)"
    )})  # fmt: skip
    client.close()
