"""Scans a tree of files: what is in the cache is taken from there, the rest is scored.

tree -> targets -> (changed since the base?) -> cache, or processes that score -> ranked reports
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

from codebyte.errors import RepoError
from codebyte.tasks.findings import FileReport
from codebyte.tasks.places import Place, place_findings
from codebyte.tasks.redaction import redacted
from codebyte.tasks.scan_cache import ScanCache
from codebyte.tasks.scan_changes import Base, changed_lines, find_base
from codebyte.tasks.scan_config import ScanConfig
from codebyte.tasks.scan_results import ScannedFile, ScanResult
from codebyte.tasks.scan_targets import Target, Tree, blob_id, open_tree
from codebyte.tasks.scan_workers import Context, Job, Scorer, score, skip_reason

if TYPE_CHECKING:
    from codebyte.megabyte import Megabyte

Progress = Callable[[str, int, int], None]  # what is done, bytes so far, bytes in all


def scan_path(
    model: "Megabyte", path: str | PathLike[str], base: str | None = None
) -> list[FileReport]:
    """What `codebyte.tasks.bugs.scan` gives: a scan with no cache and without settings."""
    tree = open_tree(path, history=base is not None)
    result = scan_tree(tree, Scorer(model=model), base=base, keep=1 << 62)
    return [file.report for file in result.files]


def scan_text(model: "Megabyte", data: bytes, path: str) -> tuple[Place, ...]:
    """What a scan reports of one text by itself: what its comments silence is left out.

    Args:
        model: any Megabyte.
        data: the text.
        path: its name, which tells the language.

    Raises:
        CheckpointError: the fitted tables are missing.
    """
    report = score(model, Context(), Job(path=path, data=data, oid=blob_id(data)))
    return tuple(place for place in place_findings(report, data) if not place.suppressed)


def scan_tree(
    tree: Tree,
    scorer: Scorer,
    *,
    base: str | None = None,
    config: ScanConfig | None = None,
    cache: ScanCache | None = None,
    known: frozenset[str] = frozenset(),
    keep: int = 0,
    progress: Progress | None = None,
) -> ScanResult:
    """Scans every file of a tree; an interrupt (Ctrl-C) ends it early with what there is.

    Args:
        tree: from `open_tree`.
        scorer: what scores the files that are not in the cache.
        base: a revision: only lines changed since are reported.
        config: the project's; None for the defaults.
        cache: where reports are kept; None for nowhere.
        known: fingerprints of findings not to report.
        keep: bytes of source, of the most suspicious files, to keep with their bits.
        progress: told how far it is.

    Raises:
        RepoError: there is no such base.
    """
    return _Scan(tree, scorer, base, config or ScanConfig(), cache, known, keep, progress).run()


class _Scan:
    def __init__(
        self,
        tree: Tree,
        scorer: Scorer,
        base: str | None,
        config: ScanConfig,
        cache: ScanCache | None,
        known: frozenset[str],
        keep: int,
        progress: Progress | None,
    ) -> None:
        self.tree, self.scorer, self.config = tree, scorer, config
        self.cache, self.known, self.keep = cache, known, keep
        self.progress = progress or (lambda stage, done, total: None)
        self._kept = 0  # bytes of content held
        self._changes: dict[tuple[str, str], frozenset[int]] = {}  # by ids of old and new content
        self.base: Base | None = None
        if base is not None:
            if tree.repo is None:
                raise RepoError(f"{tree.name} is in no git repository, so it has no {base!r}")
            self.base = find_base(tree.repo, base, tree.commit)
        self.result = ScanResult(
            name=tree.name, base=None if self.base is None else self.base.commit
        )

    def run(self) -> ScanResult:
        excluded = self.config.excluded()
        self.result.skipped |= {
            path: why for path, why in self.tree.skipped.items() if not excluded.match_file(path)
        }
        targets = [t for t in self.tree.targets if not excluded.match_file(t.path)]
        for target in {t.path for t in self.tree.targets} - {t.path for t in targets}:
            self.result.skipped[target] = "excluded"
        try:
            self._score(self._look_up(targets), targets)
        except KeyboardInterrupt:
            self.result.interrupted = True
        self._rank()
        return self.result

    def _look_up(self, targets: list[Target]) -> list[Target]:
        """Takes what there is from the cache; gives the rest."""
        missing = []
        total, done = sum(target.size for target in targets), 0
        for target in targets:
            done += target.size
            self.progress("reading", done, total)
            job = self._job(target)
            if job is None:
                continue
            report = None
            if self.cache is not None:
                report = self.cache.get(self.tree.scope, job.path, job.oid, job.compared)
            if report is None:
                missing.append(target)
            else:
                self.result.from_cache += 1
                self._add(report, job.data)
        return missing

    def _score(self, missing: list[Target], targets: list[Target]) -> None:
        if not missing:
            return
        total, done = sum(target.size for target in missing), 0
        self.progress("learning", 0, total)
        self.scorer.start(lambda: self._documents(targets), total)
        self.progress("scoring", 0, total)
        jobs = (job for target in missing if (job := self._job(target)) is not None)
        try:
            for job, report in self.scorer.run(jobs):
                done += len(job.data)
                self.progress("scoring", done, total)
                self._add(report, job.data)  # first: an interrupted scan reports all it keeps
                # What failed may go well another time.
                failed = report.skipped is not None and report.skipped.startswith("failed")
                if self.cache is not None and not failed:
                    self.cache.put(self.tree.scope, job.path, job.oid, job.compared, report)
        finally:
            self.scorer.stop()

    def _documents(self, targets: list[Target]) -> Iterator[tuple[str, bytes]]:
        """Every file that the scorer may learn from, path and content."""
        for target in targets:
            if skip_reason(target.path, target.size) is None:
                try:
                    yield target.path, self.tree.read(target)
                except OSError:
                    continue  # it is named when it is its turn to be scored

    def _job(self, target: Target) -> Job | None:
        """Reads a file and what it was; None, with the reason noted, if there is nothing to do."""
        path = target.path
        reason = skip_reason(path, target.size, payloads=True)
        if reason is not None:
            self.result.skipped[path] = reason
            return None
        old_oid = None if self.base is None else self.base.old_oid(path)
        if target.oid is not None and target.oid == old_oid:
            self.result.unchanged += 1
            return None
        try:
            data = self.tree.read(target)
            oid = blob_id(data)
            if old_oid == oid:
                self.result.unchanged += 1
                return None
            if old_oid is None:  # no base, or all its lines are new
                return Job(path=path, data=data, oid=oid)
            old = self.tree.read_object(old_oid)
            lines = self._changes.get((old_oid, oid))
            if lines is None:
                lines = self._changes[old_oid, oid] = changed_lines(old, data)
        except OSError as error:
            self.result.skipped[path] = f"unreadable: {error.strerror or error}"
            return None
        if not lines:
            self.result.unchanged += 1
            return None
        return Job(path=path, data=data, oid=oid, compared=old_oid, old=old, changed=lines)

    def _add(self, report: FileReport, data: bytes) -> None:
        if report.skipped is not None:
            self.result.skipped[report.path] = report.skipped
        wanted = tuple(finding for finding in report.findings if self.config.wants(finding))
        report = replace(report, findings=wanted)
        places = place_findings(report, data)
        loud = [p for p in places if not p.suppressed]
        new = [p for p in loud if p.fingerprint not in self.known]
        self.result.suppressed += len(places) - len(loud)
        self.result.known += len(loud) - len(new)
        if report.skipped is not None and not new:
            return
        self.result.scored_bytes += len(data) if report.skipped is None else 0
        report = replace(report, findings=tuple(place.finding for place in new))
        # Bits and content of more than is to be kept are let go from time to time.
        shown = redacted(data) if self.keep else None
        file = ScannedFile(report=report, places=tuple(new), data=shown)
        if not self.keep:
            file = _without_bytes(file)
        self.result.files.append(file)
        self._kept += len(file.data or b"")
        if self._kept > 2 * self.keep:
            self._rank()

    def _rank(self) -> None:
        """Puts the most suspicious files first, and keeps content and bits of the first ones."""
        self.result.files.sort(
            key=lambda file: (-file.report.suspicion, -file.out_of_place, file.report.path)
        )
        kept = 0
        for i, file in enumerate(self.result.files):
            kept += len(file.data or b"")
            if kept > self.keep:
                kept -= len(file.data or b"")
                self.result.files[i] = _without_bytes(file)
        self._kept = kept


def _without_bytes(file: ScannedFile) -> ScannedFile:
    return replace(file, report=replace(file.report, bits=None), data=None)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
