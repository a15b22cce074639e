"""The classifier: from signals to the chance that a line is wrong, and that an edit mends it.

    first look -> blocks worth reading -> edits there --screen--> the best --score in full--> odds
    lines: shape, kind, surprise, odds of their edits --> a slip? or will be fixed? --> probability
           the trunk's states of their patches -------------------------^

All that is fitted is one JSON file beside the model's weights (`codebyte.tasks.fitting` writes it).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codebyte
from codebyte.errors import CheckpointError
from codebyte.megabyte import Megabyte
from codebyte.tasks.calibration import Usual
from codebyte.tasks.candidates import FULL, LIGHT, full_features
from codebyte.tasks.first_pass import FirstPass, Look, load_first_pass, together
from codebyte.tasks.fitted_file import read_fitted
from codebyte.tasks.judged import ALL, Judged, Table, edit_odds
from codebyte.tasks.line_features import surprise_features
from codebyte.tasks.questions import Answers, Places, ask
from codebyte.tasks.trees import Forest, Linear, Steps
from codebyte.tasks.usage import Usage

FORMAT = 4
PACKAGED = Path(codebyte.__file__).parent / "weights" / "scan.json"
FEWEST = 6  # edits scored in full in any block
SHARE = 0.014  # and more for each of its bytes
TOGETHER = 4096  # lines whose states are weighed at once
BY_STATES = 0.6  # how much the states of a line count among the reasons to be fixed
# As for the first look. docs/bugs.md says how both were chosen.
BELIEVED = (1.5, -3.0, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The fitted tables."""

    model_id: str  # of the model that they were fitted on
    usual_gains: Usual
    usual_lines: dict[str, Usual]
    screen: Forest  # light features of an edit -> log odds
    repair: Forest  # full features -> log odds
    line: Forest  # features of a line -> log odds that an edit of it went wrong
    fixed: Linear  # the same -> log odds that a commit will fix it
    states: Linear  # the model's states of a line -> the same, but for a constant
    chance: Steps  # log odds of a line, both together -> probability

    def judge(
        self,
        model: Megabyte,
        source: bytes,
        path: str,
        *,
        usage: Usage | None = None,
        least: float = 0.0,
        only: Collection[int] | None = None,
        first_pass: FirstPass | None = None,
    ) -> Judged:
        """Judges a file.

        Args:
            model: any Megabyte.
            source: the file.
            path: its name, which tells the language.
            usage: counts of its repository, the file included; None where it stands alone.
            least: the model reads blocks with a line of at least this probability at the first
                look; the others keep what that look gave.
            only: lines, 1-based, around which the model reads and edits are tried; None for all.
            first_pass: for the first look; None for the packaged one.
        """
        look = (first_pass or load_first_pass()).look(source, path, usage)
        told = ask(model, source, look, self.usual_gains, self._best, least=least, only=only)
        edits = [look.edits[i] for i in told.seen[told.scored]]
        full = full_features(edits, told.light[told.scored], told.gains, self.usual_gains)
        odds, gains = self.repair.log_odds(full), full[:, FULL.index("gain")]
        rows = look.rows[told.seen]
        table = line_table(
            source,
            look,
            told,
            self.usual_lines,
            edit_odds(
                len(look.starts),
                rows,
                self.screen.log_odds(told.light),
                rows[told.scored],
                odds,
                gains,
            ),
        )
        by_states = self._by_states(told.states)
        fixes = fix_odds(self.fixed.log_odds(table), look.fixes, by_states)
        chances = self.chance(together(self.line.log_odds(table), fixes, BELIEVED))
        code, best = look.code, np.argsort(-odds, kind="stable")
        judged = told.read & code
        lines = np.where(judged, chances, look.lines)
        usual_odds = by_states[judged].mean() if judged.any() else np.float32(0)
        bytes_read = np.repeat(told.read, np.diff(look.starts, append=len(source)))
        return Judged(
            lines=lines.astype(np.float32),
            code=code,
            read=told.read,
            edits=[edits[i] for i in best],
            edit_lines=rows[told.scored][best],
            edit_odds=odds[best],
            gains=gains[best],
            over=full[best, FULL.index("gain over usual")],
            table=table,
            bits=np.where(bytes_read, told.bits, look.bits),
            fixed_times=np.where(judged, np.exp(by_states - usual_odds), 1.0).astype(np.float32),
        )

    def _best(self, _: Places, light: Table, size: int) -> Places:
        """The edits of a block that deserve a full score."""
        odds = self.screen.log_odds(light)
        return np.sort(np.argsort(-odds, kind="stable")[: most_scored(size)])

    def _by_states(self, states: NDArray[np.float16]) -> Table:
        if states.shape[1] != len(self.states.mean):  # of a model of another shape
            return np.zeros(len(states), np.float32)
        starts = range(0, max(1, len(states)), TOGETHER)  # float32 of all lines would be too much
        odds = [self.states.log_odds(states[start : start + TOGETHER]) for start in starts]
        return np.concatenate(odds)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "format": FORMAT,
            "model_id": self.model_id,
            "features": {"light": LIGHT, "full": FULL, "line": ALL},
            "usual_gains": _rounded(self.usual_gains),
            "usual_lines": {name: _rounded(table) for name, table in self.usual_lines.items()},
            "screen": self.screen.as_dict(),
            "repair": self.repair.as_dict(),
            "line": self.line.as_dict(),
            "fixed": self.fixed.as_dict(),
            "states": self.states.as_dict(),
            "chance": self.chance.as_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Judge":
        """From what `as_dict` gave.

        Raises:
            CheckpointError: it was written for other features than this version computes.
        """
        features = {"light": list(LIGHT), "full": list(FULL), "line": list(ALL)}
        found = {name: list(listed) for name, listed in data.get("features", {}).items()}
        if data.get("format") != FORMAT or found != features:
            raise CheckpointError("scan.json is of another version of codebyte: fit it anew")
        return cls(
            model_id=data["model_id"],
            usual_gains=_pairs(data["usual_gains"]),
            usual_lines={name: _pairs(table) for name, table in data["usual_lines"].items()},
            screen=Forest.from_dict(data["screen"]),
            repair=Forest.from_dict(data["repair"]),
            line=Forest.from_dict(data["line"]),
            fixed=Linear.from_dict(data["fixed"]),
            states=Linear.from_dict(data["states"]),
            chance=Steps.from_dict(data["chance"]),
        )


def most_scored(size: int) -> int:
    """Edits scored in full in a block of so many bytes."""
    return FEWEST + int(SHARE * size)


def line_table(
    source: bytes, look: Look, told: Answers, usual: dict[str, Usual], odds: Table
) -> Table:
    """All that is known of each line, (number of lines, len(ALL))."""
    kinds = [kind if read else None for kind, read in zip(look.kinds, told.read, strict=True)]
    surprise = surprise_features(source, kinds, told.bits, told.entropy, usual)
    return np.column_stack([look.shape, surprise, odds, look.slips, look.fixes])


def fix_odds(fixed: Table, at_first: Table, by_states: Table) -> Table:
    """Log odds that a commit will fix a line; the first look has seen more of them.

    Args:
        fixed: by what the model's bits and edits say of it.
        at_first: by the first look.
        by_states: by the model's states of it; 0 where there are none.
    """
    return (fixed + at_first) * np.float32(0.5) + by_states * np.float32(BY_STATES)


def load_judge(path: Path | None = None) -> Judge:
    """The fitted tables that come with the package, or those of a file.

    Raises:
        CheckpointError: the file is missing or cannot be used.
    """
    return _load(PACKAGED if path is None else path)


@lru_cache(maxsize=4)
def _load(path: Path) -> Judge:
    return read_fitted(path, Judge.from_dict, "fitted scan", "benchmarks/fit_scan.py")


def _rounded(table: Usual) -> dict[str, list[float]]:
    return {name: [float(f"{v:.4g}") for v in pair] for name, pair in table.items()}


def _pairs(table: Mapping[str, list[float]]) -> Usual:
    return {name: (pair[0], pair[1]) for name, pair in table.items()}
