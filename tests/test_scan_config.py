import re
from pathlib import Path

import pytest

from codebyte.errors import ConfigError, InputError
from codebyte.tasks.findings import RULES as NAMED
from codebyte.tasks.findings import Finding
from codebyte.tasks.rules import RULES, Level, level_of, parse_fail_on, reaches
from codebyte.tasks.scan_config import ScanConfig, load_config


def finding(rule: str = "CB101", suspicion: float = 0.5) -> Finding:
    return Finding(
        rule=rule,
        path="a.py",
        line=1,
        column=1,
        end_column=2,
        suspicion=suspicion,
        message="",
        reasons=(),
    )


SETTINGS = """
exclude = ["made/", "*.gen.py", "!keep.gen.py"]
disable = ["CB001", "CB2"]
thresholds = { CB1 = 0.4, CB101 = 0.6 }
fail-on = "warning"
baseline = "known.json"
"""
READ = ScanConfig(
    exclude=("made/", "*.gen.py", "!keep.gen.py"),
    disable=("CB001", "CB2"),
    thresholds={"CB1": 0.4, "CB101": 0.6},
    fail_on="warning",
    baseline="known.json",
)


@pytest.mark.parametrize(
    ("name", "head"), [("pyproject.toml", "[tool.codebyte.scan]"), ("codebyte.toml", "[scan]")]
)
def test_both_files_say_the_same(tmp_path: Path, name: str, head: str) -> None:
    assert load_config(tmp_path) == ScanConfig()
    (tmp_path / name).write_text(f"[tool.other]\nx = 1\n{head}{SETTINGS}")
    found = load_config(tmp_path)
    assert found.source == name
    assert {key: getattr(found, key) for key in ("exclude", "disable", "fail_on", "baseline")} == {
        key: getattr(READ, key) for key in ("exclude", "disable", "fail_on", "baseline")
    }
    assert found.thresholds == READ.thresholds


def test_codebyte_toml_comes_first_and_other_tables_are_no_concern(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.codebyte]\nother = 1\n")
    assert load_config(tmp_path) == ScanConfig()
    (tmp_path / "pyproject.toml").write_text('[tool.codebyte.scan]\ndisable = ["CB101"]\n')
    (tmp_path / "codebyte.toml").write_text('[scan]\ndisable = ["CB102"]\n')
    assert load_config(tmp_path).disable == ("CB102",)


def test_the_longest_beginning_decides_and_a_finding_at_its_threshold_is_wanted() -> None:
    assert not READ.wants(finding("CB001", 1.0))
    assert not READ.wants(finding("CB205", 1.0))
    assert READ.wants(finding("CB102", 0.4))
    assert not READ.wants(finding("CB102", 0.39))
    assert not READ.wants(finding("CB101", 0.59))
    assert READ.wants(finding("CB101", 0.6))


def test_patterns_are_those_of_gitignore() -> None:
    left_out = READ.excluded()
    paths = ["made/a.py", "b/made/a.py", "a.gen.py", "x/a.gen.py", "keep.gen.py", "made.py"]
    assert [path for path in paths if left_out.match_file(path)] == paths[:4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("disable = ['CB999']", "'CB999' is no rule: rules are CB001, CB101"),
        ("disable = 'CB001'", "disable must be a list of rules, not 'CB001'"),
        ("exclude = [1]", "exclude must be a list of patterns, not [1]"),
        ("thresholds = { CB1 = 2 }", "threshold 2.0 of CB1 must be from 0 to 1"),
        ("thresholds = { CB1 = 'x' }", "threshold 'x' of CB1 must be a number"),
        ("fail-on = 'severe'", "fail-on 'severe' must be note, warning, error, never or"),
        ("fail-on = true", "fail-on must be a level or a number, not True"),
        ("failon = 'error'", "'failon' is no setting: there are exclude, disable, thresholds"),
        ("[scan.exclude]", "exclude must be a list of patterns, not {}"),
        ("exclude = [", "codebyte.toml cannot be read"),
    ],
)
def test_settings_without_a_meaning_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "codebyte.toml").write_text(f"[scan]\n{text}\n")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(tmp_path)


def test_a_configuration_that_is_no_table_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "codebyte.toml").write_text("scan = 1\n")
    with pytest.raises(ConfigError, match="scan must be a table"):
        load_config(tmp_path)
    (tmp_path / "codebyte.toml").write_bytes(b"x = '" + b"a" * (1 << 20) + b"'")
    with pytest.raises(ConfigError, match="too many to be settings"):
        load_config(tmp_path)
    (tmp_path / "codebyte.toml").unlink()
    (tmp_path / "codebyte.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_levels_and_suspicions_can_both_be_limits() -> None:
    note, warning = finding("CB001", 0.9), finding("CB102", 0.3)
    assert (level_of(note), level_of(warning)) == (Level.NOTE, Level.WARNING)
    assert [reaches(note, parse_fail_on(t)) for t in ("note", "warning", "0.9", "0.91")] == [
        True,
        False,
        True,
        False,
    ]
    assert reaches(warning, parse_fail_on("Warning"))
    assert not reaches(finding("CB205", 1.0), parse_fail_on("never"))
    assert level_of(finding("CB205", 0.79)) is Level.NOTE
    assert level_of(finding("CB205", 0.8)) is Level.ERROR
    for wrong in ("", "2", "-0.1", "nan", "high"):
        with pytest.raises(InputError, match="must be note, warning, error, never or a suspicion"):
            parse_fail_on(wrong)


def test_every_rule_that_can_be_found_is_described() -> None:
    assert set(NAMED) <= set(RULES)
    assert all(rule.help.endswith(".") and not rule.title.endswith(".") for rule in RULES.values())
    assert len({rule.name for rule in RULES.values()}) == len(RULES)
