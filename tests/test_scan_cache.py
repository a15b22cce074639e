import os
import shutil
import sqlite3
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tree_sitter
from conftest import MakeRepo
from scanned import CODE, KEY, Refusing

import codebyte
import codebyte.indexer
from codebyte.errors import CheckpointError
from codebyte.tasks import bugs
from codebyte.tasks.findings import FileReport, Finding, Repair
from codebyte.tasks.scan_cache import ScanCache, _code_id, model_id, pack, unpack
from codebyte.tasks.scan_targets import open_tree
from codebyte.tasks.scan_workers import Scorer
from codebyte.tasks.scanning import scan_tree

REPORT = FileReport(
    path="caf\u00e9.py",
    language="python",
    suspicion=0.25,
    bits_per_byte=1.5,
    lines=np.array([0.5, 0.125, 1e-8], np.float32),
    bits=np.array([0.0, 0.0625, 7.5, 15.9375, 40.0], np.float32),
    findings=(
        Finding(
            rule="CB102",
            path="caf\u00e9.py",
            line=2,
            column=3,
            end_column=5,
            suspicion=0.3,
            message="m",
            reasons=("one", "two"),
            repair=Repair(start=1, end=3, replacement=b"\x00\xff<", gain_bits=3.25),
        ),
    ),
)
SKIPPED = replace(REPORT, skipped="binary", bits=None, findings=(), lines=np.zeros(0, np.float32))


def same(a: FileReport | None, b: FileReport) -> None:
    assert a is not None
    np.testing.assert_array_equal(a.lines, b.lines)
    plain = {"lines": None, "bits": None}
    assert replace(a, **plain) == replace(b, **plain)


@pytest.mark.parametrize("report", [REPORT, SKIPPED])
def test_a_report_comes_back_as_it_was_kept(report: FileReport) -> None:
    found = unpack(pack(report))
    same(found, report)
    assert found is not None
    if report.bits is None:
        assert found.bits is None
    else:
        # Kept in sixteenths of a bit, and none above 255 of them.
        np.testing.assert_array_equal(found.bits, [0.0, 0.0625, 7.5, 15.9375, 15.9375])


@pytest.mark.parametrize("damage", [b"", b"x" * 40, pack(REPORT)[:-9]])
def test_damaged_reports_are_none(damage: bytes) -> None:
    assert unpack(damage) is None


def test_a_report_is_found_by_all_that_it_depends_on(tmp_path: Path) -> None:
    with ScanCache("model", tmp_path) as cache:
        cache.put("/src", "a.py", "oid", "", REPORT)
        assert cache.get("/src", "b.py", "oid", "") is None
        assert cache.get("/src", "a.py", "other", "") is None
        assert cache.get("/src", "a.py", "oid", "old") is None
        assert cache.get("/src", "a.pyoid", "", "") is None
        assert cache.get("/other", "a.py", "oid", "") is None
    with ScanCache("model", tmp_path) as cache:
        same(cache.get("/src", "a.py", "oid", ""), REPORT)
    with ScanCache("another", tmp_path) as cache:
        assert cache.get("/src", "a.py", "oid", "") is None


def test_the_code_is_known_by_its_content_and_the_grammars_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexer = tmp_path / "indexer"
    shutil.copytree(Path(str(codebyte.indexer.__file__)).parent, indexer)
    for file in indexer.glob("*.py"):
        os.utime(file, (1, 1))
    first = _code_id()
    monkeypatch.setattr(codebyte.indexer, "__file__", str(indexer / "__init__.py"))
    assert _code_id() == first
    languages = indexer / "languages.py"
    languages.write_bytes(languages.read_bytes().replace(b"a", b"b", 1))
    other = _code_id()
    assert other != first
    (tmp_path / "tree_sitter_go-9.9.dist-info").mkdir()
    monkeypatch.setattr(tree_sitter, "__file__", str(tmp_path / "tree_sitter" / "__init__.py"))
    assert _code_id() != other


def test_two_scans_can_share_a_cache(tmp_path: Path) -> None:
    with ScanCache("model", tmp_path) as one, ScanCache("model", tmp_path) as two:
        one.put("/src", "a.py", "1", "", REPORT)
        two.put("/src", "b.py", "2", "", SKIPPED)
        same(two.get("/src", "a.py", "1", ""), REPORT)
        same(one.get("/src", "b.py", "2", ""), SKIPPED)


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be read as one" * 99])
def test_a_damaged_file_is_started_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scan.sqlite3").write_bytes(content)
    with ScanCache("model", tmp_path) as cache:
        assert cache.problem is None
        cache.put("/src", "a.py", "1", "", REPORT)
        same(cache.get("/src", "a.py", "1", ""), REPORT)


def test_a_cache_that_cannot_be_used_is_an_empty_one_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with ScanCache("model", tmp_path / "file") as cache:
        cache.put("/src", "a.py", "1", "", REPORT)
        assert cache.get("/src", "a.py", "1", "") is None
        assert cache.problem is not None
        assert str(tmp_path / "file") in cache.problem


def test_what_was_unused_for_longest_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    large = replace(REPORT, bits=rng.random(20_000).astype(np.float32) * 15)
    with ScanCache("model", tmp_path) as cache:
        for i in range(20):
            cache.put("/src", "a.py", str(i), "", large)
    with sqlite3.connect(tmp_path / "scan.sqlite3") as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM reports")]
        rows = ((i, key) for i, key in enumerate(keys))
        connection.executemany("UPDATE reports SET used = ? WHERE key = ?", rows)
    connection.close()
    monkeypatch.setattr("codebyte.tasks.scan_cache.LARGEST", 100_000)
    ScanCache("model", tmp_path).__exit__(None, None, None)
    with sqlite3.connect(tmp_path / "scan.sqlite3") as connection:
        left = {key for (key,) in connection.execute("SELECT key FROM reports")}
    connection.close()
    assert left == set(keys[10:])


def test_no_secret_that_a_repair_would_move_gets_into_the_cache(
    tmp_path: Path, tiny_model: codebyte.Megabyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = KEY.split(b'"')[1]
    source = CODE + b'f("%s", "x")\n' % secret
    start, end = len(CODE) + 2, len(source) - 2
    swap = Finding(
        rule="CB105",
        path="a.py",
        line=12,
        column=3,
        end_column=end - start + 3,
        suspicion=0.9,
        message=f"`{source[start:end].decode()}`",
        reasons=(),
        repair=Repair(start=start, end=end, replacement=b'"x", "%s"' % secret, gain_bits=9.0),
    )
    real = bugs.scan_file

    def found(*given: object, **named: object) -> FileReport:
        return replace(real(*given, **named), findings=(swap,))  # type: ignore[arg-type]

    monkeypatch.setattr(bugs, "scan_file", found)
    (tmp_path / "a.py").write_bytes(source)
    with ScanCache("model", tmp_path / "cache") as cache:
        scorer = Scorer(model=tiny_model, repairs=False)
        result = scan_tree(open_tree(tmp_path / "a.py"), scorer, cache=cache)
    assert {p.finding.rule for p in result.places} == {"CB105", "CB205"}
    with sqlite3.connect(tmp_path / "cache" / "scan.sqlite3") as connection:
        ((kept,),) = connection.execute("SELECT report FROM reports")
    connection.close()
    assert b"CB105" in zlib.decompress(kept)
    assert secret not in zlib.decompress(kept)


def test_a_file_by_itself_is_not_what_it_is_among_others(
    tmp_path: Path, make_repo: MakeRepo, tiny_model: codebyte.Megabyte
) -> None:
    repo = make_repo(tmp_path / "repo", {"src/a.py": CODE, "src/b.py": CODE, "c.py": CODE})
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.py").write_bytes(CODE)
    places = [
        repo,
        repo / "src",
        repo / "src" / "a.py",
        tmp_path / "plain",
        tmp_path / "plain" / "a.py",
    ]
    with ScanCache("model", tmp_path / "cache") as cache:
        for place in places:
            scorer = Scorer(model=tiny_model, repairs=False)
            assert scan_tree(open_tree(place), scorer, cache=cache).from_cache == 0
        for place in places:
            tree = open_tree(place)
            assert scan_tree(tree, Refusing(), cache=cache).from_cache == len(tree.targets)


def test_a_model_is_known_by_its_content(tmp_path: Path, tiny_model: codebyte.Megabyte) -> None:
    codebyte.save(tiny_model, tmp_path / "a")
    codebyte.save(tiny_model, tmp_path / "b")
    first = model_id(tmp_path / "a")
    assert model_id(tmp_path / "b") == first
    assert model_id(tmp_path / "b" / "model.safetensors") == first
    next(tiny_model.parameters()).data.add_(1)
    codebyte.save(tiny_model, tmp_path / "b")
    assert model_id(tmp_path / "b") != first
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        model_id(tmp_path / "c")
