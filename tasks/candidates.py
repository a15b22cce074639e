"""The edits of a file that may be repairs, and what is known of each.

What the model said while it read the file, and how often names are used, costs little and is
known of every edit (LIGHT features). The edits that look best by it are scored in full (FULL ones).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codebyte.tasks.calibration import Usual
from codebyte.tasks.edit import KINDS, Edit
from codebyte.tasks.reading import Reading
from codebyte.tasks.uses import USES

WINDOW = 80  # bytes scored behind an edit, at most
WINDOW_LINES = 2  # its own and the next

Table = NDArray[np.float32]

_ORDER = tuple(KINDS)
LIGHT = (
    *(f"is {kind}" for kind in _ORDER),
    "first byte gain",
    "bits taken out",
    "most bits in a byte taken out",
    "entropy at the start",
    "bits of the line",
    "length taken out",
    "length put in",
    "other edits here",
    "usual gain",
    "odds at the first look",
    *USES,
)
FULL = (
    *LIGHT,
    "gain at the edit",
    "gain on the line",
    "gain after",
    "gain",
    "gain over usual",
    "gain in deviations",
    "lead over others here",
    "rank in the file",
)


def light_features(
    reading: Reading, edits: Sequence[Edit], used: Table, first_odds: Table, usual: Usual
) -> Table:
    """What is known of each edit without reading anything again, (n, len(LIGHT)).

    Args:
        reading: of the file.
        edits: in order of place.
        used: (n, len(USES)), of `uses`.
        first_odds: (n,), log odds at the first look.
        usual: mean and deviation of gains in good code by `name_of`.
    """
    source = reading.source
    table = np.zeros((len(edits), len(LIGHT)), np.float32)
    if not edits:
        return table
    column = {name: i for i, name in enumerate(LIGHT)}
    table[np.arange(len(edits)), [_ORDER.index(edit.kind) for edit in edits]] = 1
    starts = np.array([edit.start for edit in edits], np.int64)
    ends = np.array([max(edit.end, edit.start + 1) for edit in edits], np.int64)
    ends = np.minimum(ends, len(source))
    here = Counter((edit.start, edit.kind) for edit in edits)
    table[:, column["first byte gain"]] = reading.first_gains(edits)
    bits = reading.bits
    # Sums of a file of 1 MB in 32 bits would be off by more than a bit.
    sums = np.concatenate([[0.0], np.cumsum(bits, dtype=np.float64)])
    bounds = np.append(line_starts(source), len(source))
    row = np.searchsorted(bounds, starts, side="right") - 1
    table[:, column["bits taken out"]] = sums[ends] - sums[starts]
    table[:, column["most bits in a byte taken out"]] = [
        bits[a:b].max(initial=0.0) for a, b in zip(starts, ends, strict=True)
    ]
    table[:, column["entropy at the start"]] = reading.entropy[starts.clip(max=len(source) - 1)]
    table[:, column["bits of the line"]] = sums[bounds[row + 1]] - sums[bounds[row]]
    table[:, column["length taken out"]] = [edit.end - edit.start for edit in edits]
    table[:, column["length put in"]] = [len(edit.replacement) for edit in edits]
    table[:, column["other edits here"]] = [here[edit.start, edit.kind] for edit in edits]
    table[:, column["usual gain"]] = [usual.get(name_of(edit), (0.0, 1.0))[0] for edit in edits]
    table[:, column["odds at the first look"]] = first_odds
    table[:, column[USES[0]] : column[USES[-1]] + 1] = used
    return table


def gains_of(reading: Reading, edits: Sequence[Edit]) -> Table:
    """What each edit gains at the edit, on the line behind it and on the next, bits, (n, 3)."""
    return reading.gains(edits, [window_end(reading.source, edit.end) for edit in edits])


def full_features(edits: Sequence[Edit], light: Table, gains: Table, usual: Usual) -> Table:
    """Adds what each edit gains to what was known, (n, len(FULL)).

    Args:
        edits: those scored in full, of one file.
        light: their light features.
        gains: of `gains_of`.
        usual: mean and deviation of gains in good code by `name_of`.
    """
    total = gains.sum(axis=1)
    means = np.array([usual.get(name_of(edit), (0.0, 1.0)) for edit in edits], np.float32)
    means = means.reshape(-1, 2)
    over = total - means[:, 0]
    deviations = over / np.maximum(means[:, 1], 1.0)
    ranks = np.argsort(np.argsort(-deviations, kind="stable"), kind="stable")
    more = [gains, total, over, deviations, _leads(edits, total), np.log1p(ranks)]
    return np.column_stack([light, *more]).astype(np.float32)


def name_of(edit: Edit) -> str:
    """The kind and detail of an edit, under which its usual gain is kept."""
    return f"{edit.kind} {edit.detail}".strip()


def window_end(source: bytes, place: int) -> int:
    """Where the text that an edit bears on ends."""
    end = place
    for _ in range(WINDOW_LINES):
        newline = source.find(b"\n", end)
        end = len(source) if newline < 0 else newline + 1
    return min(end, place + WINDOW)


def line_starts(source: bytes) -> NDArray[np.int64]:
    """Where each line begins, (number of lines,); nothing is a line after the last newline."""
    starts = np.flatnonzero(np.frombuffer(source, np.uint8) == ord("\n")) + 1
    starts = np.concatenate([[0], starts])
    return starts[starts < len(source)]


def _leads(edits: Sequence[Edit], total: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each edit is above the best other one at its place, bits; 20 where there is none."""
    best: dict[int, list[float]] = defaultdict(list)
    for edit, gain in zip(edits, total, strict=True):
        best[edit.start].append(float(gain))
    leads = np.full(len(edits), 20.0, np.float32)
    for i, (edit, gain) in enumerate(zip(edits, total, strict=True)):
        others = sorted(best[edit.start], reverse=True)
        if len(others) > 1:
            leads[i] = gain - (others[1] if gain >= others[0] else others[0])
    return leads.clip(-20, 20)
