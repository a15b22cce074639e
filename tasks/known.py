"""Files whose wrong lines are known, and what the model says of them: what a scan is fitted on.

Some lines are wrong because a bug was put in (`codebyte.tasks.injection`), some because a later
commit fixed them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from codebyte.megabyte import Megabyte
from codebyte.tasks.candidates import LIGHT, gains_of, light_features, line_starts
from codebyte.tasks.edit import Edit
from codebyte.tasks.mutations import edits
from codebyte.tasks.reading import Reading
from codebyte.tasks.suspicion import FEWEST, SHARE
from codebyte.tasks.syntax import LineKind, parse, tree_kinds
from codebyte.tasks.trees import Forest

SAMPLED = 0.3  # edits drawn at random for each that is chosen
NAMES, FIELDS_SHARE = 0.011, 0.003  # edits scored for each byte where there is no screen yet

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A place that is wrong."""

    line: int  # 1-based
    start: int  # byte range, half-open
    end: int
    fix: bytes | None  # what belongs there; None where that is not one edit of one line
    injected: bool  # else a commit fixed it

    def moved(self, place: int, grown: int) -> "Wrong":
        """The same after the bytes from `place` on have grown by so many."""
        by = grown if self.start > place else 0
        return replace(self, start=self.start + by, end=self.end + by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A file and what is wrong in it."""

    repo: str
    path: str
    source: bytes
    wrong: tuple[Wrong, ...]


@dataclass(slots=True, kw_only=True)
class Signals:
    """What the model says of a known file; all that takes long."""

    known: Known
    kinds: list[LineKind | None]
    edits: list[Edit]
    light: Table
    scored: NDArray[np.int64]  # which edits were scored in full
    gains: Table  # (scored, 3)
    right: NDArray[np.int64]  # edits that take a bug out
    bits: NDArray[np.float32]
    entropy: NDArray[np.float32]
    rows: NDArray[np.int64] = field(init=False)  # (edits,), lines from 0
    wrong: NDArray[np.bool_] = field(init=False)  # (number of lines,)
    slips: NDArray[np.bool_] = field(init=False)  # (number of lines,), those put in
    code: NDArray[np.bool_] = field(init=False)  # (number of lines,)

    def __post_init__(self) -> None:
        starts = line_starts(self.known.source)
        self.rows = np.searchsorted(starts, [e.start for e in self.edits], side="right") - 1
        self.wrong = np.zeros(len(starts), bool)
        self.wrong[[wrong.line - 1 for wrong in self.known.wrong]] = True
        self.slips = np.zeros(len(starts), bool)
        self.slips[[wrong.line - 1 for wrong in self.known.wrong if wrong.injected]] = True
        self.code = np.array([kind is not None for kind in self.kinds], bool)


def signals(
    model: Megabyte, known: Known, seed: int, screen: Forest | None = None
) -> Signals | None:
    """Reads one file.

    Args:
        model: any Megabyte.
        known: the file.
        seed: of the edits that are drawn at random.
        screen: chooses which edits to score in full; None for a rule of thumb.

    Returns:
        None where the file's language has no grammar.
    """
    source = known.source
    tree = parse(source, known.path)
    if tree is None:
        return None
    every = edits(tree, source)
    reading = Reading(model, source)
    light = light_features(reading, tree, every, {})
    right = [i for i, edit in enumerate(every) if any(mends(source, edit, w) for w in known.wrong)]
    starts = line_starts(source)
    chosen = _drawn(every, light, len(source), seed, screen)
    scored = np.array(sorted({*chosen, *right}), np.int64)
    return Signals(
        known=known,
        kinds=tree_kinds(tree, len(starts)),
        edits=every,
        light=light,
        scored=scored,
        gains=gains_of(reading, [every[i] for i in scored]),
        right=np.array(right, np.int64),
        bits=reading.bits,
        entropy=reading.entropy,
    )


def mends(source: bytes, edit: Edit, wrong: Wrong) -> bool:
    """Whether an edit gives exactly what belongs at a wrong place."""
    if wrong.fix is None or edit.start > wrong.end + 1 or edit.end < wrong.start - 1:
        return False
    first, last = min(edit.start, wrong.start), max(edit.end, wrong.end)
    edited = source[first : edit.start] + edit.replacement + source[edit.end : last]
    return edited == source[first : wrong.start] + wrong.fix + source[wrong.end : last]


def _drawn(
    every: Sequence[Edit], light: Table, size: int, seed: int, screen: Forest | None
) -> set[int]:
    """Edits to score in full: the best of each family at first sight, and some at random.

    Without a screen, all that are not of names and the names that the model finds likeliest.
    """
    rng = np.random.default_rng(seed)
    kinds = np.array([edit.kind for edit in every])
    if screen is not None:
        odds = screen.log_odds(light)
        chosen = set(np.argsort(-odds, kind="stable")[: FEWEST + int(SHARE * size)].tolist())
        families = [(np.arange(len(every)), 0.0, int(SAMPLED * SHARE * size))]
    else:
        odds = light[:, LIGHT.index("first byte gain")]
        chosen = set(np.flatnonzero(~np.isin(kinds, ("name", "field"))).tolist())
        families = [
            (np.flatnonzero(kinds == kind), share * size + 4, 1 + int(SAMPLED * share * size))
            for kind, share in (("name", NAMES), ("field", FIELDS_SHARE))
        ]
    for index, most, some in families:
        chosen |= set(index[np.argsort(-odds[index], kind="stable")[: int(most)]].tolist())
        chosen |= set(rng.choice(index, min(len(index), some), replace=False).tolist())
    return chosen
