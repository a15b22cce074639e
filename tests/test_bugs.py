import random
from dataclasses import replace
from pathlib import Path

import git
import numpy as np
import pytest
from test_counterfactual import MODELS
from test_mutations import SOURCE

from codebyte.errors import CheckpointError
from codebyte.tasks.boosting import ranked
from codebyte.tasks.bugs import line_suspicion, scan, scan_file
from codebyte.tasks.calibration import deviations, usual, within
from codebyte.tasks.edit import Edit
from codebyte.tasks.findings import RULES, SURPRISING
from codebyte.tasks.first_pass import NO_EDIT
from codebyte.tasks.fitting import fit_signals
from codebyte.tasks.injection import KINDS, inject
from codebyte.tasks.judged import edit_odds
from codebyte.tasks.known import Known, Wrong, mends, signals
from codebyte.tasks.reasons import finding_of
from codebyte.tasks.surprise import SIGNALS, line_surprise
from codebyte.tasks.suspicion import Judge, load_judge
from codebyte.tasks.trees import Forest, Linear, Steps

MODEL = MODELS["quick"]
LONG = SOURCE * 3


def test_every_line_has_a_suspicion_and_only_code_has_some() -> None:
    for source in (b"", b"x = 1", SOURCE, SOURCE.replace(b"\n", b"\r\n"), b"\xff\xfe\n(((\n\n"):
        lines = line_suspicion(MODEL, source, "a.py")
        assert len(lines) == source.count(b"\n") + (not source.endswith(b"\n") and source != b"")
        assert ((lines >= 0) & (lines <= 1)).all()
    lines = line_suspicion(MODEL, SOURCE, "a.py")
    code = [bool(text.strip()) and b'"""' not in text for text in SOURCE.split(b"\n")[:-1]]
    assert (lines[~np.array(code)] == 0).all()
    assert (lines[np.array(code)] > 0).all()


@pytest.mark.parametrize("path", ["a.py", "a.js", "a.lua", "Makefile", "a.unknown"])
def test_any_language_and_none_is_judged(path: str) -> None:
    assert (line_suspicion(MODEL, SOURCE, path) > 0).any()


def test_findings_point_at_their_lines_and_repairs_at_their_bytes() -> None:
    report = scan_file(MODEL, LONG, "a.py")
    assert report.skipped is None
    assert len(report.lines) == LONG.count(b"\n")
    lines = LONG.split(b"\n")
    order = [finding.suspicion for finding in report.findings]
    assert order == sorted(order, reverse=True)
    for finding in report.findings:
        assert finding.rule in RULES
        assert finding.suspicion == pytest.approx(report.lines[finding.line - 1])
        assert 1 <= finding.column <= finding.end_column <= len(lines[finding.line - 1]) + 1
        if finding.repair is not None:
            repair = finding.repair
            assert LONG.count(b"\n", 0, repair.start) == finding.line - 1
            assert LONG[repair.start : repair.end] != repair.replacement
            assert repair.gain_bits > 0


def test_a_repair_gains_more_than_such_an_edit_does_in_good_code() -> None:
    judged = load_judge().judge(MODEL, LONG, "a.py")
    row = next(
        row
        for row in judged.edit_lines
        if finding_of(judged, LONG, "a.py", int(row), 0.5).repair is not None
    )
    assert finding_of(judged, LONG, "a.py", int(row), 0.5).rule != SURPRISING
    usual_edits = replace(judged, over=np.zeros_like(judged.over))
    finding = finding_of(usual_edits, LONG, "a.py", int(row), 0.5)
    assert finding.repair is None
    assert finding.rule == SURPRISING


def test_what_is_no_source_is_skipped_for_a_reason() -> None:
    assert scan_file(MODEL, b"\0" * 500, "a.py").skipped == "binary"
    assert scan_file(MODEL, b"x", "a.py").skipped == "too small"


def test_only_changed_lines_are_reported() -> None:
    report = scan_file(MODEL, LONG, "a.py", changed_lines={9, 10})
    assert set(np.flatnonzero(report.lines) + 1) <= {9, 10}
    assert {finding.line for finding in report.findings} <= {9, 10}


def test_against_an_old_text_only_the_rise_counts() -> None:
    case = inject(LONG, "a.py", "operator", random.Random(4))
    assert case is not None
    same = scan_file(MODEL, LONG, "a.py", old_source=LONG)
    assert not same.lines.any()
    new, old = (line_suspicion(MODEL, text, "a.py")[case.line - 1] for text in (case.source, LONG))
    report = scan_file(MODEL, case.source, "a.py", old_source=LONG)
    assert set(np.flatnonzero(report.lines) + 1) <= {case.line}
    assert report.lines[case.line - 1] <= new + 1e-6
    assert report.lines[case.line - 1] == pytest.approx(max(0.0, new - old), abs=0.05)


def test_a_repository_is_scanned_with_the_worst_file_first_and_against_a_base(
    tmp_path: Path,
) -> None:
    repo = git.Repo.init(tmp_path)
    (tmp_path / "good.py").write_bytes(SOURCE)
    (tmp_path / "other.py").write_bytes(SOURCE + SOURCE)
    repo.git.add(".")
    repo.git.execute(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"])
    reports = scan(MODEL, tmp_path)
    assert sorted(report.path for report in reports) == ["good.py", "other.py"]
    worst = [report.suspicion for report in reports]
    assert worst == sorted(worst, reverse=True)
    assert scan(MODEL, tmp_path, base="HEAD") == []


def test_bits_of_lines_are_sums_without_the_indent() -> None:
    source = b"  ab c\n\n\td"
    bits = np.arange(len(source), dtype=np.float32)
    table = line_surprise(source, bits, np.ones(len(source), np.float32))
    told = dict(zip(SIGNALS, table[0].tolist(), strict=True))
    assert told["bits"] == 2 + 3 + 4 + 5
    assert told["most bits in a token"] == 5  # "ab" has 2 + 3, "c" has 5
    assert told["excess"] == 14 - 4
    assert told["entropy"] == 4
    assert not table[1].any()
    assert table[2][0] == bits[-1]


def test_usual_values_are_drawn_to_the_mean_where_there_are_few() -> None:
    table = usual([("a", 2.0)] * 950 + [("b", 0.0)] * 50)
    assert table[""][0] == pytest.approx(1.9)
    assert table["b"][0] == pytest.approx(0.5 * 0.0 + 0.5 * 1.9)
    found = deviations(table, ["a", "none"], np.array([2.0, 1.9], np.float32))
    assert found[1] == pytest.approx(0.0, abs=1e-5)
    values = np.array([[1.0], [2.0], [3.0], [100.0]], np.float32)
    counted = np.array([True, True, True, False])
    assert within(values, counted)[:, 0].tolist() == [-1.0, 0.0, 1.0, 20.0]


def test_the_best_edits_of_a_line_speak_for_it() -> None:
    rows, scored = np.array([0, 0, 2]), np.array([0, 0])
    sight, odds = np.array([-1, -2, -3], np.float32), np.array([-4, 1], np.float32)
    table = edit_odds(3, rows, sight, scored, odds, np.array([5, 6], np.float32))
    assert table[0, :6].tolist() == [1, -4, -1, 2, 2, 6]
    assert table[2, :5].tolist() == [NO_EDIT, NO_EDIT, -3, 1, 0]
    assert table[1, 2] == NO_EDIT


def test_an_edit_mends_what_it_makes_right_however_it_is_cut() -> None:
    wrong = Wrong(1, 4, 6, b">=", True)
    assert mends(b"a = b <= c"[2:], Edit("bound", "", 4, 5, b">"), wrong)
    assert mends(b"if a <= c", Edit("operator", "", 5, 7, b">="), Wrong(1, 5, 7, b">=", True))
    assert not mends(b"if a <= c", Edit("operator", "", 5, 7, b"<"), Wrong(1, 5, 7, b">=", True))
    assert not mends(b"if a <= c", Edit("operator", "", 5, 7, b"<"), Wrong(1, 5, 7, None, False))


@pytest.fixture(scope="module")
def fitted() -> Judge:
    pytest.importorskip("sklearn")
    read = []
    for i in range(12):
        case = inject(SOURCE, "a.py", KINDS[i % 5], random.Random(i))
        assert case is not None
        wrong = (
            Wrong(case.line, case.start, case.end, case.fix, True),
            Wrong(4 + i % 3, 0, 0, None, False),
        )
        known = Known(repo=f"r{i % 5}", path="a.py", source=case.source, wrong=wrong)
        found = signals(MODEL, known, i)
        assert found is not None
        read.append(found)
    return fit_signals(read, "tiny")


def test_what_was_fitted_says_the_same_after_a_round_trip_and_as_scikit_learn(
    fitted: Judge,
) -> None:
    again = Judge.from_dict(fitted.as_dict())
    one, other = (j.judge(MODEL, SOURCE, "a.py") for j in (fitted, again))
    np.testing.assert_allclose(one.lines, other.lines, atol=2e-3)
    assert again.model_id == "tiny"


def test_states_of_a_model_of_another_shape_say_nothing(fitted: Judge) -> None:
    def lines(judge: Judge) -> np.ndarray:
        return judge.judge(MODEL, SOURCE, "a.py").lines

    other = Linear(0.0, np.zeros(3, np.float32), np.ones(3, np.float32))
    silent = replace(fitted.states, weight=np.zeros_like(fitted.states.weight))
    np.testing.assert_array_equal(
        lines(replace(fitted, states=other)), lines(replace(fitted, states=silent))
    )
    loud = replace(fitted.states, weight=np.ones_like(fitted.states.weight))
    assert (lines(replace(fitted, states=loud)) != lines(fitted)).any()


def test_a_line_that_the_states_find_likely_to_be_fixed_says_so(fitted: Judge) -> None:
    judged = fitted.judge(MODEL, LONG, "a.py")
    code = judged.read & judged.code
    assert np.log(judged.fixed_times[code]).mean() == pytest.approx(0, abs=1e-4)
    row = int(np.flatnonzero(code)[0])
    for times, said in ((2.9, False), (3.0, True)):
        judged.fixed_times[row] = times
        reasons = finding_of(judged, LONG, "a.py", row, 0.5).reasons
        assert any(f"{times:.1f} times as likely to be fixed" in it for it in reasons) == said


def test_a_sum_that_ranks_learns_what_differs_within_files_only() -> None:
    rng = np.random.default_rng(1)
    tables, right = [], []
    for i in range(60):
        table = rng.normal(size=(20, 3)).astype(np.float16)
        table[:, 1] = i  # the same in all of a file
        place = int(np.argmax(table[:, 0].astype(np.float32) + 0.1 * rng.normal(size=20)))
        tables.append(table)
        right.append(np.arange(20) == place)
    counted = [np.ones(20, bool)] * 60
    linear, odds = ranked(tables, right, np.arange(60) % 4, counted)
    assert linear.weight[0] > 3 * abs(linear.weight[2])
    assert abs(linear.weight[1]) < 1e-4
    firsts = [one[np.argmax(found)] for one, found in zip(right, odds, strict=True)]
    assert np.mean(firsts) > 0.8  # by what was fitted without the file


def test_trees_taken_out_of_scikit_learn_say_what_it_says() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    from codebyte.tasks.boosting import _forest

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    y = x[:, 0] * x[:, 1] > 0.2
    forest = _forest(x, y, 20, 6, 0.0)
    theirs = ensemble.HistGradientBoostingClassifier(
        max_iter=20,
        max_leaf_nodes=6,
        learning_rate=0.07,
        min_samples_leaf=20,
        l2_regularization=5.0,
        max_features=0.5,
        early_stopping=False,
        random_state=1,
    ).fit(x, y)
    np.testing.assert_allclose(forest.log_odds(x), theirs.decision_function(x), atol=1e-4)
    again = Forest.from_dict(forest.as_dict())
    np.testing.assert_allclose(again.log_odds(x), forest.log_odds(x), atol=5e-3)


def test_a_forest_ends_where_a_walk_from_each_root_ends() -> None:
    forest = Forest(
        base=0.5,
        roots=np.array([0, 5, 8]),
        feature=np.array([0, 0, 1, 0, 0, 1, 0, 0, 0]),
        threshold=np.array([1, 0, 2, 0, 0, 1, 0, 0, 0], np.float32),
        left=np.array([1, -1, 3, -1, -1, 6, -1, -1, -1]),
        right=np.array([2, -1, 4, -1, -1, 7, -1, -1, -1]),
        value=np.array([0, 1, 0, 2, 4, 0, 8, 16, 32], np.float32),
    )

    def walked(row: list[float], node: int) -> float:
        while forest.left[node] >= 0:
            left = row[forest.feature[node]] <= forest.threshold[node]
            node = int((forest.left if left else forest.right)[node])
        return float(forest.value[node])

    values = [-1.0, 1.0, 1.5, 2.0, 3.0, np.nan]  # at a threshold is to the left, NaN to the right
    rows = [[one, other] for one in values for other in values]
    expected = [0.5 + sum(walked(row, root) for root in (0, 5, 8)) for row in rows]
    assert forest.log_odds(np.array(rows, np.float32)).tolist() == expected


def test_steps_rise_and_the_sum_draws_large_values_in() -> None:
    steps = Steps.from_dict(Steps(np.array([0, 1, 3.0]), np.array([0, 0.5, 0.75])).as_dict())
    assert steps(np.array([-9, 0.5, 2, 9])).tolist() == pytest.approx([0, 0.25, 0.625, 0.75])
    linear = Linear(1.0, np.zeros(1, np.float32), np.ones(1, np.float32))
    assert linear.log_odds(np.array([[np.e - 1], [1 - np.e]])).tolist() == pytest.approx([2, 0])


def test_tables_of_another_version_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "scan.json"
    file.write_text('{"format": 0}')
    with pytest.raises(CheckpointError, match="another version"):
        load_judge(file)
    with pytest.raises(CheckpointError, match="holds no fitted scan"):
        load_judge(tmp_path / "none.json")
