"""How a project wants to be scanned: `[tool.codebyte.scan]` in pyproject.toml, or codebyte.toml.

exclude = ["migrations/", "*.generated.py"]     patterns as in .gitignore
disable = ["CB001", "CB2"]                      rules, or how they begin
thresholds = { CB101 = 0.3, CB2 = 0.9 }         least suspicion to be reported
fail-on = "warning"                             see `codebyte scan --help`
baseline = "codebyte-baseline.json"             findings that are known
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pathspec

from codebyte.errors import ConfigError, InputError
from codebyte.tasks.findings import Finding
from codebyte.tasks.rules import RULES, parse_fail_on

LARGEST = 1 << 20  # bytes of a configuration file


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanConfig:
    """What a project's configuration says about scans."""

    source: str = ""  # the file it was read from
    exclude: tuple[str, ...] = ()  # patterns as in .gitignore
    disable: tuple[str, ...] = ()  # rules, or how they begin
    thresholds: Mapping[str, float] = field(default_factory=dict)  # rule or beginning -> 0 to 1
    fail_on: str | None = None
    baseline: str | None = None  # a path from the project's top

    def __post_init__(self) -> None:
        for rule in (*self.disable, *self.thresholds):
            if not any(known.startswith(rule) for known in RULES) or not rule:
                raise ConfigError(f"{self._where}{rule!r} is no rule: rules are {', '.join(RULES)}")
        for rule, value in self.thresholds.items():
            if not 0 <= value <= 1:
                raise ConfigError(f"{self._where}threshold {value} of {rule} must be from 0 to 1")
        try:
            pathspec.GitIgnoreSpec.from_lines(self.exclude)
            if self.fail_on is not None:
                parse_fail_on(self.fail_on)
        except (ValueError, InputError) as error:
            raise ConfigError(f"{self._where}{error}") from error

    @property
    def _where(self) -> str:
        return f"{self.source}: " if self.source else ""

    def excluded(self) -> pathspec.GitIgnoreSpec:
        """What tells which paths are left out."""
        return pathspec.GitIgnoreSpec.from_lines(self.exclude)

    def wants(self, finding: Finding) -> bool:
        """Whether a finding is to be reported: its rule is on and its suspicion high enough."""
        if finding.rule.startswith(self.disable):
            return False
        fitting = [rule for rule in self.thresholds if finding.rule.startswith(rule)]
        longest = max(fitting, key=len, default=None)
        return longest is None or finding.suspicion >= self.thresholds[longest]


def load_config(root: Path) -> ScanConfig:
    """Reads the configuration at the top of a project; codebyte.toml comes before pyproject.toml.

    Raises:
        ConfigError: it cannot be read, or says what has no meaning.
    """
    for name, keys in (("codebyte.toml", ("scan",)), ("pyproject.toml", _PYPROJECT)):
        table = _table(root / name, keys)
        if table is not None:
            return _config(table, name)
    return ScanConfig()


_PYPROJECT = ("tool", "codebyte", "scan")
_KINDS = {
    "exclude": (list, "a list of patterns"),
    "disable": (list, "a list of rules"),
    "thresholds": (dict, "a table of rules and numbers"),
    "fail-on": (str | int | float, "a level or a number"),
    "baseline": (str, "a path"),
}


def _table(file: Path, keys: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ConfigError(f"{file} has more than {LARGEST} bytes, too many to be settings")
        table: Any = tomllib.loads(text.decode("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {'.'.join(keys)} must be a table")
    return table


def _config(table: dict[str, Any], source: str) -> ScanConfig:
    for key, value in table.items():
        if key not in _KINDS:
            raise ConfigError(f"{source}: {key!r} is no setting: there are {', '.join(_KINDS)}")
        kind, described = _KINDS[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ConfigError(f"{source}: {key} must be {described}, not {value!r}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{source}: {key} must be {described}, not {value!r}")
    thresholds = table.get("thresholds", {})
    for rule, value in thresholds.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ConfigError(f"{source}: threshold {value!r} of {rule} must be a number")
    fail_on = table.get("fail-on")
    return ScanConfig(
        source=source,
        exclude=tuple(table.get("exclude", ())),
        disable=tuple(table.get("disable", ())),
        thresholds={rule: float(value) for rule, value in thresholds.items()},
        fail_on=None if fail_on is None else str(fail_on),
        baseline=table.get("baseline"),
    )
