import random
from pathlib import Path

import numpy as np
import pytest
from test_counterfactual import MODELS
from test_mutations import SOURCE

from codebyte.errors import CheckpointError
from codebyte.tasks.bugs import scan_file
from codebyte.tasks.edit import Edit
from codebyte.tasks.first_pass import FirstPass, load_first_pass
from codebyte.tasks.fitted import weights_id
from codebyte.tasks.injection import KINDS, inject
from codebyte.tasks.known import Known, Wrong, mends
from codebyte.tasks.skim import COST, EDIT, MOST_BITS, Skim
from codebyte.tasks.suspicion import PACKAGED, load_judge
from codebyte.tasks.usage import RUNS, Usage, numbers, run_hashes, tokenize

TWICE = (
    b"def f(a, b):\n    if len(a) > b:\n        return a\n    if len(b) > b:\n        return c\n"
)


def test_tokens_cover_all_that_is_no_space_and_are_the_same_in_any_layout() -> None:
    source = b'x  = f(1.5, "a b")  # no\n\n\n\ty!==\xc3\xa9\n'
    tokens = tokenize(source)
    covered = b"".join(source[a:b] for a, b in zip(tokens.starts, tokens.ends, strict=True))
    assert covered.replace(b" ", b"").split() == source.replace(b" ", b"").split()
    one, other = numbers(b"a = (b,\n      c)\n"), numbers(b"a=( b ,\n\n c )\n")
    np.testing.assert_array_equal(one[0], other[0])
    plain = [numbers(text)[1].tolist() for text in (b"rows >= 7", b"lines >= 89", b"rows >= 1")]
    assert plain[0] == plain[1] != plain[2]


def test_usage_counts_runs_and_forgets_what_is_taken_off() -> None:
    usage = Usage(bits=16)
    usage.add(b"a + b + a + b")
    usage.add(b"a + c")
    hashes = run_hashes(numbers(b"a +")[0], 2, False)
    assert usage.counts(hashes).tolist() == [3]
    usage.add(b"a + b + a + b", -1)
    assert usage.counts(hashes).tolist() == [1]
    assert usage.bytes == 5
    usage.add(b"a + c", -1)
    assert not usage.table.any()


def test_the_runs_of_a_text_have_as_many_hashes_as_it_has_runs() -> None:
    ids = numbers(b"a b c d")[0]
    for plain, length in RUNS:
        assert len(run_hashes(ids, length, plain)) == max(0, 5 - length)
    assert len(set(run_hashes(numbers(b"a b a b")[0], 2, False).tolist())) == 2


def test_an_edit_is_judged_by_what_stands_elsewhere_and_not_by_itself() -> None:
    skim = Skim(TWICE)
    place = TWICE.rindex(b"> b")
    kept, flipped, renamed = skim.edit_features(
        [
            Edit("operator", "", place, place + 1, b"=="),
            Edit("operator", "", place, place + 1, b"<"),
            Edit("name", "", place + 2, place + 3, b"zebra"),
        ]
    )
    column = {name: i for i, name in enumerate(EDIT)}
    # "> b :" stands in the other condition too; "< b :" nowhere.
    assert flipped[column["run of 3: old in file"]] == pytest.approx(2 / 3)
    assert flipped[column["run of 3: new in file"]] == 0
    assert flipped[column["run of 3: gain"]] < 0
    assert renamed[column["run of 1: new"]] == 0
    np.testing.assert_array_equal(kept[column["run of 1: old"]], flipped[column["run of 1: old"]])


def test_what_the_repository_says_counts_beside_what_the_file_says() -> None:
    usage, place = Usage(), TWICE.rindex(b"> b")
    usage.add(TWICE)
    usage.add(b"if len(b) < b:\n" * 7)
    edit = Edit("operator", "", place, place + 1, b"<")
    (alone,), (among,) = (Skim(TWICE, u).edit_features([edit]) for u in (None, usage))
    column = EDIT.index("run of 5: gain")
    assert among[column] >= 2 > 0 >= alone[column]
    assert among[EDIT.index("run of 5: new in file")] == 0


def test_insertions_deletions_and_swaps_are_judged_by_the_runs_across_them() -> None:
    source = b"if not a:\n    f(x, y)\nif a:\n    f(y, x)\nif a:\n    f(y, x)\n"
    swap, insert, delete = Skim(source).edit_features(
        [
            Edit("swap", "", source.index(b"x, y"), source.index(b"x, y") + 4, b"y, x"),
            Edit("negation", "insert", source.rindex(b"a:"), source.rindex(b"a:"), b"not "),
            Edit("negation", "delete", 3, 8, b"a"),
        ]
    )
    column = {name: i for i, name in enumerate(EDIT)}
    assert swap[column["run of 5: gain"]] > 1
    assert delete[column["run of 3: new"]] > delete[column["run of 3: old"]]
    assert insert[column["tokens taken out"]] == 0
    assert insert[column["tokens put in"]] == 1


def test_a_line_that_stands_nowhere_else_costs_more() -> None:
    source = b"total = total + 1\n" * 4 + b"zebra = quark * lemur\n" + b"total = total + 1\n" * 4
    starts = np.flatnonzero(np.frombuffer(b"\n" + source[:-1], np.uint8) == 10)
    costs = Skim(source).line_costs(starts)[:, COST.index("cost")]
    assert costs.argmax() == 4
    assert costs[4] > 3 * costs[5]
    bits = Skim(source).bits()
    assert len(bits) == len(source)
    assert 0 < bits[starts[4] : starts[5]].sum() <= costs[4] + 1e-3
    assert bits.max() <= MOST_BITS


@pytest.mark.parametrize("source", [b"", b"x", b"\n\n", b"\xff\xfe(((\n", b"a" * 5000])
@pytest.mark.parametrize("path", ["a.py", "a.js", "a.unknown"])
def test_anything_can_be_looked_at(source: bytes, path: str) -> None:
    look = load_first_pass().look(source, path)
    assert len(look.lines) == len(look.starts)
    assert len(look.bits) == len(source)
    assert np.isfinite(look.lines).all()


def test_the_first_look_finds_bugs_without_a_model() -> None:
    """Chance would find the line in a seventh of the cases, and an edit in a hundredth."""
    found = repaired = 0
    for i in range(30):
        case = inject(SOURCE * 2, "a.py", KINDS[i % 5], random.Random(i))
        assert case is not None
        look = load_first_pass().look(case.source, "a.py")
        wrong = Wrong(case.line, case.start, case.end, case.fix, True)
        rank = int((look.lines > look.lines[case.line - 1]).sum())
        found += rank < 5
        best = np.argsort(-look.odds)[:5]
        repaired += any(mends(case.source, look.edits[j], wrong) for j in best)
    assert found >= 15
    assert repaired >= 10


def test_what_was_fitted_says_the_same_after_a_round_trip(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from codebyte.tasks.first_fit import fit_first_pass, skimmed

    read = []
    for i in range(16):
        case = inject(SOURCE, "a.py", KINDS[i % 5], random.Random(i))
        assert case is not None
        wrong = Wrong(case.line, case.start, case.end, case.fix, True)
        if i % 4 == 3:
            wrong = Wrong(4, 0, 0, None, False)
        one = skimmed(
            Known(repo=f"r{i % 5}", path="a.py", source=case.source, wrong=(wrong,)), None
        )
        assert one is not None
        read.append(one)
    fitted = fit_first_pass(read)
    again = FirstPass.from_dict(fitted.as_dict())
    one, other = (f.look(SOURCE, "a.py") for f in (fitted, again))
    np.testing.assert_allclose(one.lines, other.lines, atol=2e-3)
    file = tmp_path / "first_pass.json"
    file.write_text('{"format": 0}')
    with pytest.raises(CheckpointError, match="another version"):
        load_first_pass(file)


def test_the_model_reads_only_where_the_first_look_sees_something() -> None:
    judge, model = load_judge(), MODELS["quick"]
    source = b"".join(b"def f%d(a):\n    return a + %d\n\n\n" % (i, i) for i in range(200))
    assert len(source) > 5000
    every = judge.judge(model, source, "a.py")
    none = judge.judge(model, source, "a.py", least=2.0)
    assert every.read.all()
    assert not none.read.any()
    np.testing.assert_array_equal(none.lines, load_first_pass().look(source, "a.py").lines)
    some = judge.judge(model, source, "a.py", only={3})
    assert 0 < some.read.sum() < len(some.read)
    assert some.read[2]
    fast = scan_file(model, source, "a.py", repairs=False)
    assert all(finding.repair is None for finding in fast.findings)


def test_the_packaged_tables_were_fitted_on_the_packaged_weights() -> None:
    assert load_judge().model_id == weights_id(), "run benchmarks/fit_scan.py"
    assert PACKAGED.is_file()
