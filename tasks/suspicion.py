"""The classifier: from signals to the chance that a line is wrong, and that an edit mends it.

    edits of a file --screen--> the best --score in full--> odds of each edit
    lines: shape, kind, surprise, odds of their edits --> a slip? or will be fixed? --> probability

All that is fitted is one JSON file beside the model's weights (`codebyte.tasks.fitting` writes it).
"""

import hashlib
import json
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
from codebyte.tasks.candidates import (
    FULL,
    LIGHT,
    full_features,
    gains_of,
    light_features,
    line_starts,
)
from codebyte.tasks.edit import Edit
from codebyte.tasks.line_features import LINE, line_features
from codebyte.tasks.mutations import edits
from codebyte.tasks.reading import Reading
from codebyte.tasks.syntax import parse, text_kinds, tree_kinds
from codebyte.tasks.trees import Forest, Linear, Steps

FORMAT = 1
PACKAGED = Path(codebyte.__file__).parent / "weights" / "scan.json"
FEWEST = 16  # edits scored in full in any file
SHARE = 0.024  # and more for each of its bytes
SLIP_SLOPE, SLIP_SHIFT, FIXED_SHIFT = 2.0, 2.0, 3.0  # of log odds, by what ranked best
NO_EDIT = -12.0  # log odds on lines that no edit was scored on

ODDS = (
    "best edit",
    "second edit",
    "best edit before scoring",
    "edits",
    "edits scored",
    "gain of best edit",
    "behind the best of the file",
    "rank of best edit",
)
ALL = (*LINE, *ODDS)

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is known of a file after all."""

    lines: NDArray[np.float32]  # (number of lines,), probabilities
    code: NDArray[np.bool_]  # (number of lines,), whether there is code
    edits: list[Edit]  # those scored in full, the likeliest repair first
    edit_lines: NDArray[np.int64]  # (n,), from 0
    edit_odds: NDArray[np.float32]  # (n,), log odds of being the repair of a bug
    gains: NDArray[np.float32]  # (n,), bits
    table: Table  # (number of lines, len(ALL))
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The fitted tables."""

    model_id: str  # of the model that they were fitted on
    usual_gains: Usual
    usual_lines: dict[str, Usual]
    rates: dict[str, float]
    screen: Forest  # light features of an edit -> log odds
    repair: Forest  # full features -> log odds
    line: Forest  # features of a line -> log odds that an edit of it went wrong
    fixed: Forest  # the same -> log odds that a commit will fix it, by trees
    fixed_too: Linear  # and by a straight sum
    chance: Steps  # log odds of a line, both together -> probability

    def judge(
        self,
        model: Megabyte,
        source: bytes,
        path: str,
        *,
        repairs: bool = True,
        only: Collection[int] | None = None,
    ) -> Judged:
        """Judges a file.

        Args:
            model: any Megabyte.
            source: the file.
            path: its name, which tells the language.
            repairs: whether to score edits in full; without, only the first look counts.
            only: lines, 1-based, on which edits are tried; None for all.
        """
        reading = Reading(model, source)
        tree = parse(source, path)
        starts = line_starts(source)
        every = edits(tree, source) if tree is not None else []
        rows = np.searchsorted(starts, [e.start for e in every], side="right") - 1
        if only is not None:
            kept = np.isin(rows, [line - 1 for line in only])
            every = [edit for edit, keep in zip(every, kept, strict=True) if keep]
            rows = rows[kept]
        kinds = tree_kinds(tree, len(starts)) if tree is not None else text_kinds(source)
        screened = np.zeros(0, np.float32)
        order: list[int] = []
        light = np.zeros((0, len(LIGHT)), np.float32)
        if every and tree is not None:
            light = light_features(reading, tree, every, self.usual_gains)
            screened = self.screen.log_odds(light)
            most = FEWEST + int(SHARE * len(source)) if repairs else 0
            order = sorted(np.argsort(-screened, kind="stable")[:most].tolist())
        scored = [every[i] for i in order]
        full = full_features(scored, light[order], gains_of(reading, scored), self.usual_gains)
        odds = self.repair.log_odds(full)
        gains = full[:, FULL.index("gain")]
        lines = line_features(
            source, kinds, reading.bits, reading.entropy, self.usual_lines, self.rates
        )
        table = np.column_stack(
            [lines, edit_odds(len(starts), rows, screened, rows[order], odds, gains)]
        )
        odds_of_lines = together(
            self.line.log_odds(table), self.fixed.log_odds(table), self.fixed_too.log_odds(table)
        )
        chances = self.chance(odds_of_lines)
        code = np.array([kind is not None for kind in kinds], bool)
        best = np.argsort(-odds, kind="stable")
        return Judged(
            lines=np.where(code, chances, 0.0).astype(np.float32),
            code=code,
            edits=[scored[i] for i in best],
            edit_lines=rows[order][best],
            edit_odds=odds[best],
            gains=gains[best],
            table=table,
            reading=reading,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "format": FORMAT,
            "model_id": self.model_id,
            "features": {"light": LIGHT, "full": FULL, "line": ALL},
            "usual_gains": _rounded(self.usual_gains),
            "usual_lines": {name: _rounded(table) for name, table in self.usual_lines.items()},
            "rates": {kind: round(rate, 4) for kind, rate in self.rates.items()},
            "screen": self.screen.as_dict(),
            "repair": self.repair.as_dict(),
            "line": self.line.as_dict(),
            "fixed": self.fixed.as_dict(),
            "fixed_too": self.fixed_too.as_dict(),
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
            rates=dict(data["rates"]),
            screen=Forest.from_dict(data["screen"]),
            repair=Forest.from_dict(data["repair"]),
            line=Forest.from_dict(data["line"]),
            fixed=Forest.from_dict(data["fixed"]),
            fixed_too=Linear.from_dict(data["fixed_too"]),
            chance=Steps.from_dict(data["chance"]),
        )


def together(
    line: NDArray[np.float32], fixed: NDArray[np.float32], fixed_too: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Log odds that a line is wrong for either reason, (n,).

    A slip is believed only where its odds are high: most lines are told apart by the second part.
    """
    slip = SLIP_SLOPE * line + SLIP_SHIFT
    return np.logaddexp(slip, (fixed + fixed_too) / 2 + FIXED_SHIFT)


def edit_odds(
    num_lines: int,
    rows: NDArray[np.int64],
    screened: NDArray[np.float32],
    scored_rows: NDArray[np.int64],
    odds: NDArray[np.float32],
    gains: NDArray[np.float32],
) -> Table:
    """What the edits of each line say of it, (num_lines, len(ODDS)).

    Args:
        num_lines: of the file.
        rows: (every edit,), the lines of all edits, from 0.
        screened: (every edit,), their log odds at first sight.
        scored_rows: (scored edits,).
        odds: (scored edits,), log odds in full.
        gains: (scored edits,), bits.
    """
    table = np.zeros((num_lines, len(ODDS)), np.float32)
    best = np.full(num_lines, NO_EDIT, np.float32)
    second, first_sight, gain = best.copy(), best.copy(), np.full(num_lines, -30.0, np.float32)
    np.maximum.at(first_sight, rows, screened)
    for i in np.argsort(-odds, kind="stable"):
        row = scored_rows[i]
        if best[row] == NO_EDIT:
            best[row], gain[row] = max(odds[i], NO_EDIT + 1e-3), gains[i]
        elif second[row] == NO_EDIT:
            second[row] = odds[i]
    table[:, 0], table[:, 1], table[:, 2] = best, second, first_sight
    table[:, 3] = np.bincount(rows, minlength=num_lines)[:num_lines]
    table[:, 4] = np.bincount(scored_rows, minlength=num_lines)[:num_lines]
    table[:, 5] = gain
    table[:, 6] = best - best.max(initial=NO_EDIT)
    table[:, 7] = np.log1p(np.argsort(np.argsort(-best, kind="stable"), kind="stable"))
    return table


def model_id(model: Megabyte) -> str:
    """A name for a model's weights, 12 hex digits."""
    digest = hashlib.sha256(repr(model.config).encode())
    for weight in list(model.parameters())[-3:]:
        digest.update(weight.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:12]


def load_judge(path: Path | None = None) -> Judge:
    """The fitted tables that come with the package, or those of a file.

    Raises:
        CheckpointError: the file is missing or cannot be used.
    """
    return _load(PACKAGED if path is None else path)


@lru_cache(maxsize=4)
def _load(path: Path) -> Judge:
    try:
        return Judge.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} holds no fitted scan ({error}): write one with benchmarks/fit_scan.py"
        raise CheckpointError(message) from error


def _rounded(table: Usual) -> dict[str, list[float]]:
    return {name: [float(f"{v:.4g}") for v in pair] for name, pair in table.items()}


def _pairs(table: Mapping[str, list[float]]) -> Usual:
    return {name: (pair[0], pair[1]) for name, pair in table.items()}
