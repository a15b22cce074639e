"""What files say for their pieces, beside their words."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from codebyte.indexer.evidence import EVIDENCE, FileEvidence
from codebyte.indexer.history import History
from codebyte.indexer.lexical import Fields, LexicalIndex

FILES = [
    ("src/a.py", "python", "one"),
    ("src/b.c", "c", "one"),
    ("tests/test_a.py", "python", "one"),
    ("README.md", "markdown", "one"),
    ("src/a.py", "python", "two"),
]
OF = [0, 0, 0, 1, 2, 3, 4]  # the file of each document


def gathered(histories: dict[str, History] | None = None) -> tuple[LexicalIndex, FileEvidence]:
    index = LexicalIndex()
    documents = [
        Fields(symbol="", path=FILES[file][0], signature="", body=b"word%d" % i)
        for i, file in enumerate(OF)
    ]
    index.add(range(len(OF)), documents)
    catalog: Any = SimpleNamespace(ids=np.arange(len(OF)), file_of=np.array(OF), files=FILES)
    return index, FileEvidence(index, catalog, histories or {})


def column(kind: str, of: FileEvidence, index: LexicalIndex, **more: Any) -> list[float]:
    terms = more.get("terms", {"word1": 1.0})
    dense = more.get("dense")
    ids, found = of.of(terms, index.statistics(terms), index.scores(terms), dense)
    assert ids.tolist() == list(range(len(OF)))
    return [float(it) for it in found[:, EVIDENCE.index(kind)]]


def test_shares_of_language_and_folder_are_those_of_the_code_of_one_repository() -> None:
    index, evidence = gathered()
    # Code of the first: five pieces, four of them Python; without tests four, all in src.
    assert column("language", evidence, index) == pytest.approx([0.8] * 3 + [0.2, 0.8, 0, 1])
    assert column("folder", evidence, index) == pytest.approx([1] * 4 + [0, 0, 1])


def test_history_counts_for_the_files_of_its_own_repository() -> None:
    told = [("word1 is retried", ["src/a.py", "gone.py"]), ("other things", ["src/b.c"])]
    index, evidence = gathered({"two": History.of(["head"], told)})
    found = column("history", evidence, index)
    assert found[:6] == [0] * 6
    assert found[6] > 0


def test_the_beginning_is_the_first_document_of_a_file_where_its_vector_is_known() -> None:
    index, evidence = gathered()
    near = (np.array([5, 0, 1, 6]), np.array([0.5, 0.25, 0.75, 0.125], np.float32))
    found = column("beginning", evidence, index, dense=near)
    assert found == [0.25] * 3 + [-1, -1, 0.5, 0.125]
    assert column("beginning", evidence, index) == [-1] * 7


def test_cover_is_what_the_best_document_of_a_file_says_of_the_question() -> None:
    index, evidence = gathered()
    terms = {"word1": 1.0, "word2": 1.0, "word3": 2.0}
    assert column("cover", evidence, index, terms=terms) == pytest.approx(
        [0.25] * 3 + [0.5] + [0] * 3
    )
