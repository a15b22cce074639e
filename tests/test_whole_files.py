"""What the words of whole files say of a question."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import MakeRepo
from indexed import commit

from codebyte.indexer.index import CodeIndex
from codebyte.indexer.lexical import Fields, LexicalIndex
from codebyte.indexer.ranking import Rules
from codebyte.indexer.whole_files import BEGINNING, SATURATED, USUAL, WholeFiles

BODIES = {2: b"open the socket", 5: b"close", 9: b"open and open again", 11: b"socket"}
FILES = [0, 0, 1, 2]  # of each
PLACES = [(path, "python", "r") for path in ("a.py", "open.py", "b.py")]
PATHS = ["a.py", "a.py", "open.py", "b.py"]  # of each


def document(path: str, body: bytes) -> Fields:
    return Fields(symbol="", path=path, signature="", body=body)


def built(bodies: dict[int, bytes], files: list[int]) -> tuple[LexicalIndex, WholeFiles]:
    index = LexicalIndex()
    index.add(list(bodies), map(document, PATHS, bodies.values()))
    catalog: Any = SimpleNamespace(
        ids=np.array(list(bodies)), file_of=np.array(files), files=PLACES
    )
    return index, WholeFiles(index, catalog)


def test_a_file_has_the_textbook_score_of_its_body_and_some_of_its_first_document() -> None:
    index, files = built(BODIES, FILES)
    terms = {"open": 1.0, "socket": 2.0}
    counted, single = index.statistics(terms), index.scores(terms)
    found = files.scores(terms, counted, single)
    usual = USUAL * counted.lengths[3] / 4

    def part(often: int, length: int) -> float:
        return often / (often + SATURATED * (0.25 + 0.75 * length / usual))

    rarity = math.log1p((4 - 2 + 0.5) / (2 + 0.5))  # each word is in two of four documents
    lengths = {name: index.bodies()[1][place] for place, name in enumerate(BODIES)}
    own = dict(zip(single[0].tolist(), single[1].tolist(), strict=True))
    together = lengths[2] + lengths[5]
    expected = [
        rarity * 3 * part(1, together) + BEGINNING * own[2],
        rarity * part(2, lengths[9]) + BEGINNING * own[9],
        rarity * 2 * part(1, lengths[11]) + BEGINNING * own[11],
    ]
    assert found[:, 0].tolist() == pytest.approx(expected, rel=1e-5)
    assert found[:, 1].tolist() == pytest.approx([1, 1 / 3, 2 / 3])  # the best document of each


def test_removed_documents_say_nothing_and_have_no_length() -> None:
    more = {**BODIES, 20: b"open a socket or two", 21: b"open"}
    changed = LexicalIndex()
    changed.add(list(more), map(document, [*PATHS, "open.py", "c.py"], more.values()))
    changed.remove([20, 21])
    catalog: Any = SimpleNamespace(
        ids=np.array(list(BODIES)), file_of=np.array(FILES), files=PLACES
    )
    anew, files = built(BODIES, FILES)
    terms = {"open": 1.0, "socket": 1.0}
    left, right = (
        it.scores(terms, index.statistics(terms), index.scores(terms))
        for it, index in ((WholeFiles(changed, catalog), changed), (files, anew))
    )
    np.testing.assert_array_equal(left, right)


def test_words_that_functions_of_a_file_share_out_find_the_file(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    words = [b"quota", b"invoice", b"refund", b"ledger"]
    apart = b"".join(b"def f_%s(a):\n    return %s(a)\n\n\n" % (it[:1], it) for it in words)
    one = b"def helper(a):\n    return quota(a) + invoice(a)\n"
    noise = {f"src/n{i}.py": b"def other_%d():\n    return %d\n" % (i, i) for i in range(8)}
    folder = make_repo(tmp_path / "r", {"src/apart.py": apart, "src/one.py": one, **noise})
    text = "how quota, invoice, refund and ledger go together"
    chunks_alone = replace(Rules(), second=0.0, whole=0.0, history=0.0)
    with CodeIndex() as index:
        index.update(folder)
        assert index.search(text, 1, rules=chunks_alone)[0].path == "src/one.py"
        lifted = replace(chunks_alone, whole=3.3)
        assert index.search(text, 1, rules=lifted)[0].path == "src/apart.py"
        commit(folder, {"src/apart.py": b"def nothing():\n    return 0\n"})
        index.update(folder)
        assert index.search(text, 1, rules=lifted)[0].path == "src/one.py"
