"""Words that stand for others."""

from pathlib import Path

import pytest

from codebyte.indexer.associations import (
    Associations,
    packaged_associations,
    read_associations,
)
from codebyte.indexer.query import parse_query

TABLE = Associations(
    {"remov": 1.5, "~whether": 1.0, "given": 0.25},
    {"remov": (("pop", 0.5), ("clear", 0.25)), "~whether": (("boolean", 0.5), ("pop", 0.25))},
)


def test_what_is_said_is_weighted_and_names_are_kept_whole() -> None:
    assert TABLE.said(parse_query("removes the given key")) == {
        "remov": 1.5,
        "given": 0.25,
        "key": 1.0,
    }
    assert TABLE.said(parse_query("Cache.removeKey")) == {
        "cach": 1.0,
        "remov": 1.5,
        "key": 1.0,
        "removekey": 1.0,
        "=removeKey": 1.0,
    }


def test_what_is_meant_adds_up_over_the_words() -> None:
    assert TABLE.meant(parse_query("whether to remove")) == {
        "pop": 0.75,
        "clear": 0.25,
        "boolean": 0.5,
    }


def test_a_written_table_is_read_as_it_was(tmp_path: Path) -> None:
    TABLE.write(tmp_path / "table.txt")
    read = read_associations((tmp_path / "table.txt").read_text())
    assert read.weights == TABLE.weights
    assert {term: some for term, some in read.related.items() if some} == TABLE.related


def test_the_packaged_table_is_small_and_knows_common_links() -> None:
    table = packaged_associations()
    meant = table.meant(parse_query("remove an item"))
    assert {"pop", "clear", "delet"} <= meant.keys()
    assert sum(len(some) for some in table.related.values()) < 20_000
    assert all(0 <= weight <= 5 for weight in table.weights.values())


@pytest.mark.parametrize("query", ["", "the", "?!", "配置"])
def test_odd_questions_mean_nothing_more(query: str) -> None:
    assert TABLE.meant(parse_query(query)) == {}
