import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codebyte.errors import InputError
from codebyte.tasks.baseline import read_baseline, write_baseline
from codebyte.tasks.findings import FileReport, Finding, Repair
from codebyte.tasks.places import Place, place_findings


def places(data: bytes, *findings: Finding) -> tuple[Place, ...]:
    report = FileReport(
        path="a.py",
        language="python",
        suspicion=0.5,
        bits_per_byte=1.0,
        lines=np.zeros(0, np.float32),
        bits=None,
        findings=findings,
    )
    return place_findings(report, data)


def finding(data: bytes, text: bytes, rule: str = "CB102", repair: bytes | None = None) -> Finding:
    """A finding at the last place where a text stands."""
    start = data.rindex(text)
    line_start = data.rfind(b"\n", 0, start) + 1
    edit = None
    if repair is not None:
        edit = Repair(start=start, end=start + len(text), replacement=repair, gain_bits=3.0)
    return Finding(
        rule=rule,
        path="a.py",
        line=data.count(b"\n", 0, start) + 1,
        column=start - line_start + 1,
        end_column=start - line_start + len(text) + 1,
        suspicion=0.5,
        message="m",
        reasons=(),
        repair=edit,
    )


def test_a_fingerprint_stays_while_its_line_moves_and_is_indented() -> None:
    data = b"import os\nif a <= b:\n    go()\n"
    (before,) = places(data, finding(data, b"<="))
    moved = b"# a\n# b\nif x:\n    if a <= b:\n        go()\n"
    (after,) = places(moved, finding(moved, b"<="))
    assert (before.finding.line, after.finding.line) == (2, 4)
    assert before.fingerprint == after.fingerprint
    assert len(before.fingerprint) == 32


def test_a_fingerprint_tells_rules_paths_lines_and_repeated_lines_apart() -> None:
    data = b"a <= b\nc <= d\na <= b\n"
    first = finding(data[:7], b"<=")
    found = places(data, first, finding(data[:14], b"<="), finding(data, b"<="))
    other = places(data, replace(first, rule="CB001"), replace(first, path="b.py"))
    assert len({place.fingerprint for place in (*found, *other)}) == 5
    # Which of two equal lines is the second does not depend on which is more suspicious.
    again = places(data, finding(data, b"<="), first)
    assert [p.fingerprint for p in again] == [found[2].fingerprint, found[0].fingerprint]


@pytest.mark.parametrize(
    ("line", "silenced"),
    [
        (b"x <= y  # codebyte: ignore", True),
        (b"x <= y  # codebyte: ignore[CB102]", True),
        (b"x <= y  # codebyte:ignore[ CB001 , CB102 ]", True),
        (b"x <= y  # codebyte: ignore[CB1]", True),
        (b"x <= y  # codebyte: ignore[CB101]", False),
        (b"x <= y  # codebyte: ignore[cb102]", True),
        (b"x <= y  # codebyte: ignore [CB102]", True),
        (b"x <= y  # codebyte: ignore[CB102", True),
        (b"x <= y  # codebyte: ignore[CB101", False),
        (b"x <= y  # codebyte: ignore[CB101, other-operator]", True),
        (b"x <= y  # codebyte: ignore[other-name]", False),
        (b"x <= y  # codebyte: ignore[CB101-CB106]", False),
        (b"x <= y  # codebyte: ignore[]", False),
        (b"x <= y  # codebyte: ignore[ , ]", False),
        (b"x <= y  # codebyte: ignore because it is so", True),
        (b"x <= y  # codebyte: ignored because it is so", False),
        (b"x <= y  # codebyte: ignore-all", False),
        (b"x <= y  // codebyte: ignore[CB102]", True),
        (b"x <= y  /* codebyte: ignore[CB102] */", True),
        (b"x <= y  -- codebyte: ignore[CB102]", True),
        (b"x <= y  <!-- codebyte: ignore[CB102] -->", True),
        (b"x <= y  ; codebyte: ignore[CB102]", True),
        (b"x <= y  # noqa # codebyte: ignore[CB102]", True),
        (b"x <= y  codebyte: ignore", False),
        (b"# codebyte: ignore[CB102]\nx <= y", True),
        (b"# codebyte: ignore[CB102]\n\nx <= y", False),
        (b"z()  # codebyte: ignore[CB102]\nx <= y", False),
        (b"# codebyte: ignore-file\nz()\n\nx <= y", True),
        (b"# codebyte: ignore-file[CB001]\nz()\n\nx <= y", False),
        (b"# codebyte: ignore-files\nz()\n\nx <= y", False),
        (b"z()  # codebyte: ignore-file\n[x <= y]", True),
        (b"\n" * 20 + b"# codebyte: ignore-file\nx <= y", False),
    ],
)
def test_comments_silence_findings(line: bytes, silenced: bool) -> None:
    (place,) = places(line + b"\n", finding(line, b"<="))
    assert place.suppressed is silenced


def test_columns_count_characters_and_the_repair_is_shown() -> None:
    data = "caf\u00e9 = 1\nr\u00e9sum\u00e9 = \U0001f600 <= b\r\nend\n".encode()
    (place,) = places(data, finding(data, b"<=", repair=b"<"))
    assert (place.column, place.end_column) == (12, 14)
    assert place.before == ("r\u00e9sum\u00e9 = \U0001f600 <= b",)
    assert place.after == ("r\u00e9sum\u00e9 = \U0001f600 < b",)
    assert place.edit is not None
    assert (place.edit.start_line, place.edit.start_column) == (2, 12)
    assert (place.edit.end_line, place.edit.end_column) == (2, 14)


def test_a_file_that_is_not_utf8_has_a_column_for_every_byte() -> None:
    data = b"caf\xe9 <= \xff\n"
    (place,) = places(data, finding(data, b"<=", repair=b"<"))
    assert (place.column, place.before) == (6, ("caf\u00e9 <= \u00ff",))
    assert place.after == ("caf\u00e9 < \u00ff",)


def test_a_repair_of_many_lines_shows_them_all() -> None:
    data = b"f(\n    b,\n    a,\n)\n"
    (place,) = places(data, finding(data, b"b,\n    a", repair=b"a,\n    b"))
    assert place.before == ("    b,", "    a,")
    assert place.after == ("    a,", "    b,")


def test_a_finding_that_does_not_fit_its_file_does_no_harm() -> None:
    wrong = replace(
        finding(b"x <= y", b"<="),
        line=9,
        repair=Repair(start=50, end=60, replacement=b"", gain_bits=1.0),
    )
    (place,) = places(b"x <= y\n", wrong)
    assert (place.before, place.edit, place.after) == (("",), None, None)


def test_a_line_of_a_megabyte_is_kept_in_part() -> None:
    data = b"x" * (1 << 20) + b" <= 1\n"
    (place,) = places(data, finding(data, b"<="))
    assert len(place.before[0]) <= 2000


@pytest.mark.parametrize("before", [0, 900, 1990, 2100, 50_000])
def test_what_is_kept_of_a_long_line_is_around_its_finding(before: int) -> None:
    line = "\u00e9" * before + "a <= b" + "y" * 3000
    data = f"def f():\n{line}\n".encode()
    (place,) = places(data, finding(data, b"<=", repair=b">"))
    assert place.column == before + 3
    start = place.column - 1 - place.offset
    assert place.before[0] == line[place.offset : place.offset + 2000]
    assert place.before[0][start - 2 : start + 4] == "a <= b"
    assert place.after is not None
    assert place.after[0][start - 2 : start + 3] == "a > b"


def test_a_baseline_holds_what_was_written(tmp_path: Path) -> None:
    data = b"a <= b\nc <= d\n"
    found = places(data, finding(data[:7], b"<="), finding(data, b"<="))
    file = tmp_path / "known.json"
    assert write_baseline(file, found) == 2
    assert read_baseline(file) == {place.fingerprint for place in found}
    listed = json.loads(file.read_text())["findings"][found[0].fingerprint]
    assert listed == {"rule": "CB102", "path": "a.py", "line": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["known.json"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"format": 2, "findings": {}}', b"\xff", b"[" * 9999]
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "known.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a codebyte baseline of format 1: write one with"):
        read_baseline(tmp_path / "known.json")


def test_a_baseline_that_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_baseline(tmp_path / "known.json")
    with pytest.raises(InputError, match="cannot be written: No such file"):
        write_baseline(tmp_path / "no" / "known.json", ())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_baseline(tmp_path / "file" / "known.json", ())
