"""Which lines of a file, and which files of a tree, deserve a look for bugs.

file -> bits per byte -> lines -> suspicion (and repairs that score better) -> report
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codebyte.indexer.filters import skip_content
from codebyte.indexer.languages import language_of
from codebyte.indexer.repo import open_repo, read_blobs
from codebyte.megabyte import Megabyte
from codebyte.scoring import line_bits, surprisal
from codebyte.tasks.findings import SURPRISING, FileReport, Finding, skipped_file

MOST_FINDINGS = 3  # per file


def line_suspicion(model: Megabyte, source: bytes, path: str) -> NDArray[np.float32]:
    """How suspicious each line is, (number of lines,), 0 to 1; place i is line i + 1."""
    return _lines(source, surprisal(model, source))


def scan_file(
    model: Megabyte,
    source: bytes,
    path: str,
    *,
    changed_lines: set[int] | None = None,
    old_source: bytes | None = None,
    repairs: bool = True,
) -> FileReport:
    """Scores one file.

    Args:
        model: any Megabyte.
        source: the file.
        path: its name, which tells the language.
        changed_lines: only these lines, 1-based, may have findings; None for all.
        old_source: the file before the change: what was as suspicious before is not reported.
        repairs: whether to look for edits that make the file likelier.
    """
    language = language_of(path) or ""
    if (reason := skip_content(source, language)) is not None:
        return skipped_file(path, language, reason)
    bits = surprisal(model, source)
    lines = _lines(source, bits)
    text = source.split(b"\n")
    order = np.argsort(-lines, kind="stable")
    chosen = [i for i in order if changed_lines is None or i + 1 in changed_lines][:MOST_FINDINGS]
    findings = [
        Finding(
            rule=SURPRISING,
            path=path,
            line=int(i) + 1,
            column=len(text[i]) - len(text[i].lstrip()) + 1,
            end_column=len(text[i]) + 1,
            suspicion=float(lines[i]),
            message="this line is more surprising than the rest of the file",
            reasons=(),
        )
        for i in chosen
    ]
    return FileReport(
        path=path,
        language=language,
        suspicion=float(lines.max(initial=0.0)),
        bits_per_byte=float(bits.mean()),
        lines=lines,
        bits=bits,
        findings=tuple(findings),
    )


def scan(
    model: Megabyte, path: str | os.PathLike[str], base: str | None = None
) -> list[FileReport]:
    """Scores a file, a folder or a repository, the most suspicious file first.

    Args:
        model: any Megabyte.
        path: a file, a folder or a git repository.
        base: a revision: only lines changed since are reported.

    Raises:
        RepoError: it cannot be opened or has no such revision.
    """
    place = Path(path)
    if place.is_file():
        return [scan_file(model, place.read_bytes(), place.name)]
    repo = open_repo(place)
    before = {b.path: b.data for b in read_blobs(repo, base)} if base is not None else {}
    reports = []
    for blob in read_blobs(repo):
        old = before.get(blob.path)
        if base is None:
            reports.append(scan_file(model, blob.data, blob.path))
        elif old != blob.data:
            reports.append(scan_file(model, blob.data, blob.path, old_source=old))
    return sorted(reports, key=lambda report: (-report.suspicion, report.path))


def _lines(source: bytes, bits: NDArray[np.float32]) -> NDArray[np.float32]:
    total = line_bits(source, bits)
    return (1 - np.exp2(-total / 64)).astype(np.float32)
