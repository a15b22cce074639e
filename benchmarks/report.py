"""What every benchmark prints: where it ran, a table for people, and one JSON object at the end.

The object has the name, value, unit, bar, passed, spread and hardware of its headline figure, and
beside them whatever else was measured.
"""

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

BUSY = 0.05  # share of the cores used by others, above which figures are not to be quoted
_WATCHED = 0.5  # seconds that others are watched before the start
_DIGITS = 5  # significant ones of the figures in the JSON object
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Check:
    """A figure and the bar that it is held to."""

    value: float
    bar: float
    at_most: bool = False  # else at least

    @property
    def passed(self) -> bool:
        """Whether the bar is met; a figure that could not be taken (NaN) meets none."""
        return self.value <= self.bar if self.at_most else self.value >= self.bar


class Report:
    """One run of one benchmark.

    Args:
        name: of the benchmark.
        quick: whether it is only a smoke test.
        packages: whose versions matter, besides ours and torch.
        browser: whether it drives one, whose processes cannot be told from others'.
    """

    def __init__(
        self, name: str, *, quick: bool, packages: Sequence[str] = (), browser: bool = False
    ) -> None:
        self._name, self._quick, self._browser = name, quick, browser
        self._hardware, self._versions = hardware(), versions(("codebyte", "torch", *packages))
        self._notes: list[str] = []
        print(f"{name} on {self._hardware}")
        print(", ".join(f"{package} {number}" for package, number in self._versions.items()))
        if quick:
            self.note("a quick run shows that it works; its figures are not to be quoted")
        self._began = _Clocks.now()
        time.sleep(_WATCHED)
        if (others := self._began.used_by_others()) > BUSY:
            print(f"others use {others:.0%} of the machine: better to wait until it is idle")
        self._began = _Clocks.now()

    def note(self, text: str) -> None:
        """Says something about the figures, here and in the JSON object."""
        self._notes.append(text)
        print(f"note: {text}", flush=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Prints rows under a head; numbers to the right, the first column to the left."""
        lines = [list(head), *([_shown(cell) for cell in row] for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        print()
        for line in lines:
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            print("  ".join(cells).rstrip())
        print(flush=True)

    def finish(
        self, checks: dict[str, Check], *, unit: str, spread: Sequence[float], **figures: Any
    ) -> None:
        """Prints the bars and, as the last line, the JSON object.

        Args:
            checks: by name, the headline first; all must pass.
            unit: of the headline.
            spread: of the headline, lowest and highest.
            figures: what else to put into the object.
        """
        for name, check in checks.items():
            sign, verdict = ("<=", ">=")[not check.at_most], "passed" if check.passed else "MISSED"
            print(f"{name}: {_shown(check.value)} (bar {sign} {_shown(check.bar)}) {verdict}")
        others = self._began.used_by_others()
        if others > BUSY and not self._browser:
            self.note(f"others used {others:.0%} of the machine: figures are not to be quoted")
        headline = next(iter(checks.values()))
        result = {
            "name": self._name,
            "value": headline.value,
            "unit": unit,
            "bar": headline.bar,
            "passed": all(check.passed for check in checks.values()),
            "spread": list(spread),
            "hardware": self._hardware,
            **figures,
            "checks": {
                name: {
                    "value": check.value,
                    "bar": check.bar,
                    "at_most": check.at_most,
                    "passed": check.passed,
                }
                for name, check in checks.items()
            },
            "versions": self._versions,
            "quick": self._quick,
            "used_by_others": others,
            "notes": self._notes,
        }
        print(json.dumps(_plain(result), allow_nan=False), flush=True)


@dataclass(frozen=True, slots=True)
class _Clocks:
    """Seconds so far: real ones, all processors' and this program's with what it started."""

    real: float
    machine: float  # NaN where the system does not tell
    own: float

    @classmethod
    def now(cls) -> "_Clocks":
        stat = Path("/proc/stat")
        machine = math.nan
        if stat.is_file():
            user, nice, system, _, _, *rest = map(int, stat.read_text().split("\n")[0].split()[1:9])
            machine = (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
        return cls(time.monotonic(), machine, sum(os.times()[:4]))

    def used_by_others(self) -> float:
        """Share of all cores that other programs have used since."""
        now = _Clocks.now()
        passed = (now.real - self.real) * (os.cpu_count() or 1)
        share = (now.machine - self.machine - (now.own - self.own)) / passed
        return share if math.isnan(share) else min(1.0, max(0.0, share))


def parser(description: str | None) -> argparse.ArgumentParser:
    """A command line with what all benchmarks take; the description is the module's docstring."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="a smoke test within a minute")
    return made


def held_out_parser(description: str | None) -> argparse.ArgumentParser:
    """A command line for what is measured on the held-out files of a corpus."""
    made = parser(description)
    made.add_argument("--corpus", help="a corpus folder (codebyte.corpus)")
    made.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    return made


def parse_held_out(options: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of a `held_out_parser`; only a quick run goes without a corpus."""
    args = options.parse_args()
    if args.corpus is None and not args.quick:
        options.error("give a --corpus; only --quick goes without")
    return args


def range_of(values: Sequence[float]) -> list[float]:
    """The lowest and the highest."""
    return [min(values), max(values)] if values else [math.nan, math.nan]


def interval(numerators: ArrayLike, denominators: ArrayLike) -> list[float]:
    """What sum(numerators) / sum(denominators) may be with other samples: 95 %, by bootstrap.

    Args:
        numerators: (n,), one for each sample.
        denominators: (n,).
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if not len(above):
        return [math.nan, math.nan]
    rng = np.random.default_rng(1)
    ratios = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        drawn = rng.integers(len(above), size=len(above))
        total = below[drawn].sum()
        ratios[i] = above[drawn].sum() / total if total else math.nan
    return [float(q) for q in np.nanpercentile(ratios, (2.5, 97.5))]


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hardware() -> str:
    """The machine in a few words."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = names[0].partition(":")[2].strip() if names else name
    parts = [name, f"{cores()} cores", torch.backends.cpu.get_cpu_capability()]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        parts.append(f"{pages / 2**30:.0f} GiB")
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The installed versions, Python's first."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    """Values for JSON: rounded, and none that it does not know."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
