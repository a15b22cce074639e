"""Which lines of a file, and which files of a tree, deserve a look for bugs.

file -> bits per byte -> lines -> suspicion (and repairs that score better) -> report
"""

import difflib
import os
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.filters import skip_content
from codebyte.indexer.languages import language_of
from codebyte.megabyte import Megabyte
from codebyte.tasks.findings import FileReport, Finding, skipped_file
from codebyte.tasks.judged import Judged
from codebyte.tasks.reasons import finding_of
from codebyte.tasks.suspicion import Judge, load_judge
from codebyte.tasks.usage import Usage

FEWEST_FINDINGS = 1  # of a file, where a line reaches LEAST
FINDINGS_PER_LINE = 0.02  # at most so many more
LEAST = 0.05  # suspicion below which a line is no finding
READ_FROM = LEAST  # of a line at the first look, from which the model reads the block around it
NEVER = 2.0  # no line is that suspicious
READ_WHOLE = 64_000  # bytes of a file up to which all of it is read where lines of it changed


def line_suspicion(model: Megabyte, source: bytes, path: str) -> NDArray[np.float32]:
    """How suspicious each line is, (number of lines,), 0 to 1; place i is line i + 1.

    Raises:
        CheckpointError: the fitted tables are missing.
    """
    if not source:
        return np.zeros(0, np.float32)
    return load_judge().judge(model, source, path).lines


def scan_file(
    model: Megabyte,
    source: bytes,
    path: str,
    *,
    changed_lines: set[int] | None = None,
    old_source: bytes | None = None,
    repairs: bool = True,
    usage: Usage | None = None,
    judge: Judge | None = None,
) -> FileReport:
    """Scores one file.

    The model reads what may hold a finding; the rest keeps what counts of tokens say of it.

    Args:
        model: any Megabyte.
        source: the file.
        path: its name, which tells the language.
        changed_lines: only these lines, 1-based, may have findings; None for all, or with an old
            source for those that differ from it.
        old_source: the file before the change: only the rise in suspicion counts.
        repairs: whether to ask the model at all, which is what finds edits that make the file
            likelier; without, only the first look counts.
        usage: counts of its repository, the file included; None where it stands alone.
        judge: the fitted tables; None for the packaged ones.

    Raises:
        CheckpointError: the fitted tables are missing.
    """
    language = language_of(path) or ""
    if (reason := skip_content(source, language)) is not None:
        return skipped_file(path, language, reason)
    replaced: dict[int, list[int]] = {}
    if old_source is not None:
        replaced = _replaced(old_source, source)
        changed_lines = set(replaced) if changed_lines is None else changed_lines
    judge = judge or load_judge()
    # Changed lines are few: the model reads around all of them, and so the old ones too. A line is
    # judged beside the others of its file, so of a file that is not large it reads all.
    least = NEVER if not repairs else READ_FROM if changed_lines is None else 0.0
    large = len(source) > READ_WHOLE
    near = changed_lines if large else None
    judged = judge.judge(model, source, path, usage=usage, least=least, only=near)
    lines = judged.lines
    if changed_lines is not None:
        lines = np.where(_mask(changed_lines, len(lines)), lines, 0.0).astype(np.float32)
    if old_source:
        wanted = {line for olds in replaced.values() for line in olds}
        near = wanted if large else None
        before = judge.judge(model, old_source, path, usage=usage, least=least, only=near).lines
        lines = _risen(lines, before, replaced)
    return FileReport(
        path=path,
        language=language,
        suspicion=float(1 - np.prod(1 - np.sort(lines)[-20:], dtype=np.float64)),
        bits_per_byte=float(judged.bits.mean()),
        lines=lines,
        bits=judged.bits,
        findings=_findings(judged, source, path, lines),
    )


def scan(
    model: Megabyte, path: str | os.PathLike[str], base: str | None = None
) -> list[FileReport]:
    """Scores a file, a folder, a repository or the clone of a URL, the most suspicious file first.

    Files that are not code are only in the list where something in them is out of place.

    Args:
        model: any Megabyte.
        path: what to scan; a working copy as it stands.
        base: a revision: only lines changed since are reported.

    Raises:
        InputError: there is no such path.
        RepoError: it cannot be opened or has no such revision.
        CheckpointError: the fitted tables are missing.
    """
    from codebyte.tasks.scanning import scan_path  # which scores files by `scan_file` above

    return scan_path(model, path, base)


def _findings(
    judged: Judged, source: bytes, path: str, lines: NDArray[np.float32]
) -> tuple[Finding, ...]:
    most = FEWEST_FINDINGS + int(FINDINGS_PER_LINE * judged.code.sum())
    order = np.argsort(-lines, kind="stable")[:most]
    return tuple(
        finding_of(judged, source, path, int(row), float(lines[row]))
        for row in order
        if lines[row] >= LEAST
    )


def _mask(lines: Collection[int], count: int) -> NDArray[np.bool_]:
    return np.isin(np.arange(1, count + 1), list(lines))


def _replaced(old: bytes, new: bytes) -> dict[int, list[int]]:
    """The lines of the new text that are not in the old one, with those they stand for, 1-based."""
    matcher = difflib.SequenceMatcher(None, old.split(b"\n"), new.split(b"\n"), autojunk=False)
    found: dict[int, list[int]] = {}
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag in ("replace", "insert"):
            for line in range(j, j_end):
                found[line + 1] = list(range(i + 1, i_end + 1))
    return found


def _risen(
    lines: NDArray[np.float32], before: NDArray[np.float32], replaced: dict[int, list[int]]
) -> NDArray[np.float32]:
    """What is left of each line's suspicion when that of the lines it stands for is taken off."""
    risen = lines.copy()
    for line, olds in replaced.items():
        known = [before[old - 1] for old in olds if old <= len(before)]
        if line <= len(risen) and known:
            risen[line - 1] = max(0.0, risen[line - 1] - max(known))
    return risen
