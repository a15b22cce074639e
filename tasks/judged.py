"""What a scan knows of a file in the end, and what the edits of a line say of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codebyte.tasks.edit import Edit
from codebyte.tasks.first_pass import NO_EDIT
from codebyte.tasks.line_features import LINE

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
FIRST = ("slip at the first look", "fix at the first look")
ALL = (*LINE, *ODDS, *FIRST)

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is known of a file after all."""

    lines: NDArray[np.float32]  # (number of lines,), probabilities
    code: NDArray[np.bool_]  # (number of lines,), whether there is code
    read: NDArray[np.bool_]  # (number of lines,), whether the model read it
    edits: list[Edit]  # those of the lines that were read, the likeliest repair first
    edit_lines: NDArray[np.int64]  # (n,), from 0
    edit_odds: NDArray[np.float32]  # (n,), log odds of being the repair of a bug
    gains: NDArray[np.float32]  # (n,), bits
    over: NDArray[np.float32]  # (n,), bits over what such an edit usually gains in good code
    table: Table  # (number of lines, len(ALL))
    bits: NDArray[np.float32]  # (bytes,), by the model where it read, else by counts of tokens
    fixed_times: Table  # (lines,), how much likelier to be fixed than the others, by its states


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
