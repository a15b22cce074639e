"""The first look at a file, with no model: every line and every edit gets its odds in no time.

    tokens, counts of the repository -> edits: a repair? -> lines: a slip? will be fixed? -> chance

It says which parts of a file the model is asked about, and what is known of all others. It is
fitted once (`benchmarks/fit_first_pass.py`), for all models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tree_sitter import Tree

import codebyte
from codebyte.errors import CheckpointError
from codebyte.tasks.calibration import within
from codebyte.tasks.candidates import line_starts, name_of
from codebyte.tasks.edit import Edit
from codebyte.tasks.fitted_file import read_fitted
from codebyte.tasks.fixed_words import WORDS, word_features
from codebyte.tasks.line_features import PLACE, SHAPE, shape_features
from codebyte.tasks.mutations import edits
from codebyte.tasks.skim import COST, EDIT, Skim
from codebyte.tasks.syntax import LineKind, parse, text_kinds, tree_kinds
from codebyte.tasks.trees import Forest, Linear, Steps
from codebyte.tasks.usage import Usage
from codebyte.tasks.uses import USES, uses

FORMAT = 2
PACKAGED = Path(codebyte.__file__).parent / "weights" / "first_pass.json"
NO_EDIT = -12.0  # log odds on lines that have no edit
# Slope, offset and share of a slip's odds beside a fix's (see `together`): what ranked fixes best
# in repositories not fitted on.
BELIEVED = (5.0, -7.0, 0.1)

FIRST_EDIT = (*EDIT, "rate of the change", "length taken out", "length put in", *USES)
_ODDS = ("best edit", "second edit", "edits", "behind the best of the file", "rank of best edit")
FIRST_LINE = (*SHAPE, *PLACE, *WORDS, *COST, *(f"{name} within file" for name in COST), *_ODDS)

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of a file after the first look."""

    tree: Tree | None
    starts: NDArray[np.int64]  # of the lines
    kinds: list[LineKind | None]  # of the lines
    edits: list[Edit]
    rows: NDArray[np.int64]  # of the edits, lines from 0
    table: Table  # (edits, len(FIRST_EDIT))
    odds: Table  # (edits,), log odds of being the repair of a bug
    slips: Table  # (lines,), log odds that something went wrong there
    fixes: Table  # (lines,), log odds that a commit will fix it
    shape: Table  # (lines, len(SHAPE) + len(PLACE))
    lines: Table  # (lines,), probabilities
    bits: Table  # (bytes,), what the tokens cost

    @property
    def used(self) -> Table:
        """(edits, len(USES)), how often the old and the new token stand where."""
        start = FIRST_EDIT.index(USES[0])
        return self.table[:, start : start + len(USES)]

    @property
    def code(self) -> NDArray[np.bool_]:
        """(lines,), whether there is code on each line."""
        return np.array([kind is not None for kind in self.kinds], bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPass:
    """The fitted tables."""

    rates: dict[str, float]  # by statement, how many times as often its lines were fixed
    words: dict[bytes, float]  # by word, the log of that
    changes: dict[str, float]  # by kind and detail, log odds that such an edit was a repair
    edit: Forest
    slip: Forest
    fixed: Linear
    chance: Steps

    def look(self, source: bytes, path: str, usage: Usage | None = None) -> Look:
        """Looks at a file.

        Args:
            source: the file.
            path: its name, which tells the language.
            usage: of its repository, the file included.
        """
        skim, tree = Skim(source, usage), parse(source, path)
        starts = line_starts(source)
        every = edits(tree, source) if tree is not None else []
        rows = np.searchsorted(starts, [edit.start for edit in every], side="right") - 1
        kinds = tree_kinds(tree, len(starts)) if tree is not None else text_kinds(source)
        table = first_edit_features(skim, tree, every, starts, self.changes)
        odds = self.edit.log_odds(table)
        lines = first_line_features(skim, kinds, starts, rows, odds, self.rates, self.words)
        slips, fixes = self.slip.log_odds(lines), self.fixed.log_odds(lines)
        chances = self.chance(together(slips, fixes))
        code = np.array([kind is not None for kind in kinds], bool)
        return Look(
            tree=tree,
            starts=starts,
            kinds=kinds,
            edits=every,
            rows=rows,
            table=table,
            odds=odds,
            slips=slips,
            fixes=fixes,
            shape=lines[:, : len(SHAPE) + len(PLACE)],
            lines=np.where(code, chances, 0.0).astype(np.float32),
            bits=skim.bits(),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {
            "format": FORMAT,
            "features": {"edit": FIRST_EDIT, "line": FIRST_LINE},
            "rates": {kind: round(rate, 4) for kind, rate in self.rates.items()},
            "words": {word.decode("latin-1"): round(rate, 3) for word, rate in self.words.items()},
            "changes": {name: round(odds, 4) for name, odds in self.changes.items()},
            "edit": self.edit.as_dict(),
            "slip": self.slip.as_dict(),
            "fixed": self.fixed.as_dict(),
            "chance": self.chance.as_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "FirstPass":
        """From what `as_dict` gave.

        Raises:
            CheckpointError: it was written for other features than this version computes.
        """
        found = {name: tuple(listed) for name, listed in data.get("features", {}).items()}
        if data.get("format") != FORMAT or found != {"edit": FIRST_EDIT, "line": FIRST_LINE}:
            raise CheckpointError("first_pass.json is of another version of codebyte: fit it anew")
        return cls(
            rates=dict(data["rates"]),
            words={word.encode("latin-1"): rate for word, rate in data["words"].items()},
            changes=dict(data["changes"]),
            edit=Forest.from_dict(data["edit"]),
            slip=Forest.from_dict(data["slip"]),
            fixed=Linear.from_dict(data["fixed"]),
            chance=Steps.from_dict(data["chance"]),
        )


def together(slips: Table, fixes: Table, believed: tuple[float, float, float] = BELIEVED) -> Table:
    """Log odds that a line is wrong for either reason.

    A slip is believed only where its odds are high; below, it decides between lines that are as
    likely to be fixed.

    Args:
        slips: log odds that something went wrong on each line.
        fixes: log odds that a commit will fix it.
        believed: what a slip's odds are multiplied by and what is added; and the share of them that
            is added to those of a fix.
    """
    slope, offset, share = believed
    odds: Table = np.logaddexp(slope * slips + offset, fixes + share * slips)
    return odds


def first_edit_features(
    skim: Skim,
    tree: Tree | None,
    every: list[Edit],
    starts: NDArray[np.int64],
    changes: Mapping[str, float],
) -> Table:
    """(edits, len(FIRST_EDIT))."""
    if not every or tree is None:
        return np.zeros((0, len(FIRST_EDIT)), np.float32)
    usual = changes.get("", 0.0)
    more = np.array(
        [(changes.get(name_of(e), usual), e.end - e.start, len(e.replacement)) for e in every],
        np.float32,
    )
    used = uses(tree, skim.source, every, starts)
    return np.column_stack([skim.edit_features(every), more, used])


def first_line_features(
    skim: Skim,
    kinds: list[LineKind | None],
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    odds: Table,
    rates: Mapping[str, float],
    words: Mapping[bytes, float],
) -> Table:
    """(number of lines, len(FIRST_LINE))."""
    code = np.array([kind is not None for kind in kinds], bool)
    costs = skim.line_costs(starts)
    best, second = np.full((2, len(kinds)), NO_EDIT, np.float32)
    for i in np.argsort(odds, kind="stable"):  # the best comes last
        row = rows[i]
        second[row], best[row] = best[row], odds[i]
    rank = np.log1p(np.argsort(np.argsort(-best, kind="stable"), kind="stable"))
    count = np.bincount(rows, minlength=len(kinds))[: len(kinds)]
    return np.column_stack(
        [
            shape_features(skim.source, kinds, rates),
            word_features(skim.source.split(b"\n")[: len(kinds)], words),
            costs,
            within(costs, code),
            best,
            second,
            count,
            best - best.max(initial=NO_EDIT),
            rank,
        ]
    ).astype(np.float32)


def load_first_pass(path: Path | None = None) -> FirstPass:
    """The fitted tables that come with the package, or those of a file.

    Raises:
        CheckpointError: the file is missing or cannot be used.
    """
    return _load(PACKAGED if path is None else path)


@lru_cache(maxsize=4)
def _load(path: Path) -> FirstPass:
    return read_fitted(path, FirstPass.from_dict, "first pass", "benchmarks/fit_first_pass.py")
