import base64
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import git
import numpy as np
import pytest
from conftest import KEPT, LEFT_OUT, MakeRepo
from scanned import CODE, KEY, Interrupted, Refusing
from test_scan_changes import commit

import codebyte
from codebyte.errors import CheckpointError, RepoError
from codebyte.indexer.filters import skip_content
from codebyte.tasks import bugs, scan_workers
from codebyte.tasks.rules import Level, is_payload, level_of
from codebyte.tasks.scan_cache import ScanCache
from codebyte.tasks.scan_config import ScanConfig
from codebyte.tasks.scan_results import ScanResult
from codebyte.tasks.scan_targets import open_tree
from codebyte.tasks.scan_workers import Context, Job, Scorer, score
from codebyte.tasks.scanning import scan_text, scan_tree
from codebyte.tasks.usage import Usage

Scan = Callable[..., ScanResult]


@pytest.fixture
def scorer(tiny_model: codebyte.Megabyte) -> Scorer:
    return Scorer(model=tiny_model, repairs=False)


def test_code_is_scored_and_all_else_is_named_with_its_reason(
    tiny_repo: Path, scorer: Scorer
) -> None:
    result = scan_tree(open_tree(tiny_repo), scorer)
    scored = {f.report.path for f in result.files if f.report.skipped is None}
    assert scored == set(KEPT)
    reasons = {path: reason.partition(":")[0] for path, reason in result.skipped.items()}
    wanted = {path: reason for path, (reason, _) in LEFT_OUT.items()}
    assert reasons == wanted | {"src/__init__.py": "empty", "src/alias.py": "link"}
    assert result.scored_bytes == sum(map(len, KEPT.values()))
    suspicions = [file.report.suspicion for file in result.files]
    assert suspicions == sorted(suspicions, reverse=True)


def test_a_report_is_what_scoring_the_file_with_its_repository_counted_gives(
    tiny_repo: Path, tiny_model: codebyte.Megabyte, scorer: Scorer
) -> None:
    result = scan_tree(open_tree(tiny_repo), scorer, keep=1 << 20)
    (app,) = [file.report for file in result.files if file.report.path == "src/app.py"]
    usage = Usage()
    for data in KEPT.values():  # and nothing of what is left out
        usage.add(data)
    source = KEPT["src/app.py"]
    alone = bugs.scan_file(tiny_model, source, "src/app.py", repairs=False, usage=usage)
    assert [f for f in app.findings if not is_payload(f.rule)] == list(alone.findings)
    np.testing.assert_array_equal(app.lines, alone.lines)
    np.testing.assert_array_equal(app.bits, alone.bits)


def test_payloads_stand_beside_bugs_also_in_files_that_are_not_scored(
    tmp_path: Path, scorer: Scorer
) -> None:
    (tmp_path / "a.py").write_bytes(CODE + KEY)
    (tmp_path / "config.json").write_bytes(b'{"x": ' + KEY.partition(b" = ")[2] + b"}")
    result = scan_tree(open_tree(tmp_path), scorer)
    found = {p.finding.path: p.finding for p in result.places if p.finding.rule == "CB205"}
    assert found["a.py"].line == 12
    assert found.keys() == {"a.py", "config.json"}
    assert result.skipped == {"config.json": "not source"}


def test_a_text_by_itself_is_reported_as_a_tree_with_nothing_else(
    tmp_path: Path, tiny_model: codebyte.Megabyte
) -> None:
    texts = {
        "a.py": CODE + KEY,
        "silenced.py": CODE + KEY.rstrip() + b"  # codebyte: ignore[CB205]\n",
        "config.json": b'{"x": ' + KEY.partition(b" = ")[2].rstrip() + b"}\n",
        "empty.py": b"",
    }
    keys = {}
    for path, data in texts.items():
        folder = tmp_path / path / "tree"
        folder.mkdir(parents=True)
        (folder / path).write_bytes(data)
        found = scan_text(tiny_model, data, path)
        assert list(found) == scan_tree(open_tree(folder), Scorer(model=tiny_model)).places
        keys[path] = [place.finding.line for place in found if place.finding.rule == "CB205"]
    assert keys == {"a.py": [12], "silenced.py": [], "config.json": [1], "empty.py": []}


def test_with_a_base_only_changed_lines_are_reported(
    tmp_path: Path, make_repo: MakeRepo, scorer: Scorer
) -> None:
    files = {"a.py": CODE + KEY, "same.py": CODE + KEY, "gone.py": CODE}
    folder = make_repo(tmp_path / "repo", files)
    (folder / "a.py").write_bytes(KEY + CODE + KEY)
    (folder / "gone.py").unlink()
    (folder / "new.py").write_bytes(CODE + KEY)
    for revision in (None, "HEAD"):
        result = scan_tree(open_tree(folder, revision), scorer, base="HEAD")
        keys = {
            (p.finding.path, p.finding.line) for p in result.places if p.finding.rule == "CB205"
        }
        lines = {p.finding.line for p in result.places if p.finding.path == "a.py"}
        if revision is None:
            assert keys == {("a.py", 1), ("new.py", 12)}
            assert lines <= {1, 13}
            assert {file.report.path for file in result.files} == {"a.py", "new.py"}
            assert (result.unchanged, len(result.base or "")) == (1, 40)
        else:
            assert (result.files, result.unchanged) == ([], 3)
    base = git.Repo(folder).head.commit.hexsha
    commit(folder)
    committed = scan_tree(open_tree(folder, "HEAD"), scorer, base=base)
    again = scan_tree(open_tree(folder), scorer, base=base)
    assert [p.fingerprint for p in committed.places] == [p.fingerprint for p in again.places]
    with pytest.raises(RepoError, match="no revision 'never'"):
        scan_tree(open_tree(folder), scorer, base="never")
    (tmp_path / "plain").mkdir()
    with pytest.raises(RepoError, match="is in no git repository"):
        scan_tree(open_tree(tmp_path / "plain"), scorer, base="HEAD")


def test_a_key_that_was_changed_inside_is_reported(
    tmp_path: Path, make_repo: MakeRepo, scorer: Scorer
) -> None:
    key = b"-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n"
    lines = base64.encodebytes(random.Random(1).randbytes(900))
    folder = make_repo(tmp_path / "repo", {"server.pem": key % lines})
    (folder / "server.pem").write_bytes(key % lines.swapcase())
    (place,) = scan_tree(open_tree(folder), scorer, base="HEAD").places
    assert (place.finding.rule, level_of(place.finding)) == ("CB205", Level.ERROR)


def test_a_new_secret_is_reported_beside_many_that_are_silenced(
    tmp_path: Path, scorer: Scorer
) -> None:
    silenced = KEY.rstrip() + b"  # codebyte: ignore[CB205]\n"
    new = KEY.replace(b"q7Zt0p", b"Pq7Zt0")  # no more suspicious than the others
    (tmp_path / "a.py").write_bytes(silenced * 5 + new)
    result = scan_tree(open_tree(tmp_path), scorer)
    assert [p.finding.line for p in result.places if p.finding.rule == "CB205"] == [6]
    assert result.suppressed == 5


def test_a_second_scan_scores_only_what_changed(
    tmp_path: Path, scorer: Scorer, tiny_model: codebyte.Megabyte
) -> None:
    for i in range(4):
        (tmp_path / f"f{i}.py").write_bytes(CODE + b"x = %d\n" % i + KEY)

    def scanned(by: Scorer) -> ScanResult:
        with ScanCache("model", tmp_path / "cache") as cache:
            tree = open_tree(tmp_path)
            tree.targets = [t for t in tree.targets if t.path.endswith(".py")]
            return scan_tree(tree, by, cache=cache, keep=1 << 20)

    first = scanned(scorer)
    second = scanned(Refusing())
    assert (first.from_cache, second.from_cache) == (0, 4)
    assert second.places == first.places
    for a, b in zip(first.files, second.files, strict=True):
        assert (a.report.path, a.data) == (b.report.path, b.data)
        np.testing.assert_array_equal(a.report.lines, b.report.lines)
    (tmp_path / "f2.py").write_bytes(CODE)
    assert scanned(scorer).from_cache == 3
    (tmp_path / "f0.py").rename(tmp_path / "g.py")
    assert scanned(scorer).from_cache == 3


def test_what_was_scored_before_an_interrupt_is_kept(tmp_path: Path, scorer: Scorer) -> None:
    for i in range(5):
        (tmp_path / f"f{i}.py").write_bytes(CODE + b"x = %d\n" % i)
    with ScanCache("model", tmp_path / "cache") as cache:
        part = scan_tree(open_tree(tmp_path), Interrupted(scorer, 2), cache=cache)
    assert part.interrupted
    assert {file.report.path for file in part.files} == {"f0.py", "f1.py"}
    with ScanCache("model", tmp_path / "cache") as cache:
        tree = open_tree(tmp_path)
        tree.targets = [t for t in tree.targets if t.path.endswith(".py")]
        assert scan_tree(tree, scorer, cache=cache).from_cache == 2


def test_one_file_that_cannot_be_scored_does_not_cost_the_others(
    tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.py").write_bytes(CODE)
    (tmp_path / "b.py").write_bytes(CODE + b"# bad\n")
    real = bugs.scan_file

    def sometimes(model: object, source: bytes, *rest: object, **named: object) -> object:
        if b"bad" in source:
            raise ValueError("no\nway")
        return real(model, source, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(bugs, "scan_file", sometimes)
    result = scan_tree(open_tree(tmp_path), scorer)
    assert {file.report.path for file in result.files} == {"a.py", "c.py"}
    assert result.problems == {"b.py": "failed: ValueError: no"}

    def never(*_: object, **__: object) -> object:
        raise CheckpointError("the tables are missing")

    monkeypatch.setattr(bugs, "scan_file", never)
    with pytest.raises(CheckpointError, match="the tables are missing"):
        scan_tree(open_tree(tmp_path), scorer)


def test_files_that_cannot_be_read_are_named(tmp_path: Path, scorer: Scorer) -> None:
    for name in "abc":
        (tmp_path / f"{name}.py").write_bytes(CODE)
    tree = open_tree(tmp_path)
    (tmp_path / "a.py").unlink()
    (tmp_path / "b.py").unlink()
    (tmp_path / "b.py").mkdir()
    result = scan_tree(tree, scorer)
    assert [file.report.path for file in result.files] == ["c.py"]
    assert result.problems.keys() == {"a.py", "b.py"}
    assert result.problems["a.py"] == "unreadable: No such file or directory"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x00\x01\x02" * 100, "binary"),
        (b"\xff\xfe" + CODE.decode().encode("utf-16-le"), "binary"),
        (b"def f(:\n" + CODE * 3 + b"    ((((\n", None),
        (CODE.replace(b"json", "\u00e4\u00f6\u00fc".encode("latin-1")), None),
        (b"\xef\xbb\xbf" + CODE.replace(b"\n", b"\r\n"), None),
        (CODE.rstrip(b"\n"), None),
    ],
)
def test_bad_input_is_scored_or_named(
    tmp_path: Path, scorer: Scorer, content: bytes, reason: str | None
) -> None:
    (tmp_path / "odd.py").write_bytes(content)
    (tmp_path / "fine.py").write_bytes(CODE)
    result = scan_tree(open_tree(tmp_path), scorer)
    assert result.skipped == ({"odd.py": reason} if reason else {})
    scored = {file.report.path for file in result.files if file.report.skipped is None}
    assert scored == {"fine.py"} | (set() if reason else {"odd.py"})


def test_a_file_of_200_megabytes_takes_no_memory(tmp_path: Path, scorer: Scorer) -> None:
    with (tmp_path / "huge.py").open("wb") as file:
        file.truncate(200 << 20)
    with (tmp_path / "large.py").open("wb") as file:
        file.write(CODE * 4000)
    (tmp_path / "fine.py").write_bytes(CODE)
    tracemalloc.start()
    result = scan_tree(open_tree(tmp_path), scorer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.problems["huge.py"] == "too big: 200 MiB, and at most 16 are read"
    assert result.problems["large.py"].startswith("too big: 910 KiB, and at most")
    assert [file.report.path for file in result.files] == ["fine.py"]
    assert peak < 60 << 20


def test_settings_leave_out_files_and_rules_and_known_findings_are_not_repeated(
    tmp_path: Path, scorer: Scorer
) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.py").write_bytes(CODE + KEY)
    (tmp_path / "b.py").write_bytes(CODE + KEY + b"# codebyte: ignore[CB205]\n" + KEY)
    tree = open_tree(tmp_path)
    first = scan_tree(tree, scorer, config=ScanConfig(exclude=("made/",)))
    keys = [place for place in first.places if place.finding.rule == "CB205"]
    assert [(place.finding.path, place.finding.line) for place in keys] == [("b.py", 12)]
    assert first.suppressed == 1
    assert first.skipped == {"made/a.py": "excluded"}
    off = scan_tree(tree, scorer, config=ScanConfig(disable=("CB205",)))
    assert {p.finding.rule for p in off.places} & {"CB205"} == set()
    again = scan_tree(tree, scorer, known=frozenset(place.fingerprint for place in keys))
    left = {p.finding.path for p in again.places if p.finding.rule == "CB205"}
    assert (left, again.known) == ({"made/a.py"}, 1)


def test_only_the_most_suspicious_files_keep_their_bytes(tmp_path: Path, scorer: Scorer) -> None:
    for i in range(9):
        (tmp_path / f"f{i}.py").write_bytes(CODE + b"# %d\n" % i * (i + 1))
    room = 3 * len(CODE) + 200
    result = scan_tree(open_tree(tmp_path), scorer, keep=room)
    kept = [file.data is not None and file.report.bits is not None for file in result.files]
    assert kept == [True] * 3 + [False] * 6
    assert all(f.data is None for f in scan_tree(open_tree(tmp_path), scorer).files)


def test_the_function_and_the_tree_give_the_same_reports(
    tmp_path: Path, tiny_model: codebyte.Megabyte
) -> None:
    (tmp_path / "a.py").write_bytes(CODE + KEY)
    (tmp_path / "b.py").write_bytes(CODE)
    reports = bugs.scan(tiny_model, tmp_path)
    assert {report.path for report in reports} == {"a.py", "b.py"}
    assert all(report.bits is not None for report in reports)
    whole = scan_tree(open_tree(tmp_path), Scorer(model=tiny_model))
    assert [report.findings for report in reports] == [f.report.findings for f in whole.files]


def test_progress_moves_to_its_end(tmp_path: Path, scorer: Scorer) -> None:
    for i in range(4):
        (tmp_path / f"f{i}.py").write_bytes(CODE)
    told: list[tuple[str, int, int]] = []
    scan_tree(open_tree(tmp_path), scorer, progress=lambda *args: told.append(args))
    total = 4 * len(CODE)
    assert [step for step in told if step[0] == "scoring"] == [
        ("scoring", done * len(CODE), total) for done in range(5)
    ]
    assert told[3] == ("reading", total, total)


@pytest.mark.slow
def test_several_processes_give_what_one_gives_and_survive_the_death_of_one(
    tmp_path: Path, tiny_model: codebyte.Megabyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    codebyte.save(tiny_model, tmp_path / "model")
    monkeypatch.setattr(scan_workers, "WORTH_PROCESSES", 0)
    jobs = [Job(path=f"f{i}.py", data=CODE + b"# %d\n" % i + KEY, oid="") for i in range(4)]
    several = Scorer(checkpoint=str(tmp_path / "model"), jobs=2, repairs=False)
    several.start(lambda: [], 1)
    try:
        reports = {}
        for job, report in several.run(jobs):
            reports[job.path] = report
            if len(reports) == 1:
                assert several._pool is not None
                for process in several._pool._processes.values():
                    process.kill()
    finally:
        several.stop()
    assert reports.keys() == {job.path for job in jobs}
    for job in jobs:
        alone = score(tiny_model, Context(usage=Usage(), repairs=False), job)
        assert reports[job.path].findings == alone.findings
        np.testing.assert_allclose(reports[job.path].lines, alone.lines, atol=1e-6)


def test_a_model_that_a_process_cannot_load_ends_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = CheckpointError("cut short")
    monkeypatch.setattr(scan_workers, "_here", {"problem": problem})
    with pytest.raises(CheckpointError, match="cut short"):
        scan_workers._score_here(Job(path="a.py", data=CODE, oid=""))


def test_the_small_tree_of_these_tests_is_worth_scoring() -> None:
    assert skip_content(CODE, "python") is None
