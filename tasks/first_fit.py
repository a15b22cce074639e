"""Fits the first look of a scan to files whose wrong lines are known. Needs scikit-learn."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codebyte.tasks.boosting import boosted, straight
from codebyte.tasks.candidates import line_starts, name_of
from codebyte.tasks.edit import Edit
from codebyte.tasks.first_pass import (
    FIRST_EDIT,
    FIRST_LINE,
    FirstPass,
    first_edit_features,
    first_line_features,
    together,
)
from codebyte.tasks.fitting import chance_of, folds_of, rates_of
from codebyte.tasks.fixed_words import FixedWords
from codebyte.tasks.known import Known, marked, mends
from codebyte.tasks.line_features import PLACE, words_of
from codebyte.tasks.mutations import edits
from codebyte.tasks.skim import Skim
from codebyte.tasks.syntax import LineKind, parse, tree_kinds
from codebyte.tasks.usage import Usage

NEGATIVES = 120_000  # edits that are no repair, to learn from
CHANGE_SHRUNK = 5.0  # repairs that the mean of all counts for in a kind of change


@dataclass(slots=True, kw_only=True)
class Skimmed:
    """A known file and what counts say of it."""

    known: Known
    skim: Skim
    kinds: list[LineKind | None]
    starts: NDArray[np.int64]
    edits: list[Edit]
    rows: NDArray[np.int64]
    table: NDArray[np.float32]  # (edits, len(FIRST_EDIT))
    right: NDArray[np.bool_]  # (edits,)
    wrong: NDArray[np.bool_]  # (lines,)
    slips: NDArray[np.bool_]  # (lines,)
    code: NDArray[np.bool_]  # (lines,)


def skimmed(known: Known, usage: Usage | None) -> Skimmed | None:
    """Looks at one file; None where its language has no grammar."""
    source = known.source
    tree = parse(source, known.path)
    if tree is None:
        return None
    starts, every, skim = line_starts(source), edits(tree, source), Skim(source, usage)
    wrong, slips = marked(known, len(starts))
    kinds = tree_kinds(tree, len(starts))
    return Skimmed(
        known=known,
        skim=skim,
        kinds=kinds,
        starts=starts,
        edits=every,
        rows=np.searchsorted(starts, [e.start for e in every], side="right") - 1,
        table=first_edit_features(skim, tree, every, starts, {}),
        right=np.array([any(mends(source, e, w) for w in known.wrong) for e in every], bool),
        wrong=wrong,
        slips=slips,
        code=np.array([kind is not None for kind in kinds], bool),
    )


def fit_first_pass(read: Sequence[Skimmed]) -> FirstPass:
    """Fits all tables."""
    folds = folds_of([one.known.repo for one in read])
    changes = _changes(read)
    column = FIRST_EDIT.index("rate of the change")
    for one in read:
        usual = changes[""]
        one.table[:, column] = [changes.get(name_of(edit), usual) for edit in one.edits]
    put_in = [bool(one.slips.any()) for one in read]  # the others tell of fixes only
    edit, odds = boosted(
        [one.table for one in read],
        [one.right for one in read],
        folds,
        iterations=120,
        leaves=12,
        negatives=NEGATIVES,
        counted=[np.full(len(one.edits), p) for one, p in zip(read, put_in, strict=True)],
    )
    rates = rates_of([(one.known, one.kinds) for one in read])
    words = FixedWords()
    fixed_lines = [[] if p else _fixed_lines(one) for one, p in zip(read, put_in, strict=True)]
    for lines in fixed_lines:
        words.add(lines)
    tables = []
    for one, o, lines in zip(read, odds, fixed_lines, strict=True):
        words.add(lines, -1)  # as of a file that nothing was learned from
        told = words.rates(words_of(one.known.source))
        tables.append(
            first_line_features(one.skim, one.kinds, one.starts, one.rows, o, rates, told)
        )
        words.add(lines)
    mends_of = [one.wrong & ~one.slips for one in read]
    slip, by_slip = boosted(
        tables,
        [one.slips for one in read],
        folds,
        iterations=120,
        leaves=8,
        counted=[one.code & p for one, p in zip(read, put_in, strict=True)],
    )
    fixed, by_fix = straight(
        tables,
        mends_of,
        folds,
        [one.code & (not p) for one, p in zip(read, put_in, strict=True)],
        without=[FIRST_LINE.index(name) for name in PLACE],
    )
    odds_of_lines = [together(*pair) for pair in zip(by_slip, by_fix, strict=True)]
    chance = chance_of(odds_of_lines, [one.wrong for one in read], [one.code for one in read])
    return FirstPass(
        rates=rates,
        words=words.rates(),
        changes=changes,
        edit=edit,
        slip=slip,
        fixed=fixed,
        chance=chance,
    )


def _fixed_lines(one: Skimmed) -> list[tuple[bytes, bool]]:
    """The lines of code of a file, each with whether it was fixed."""
    lines = one.known.source.split(b"\n")[: len(one.code)]
    return [(line, bool(w)) for line, w, c in zip(lines, one.wrong, one.code, strict=True) if c]


def _changes(read: Sequence[Skimmed]) -> dict[str, float]:
    """Log odds that an edit was a repair, by its kind and detail."""
    tried: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for one in read:
        for edit, is_right in zip(one.edits, one.right, strict=True):
            tried[name_of(edit)] += 1
            right[name_of(edit)] += bool(is_right)
    mean = (right.total() + 1) / (tried.total() + 1)
    found = {"": float(np.log(mean))}
    for name, count in sorted(tried.items()):
        share = (right[name] + CHANGE_SHRUNK) / (count + CHANGE_SHRUNK / mean)
        found[name] = float(np.log(share))
    return found
