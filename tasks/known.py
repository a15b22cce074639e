"""Files whose wrong lines are known, and what the model says of them: what a scan is fitted on.

Some lines are wrong because a bug was put in (`codebyte.tasks.injection`), some because a later
commit fixed them.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from codebyte.megabyte import Megabyte
from codebyte.tasks.candidates import LIGHT
from codebyte.tasks.edit import Edit
from codebyte.tasks.first_pass import FirstPass, Look, load_first_pass
from codebyte.tasks.questions import Answers, ask
from codebyte.tasks.suspicion import most_scored
from codebyte.tasks.usage import Usage

CHOSEN = 1.2  # times as many edits as a scan would score are scored to fit on
SAMPLED = 0.003  # and so many drawn at random, for each byte

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
    """What the first look and the model say of a known file; all that takes long."""

    known: Known
    look: Look
    answers: Answers
    right: NDArray[np.bool_]  # (edits that were seen,), whether they take a bug out
    wrong: NDArray[np.bool_] = field(init=False)  # (number of lines,)
    slips: NDArray[np.bool_] = field(init=False)  # (number of lines,), those put in
    code: NDArray[np.bool_] = field(init=False)  # (number of lines,)

    def __post_init__(self) -> None:
        self.wrong, self.slips = marked(self.known, len(self.look.starts))
        self.code = self.look.code

    @property
    def edits(self) -> list[Edit]:
        """Those that were seen."""
        return [self.look.edits[i] for i in self.answers.seen]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Their lines, from 0."""
        return self.look.rows[self.answers.seen]


def signals(
    model: Megabyte,
    known: Known,
    seed: int,
    usage: Usage | None = None,
    first_pass: FirstPass | None = None,
) -> Signals | None:
    """Reads one file.

    Args:
        model: any Megabyte.
        known: the file.
        seed: of the edits that are drawn at random.
        usage: counts of its repository.
        first_pass: for the first look; None for the packaged one.

    Returns:
        None where the file's language has no grammar.
    """
    source = known.source
    look = (first_pass or load_first_pass()).look(source, known.path, usage)
    if look.tree is None:
        return None
    right = np.array(
        [any(mends(source, edit, wrong) for wrong in known.wrong) for edit in look.edits], bool
    )
    rng = np.random.default_rng(seed)

    def choose(seen: NDArray[np.int64], light: Table, size: int) -> NDArray[np.int64]:
        """The best at the first look and by the model's first byte, the right ones, some others."""
        most = max(1, int(CHOSEN * most_scored(size)))
        gained = light[:, LIGHT.index("first byte gain")]
        chosen = set(np.argsort(-look.odds[seen], kind="stable")[:most].tolist())
        chosen |= set(np.argsort(-gained, kind="stable")[: most // 3].tolist())
        chosen |= set(np.flatnonzero(right[seen]).tolist())
        some = min(len(seen), int(SAMPLED * size))
        chosen |= set(rng.choice(len(seen), some, replace=False).tolist()) if some else set()
        return np.array(sorted(chosen), np.int64)

    answers = ask(model, source, look, {}, choose)
    # A syntax tree cannot go from one process to another.
    return Signals(
        known=known,
        look=replace(look, tree=None),
        answers=answers,
        right=right[answers.seen],
    )


def marked(known: Known, num_lines: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which lines are wrong, and which of them for a bug that was put in."""
    wrong, slips = np.zeros((2, num_lines), bool)
    wrong[[place.line - 1 for place in known.wrong]] = True
    slips[[place.line - 1 for place in known.wrong if place.injected]] = True
    return wrong, slips


def mends(source: bytes, edit: Edit, wrong: Wrong) -> bool:
    """Whether an edit gives exactly what belongs at a wrong place."""
    if wrong.fix is None or edit.start > wrong.end + 1 or edit.end < wrong.start - 1:
        return False
    first, last = min(edit.start, wrong.start), max(edit.end, wrong.end)
    edited = source[first : edit.start] + edit.replacement + source[edit.end : last]
    return edited == source[first : wrong.start] + wrong.fix + source[wrong.end : last]
