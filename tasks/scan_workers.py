"""Scores files, in this process or in several at once, each with its own copy of the model."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codebyte.errors import CheckpointError, CodebyteError
from codebyte.indexer.filters import MAX_BYTES, MIN_BYTES, skip_content, skip_path
from codebyte.indexer.languages import language_of
from codebyte.tasks.findings import FileReport, skipped_file
from codebyte.tasks.payloads import find_payloads
from codebyte.tasks.places import discreet
from codebyte.tasks.redaction import redacted
from codebyte.tasks.usage import MOST_BYTES, Usage

if TYPE_CHECKING:
    from codebyte.megabyte import Megabyte

LARGEST = 16 << 20  # bytes of a file that is looked at at all
WORTH_PROCESSES = 48 << 10  # bytes to score from which a second process pays for its start

Documents = Callable[[], Iterable[tuple[str, bytes]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One file to score."""

    path: str
    data: bytes
    oid: str  # git's id of the content
    compared: str = ""  # id of the content it is compared with, if any
    old: bytes | None = None  # that content
    changed: frozenset[int] | None = None  # the lines that may have findings; None for all


def skip_reason(path: str, size: int, *, payloads: bool = False) -> str | None:
    """Why a file is left out by its name and size alone, or None.

    Args:
        path: of the file.
        size: its bytes.
        payloads: whether it is to be looked at for what is out of place, as nearly every file is;
            else for bugs.
    """
    if size == 0:
        return "empty"
    if size > LARGEST:
        return f"too big: {size >> 20} MiB, and at most {LARGEST >> 20} are read"
    if payloads:
        return None
    if (reason := skip_path(path)) is not None:
        return reason
    if size > MAX_BYTES:
        return f"too big: {size >> 10} KiB, and at most {MAX_BYTES >> 10} are scored"
    return "too small" if size < MIN_BYTES else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What every file of a tree is scored with."""

    usage: Usage | None = None  # counts of the tree's files
    tables: Path | None = None  # the fitted ones; None for those of the package
    repairs: bool = True  # whether the model is asked


def score(model: "Megabyte", context: Context, job: Job) -> FileReport:
    """Scores one file for bugs, where it is code, and for what is out of place."""
    from codebyte.tasks.bugs import scan_file
    from codebyte.tasks.suspicion import load_judge

    language = language_of(job.path) or ""
    reason = skip_reason(job.path, len(job.data)) or skip_content(job.data, language)
    if reason is None:
        report = scan_file(
            model,
            job.data,
            job.path,
            changed_lines=None if job.changed is None else set(job.changed),
            old_source=job.old,
            repairs=context.repairs,
            usage=context.usage,
            judge=load_judge(context.tables),
        )
    else:
        report = skipped_file(job.path, language, reason)
    # What is found goes to other processes and into the cache.
    shown = redacted(job.data) if any(f.repair for f in report.findings) else b""
    bugs = [discreet(finding, job.data, shown) for finding in report.findings]
    odd = find_payloads(job.data, job.path, report.bits, job.changed)
    found = sorted((*bugs, *odd), key=lambda f: (-f.suspicion, f.line, f.column))
    return replace(report, findings=tuple(found))


class Scorer:
    """Scores jobs, with one model in this process or with one in each of several."""

    def __init__(
        self,
        *,
        model: "Megabyte | None" = None,
        checkpoint: str | None = None,
        jobs: int = 1,
        repairs: bool = True,
    ) -> None:
        """Prepares; nothing is loaded before `start`.

        Args:
            model: to score with in this process; None to load one.
            checkpoint: the folder it is loaded from; None for the packaged model.
            jobs: the most processes, if a model is to be loaded.
            repairs: whether to look for edits that make a file likelier.
        """
        self._model, self._checkpoint = model, checkpoint
        self._jobs = 1 if model is not None else jobs
        self._repairs = repairs
        self._context = Context(repairs=repairs)
        self._pool: ProcessPoolExecutor | None = None

    def start(self, documents: Documents, total: int) -> None:
        """Gets ready to score.

        Args:
            documents: gives the path and content of every file that may be learned from.
            total: bytes that are to be scored.

        Raises:
            CheckpointError: the model cannot be loaded.
        """
        from codebyte.tasks.fitted import judge_file

        self._context = Context(
            usage=_counted(documents), tables=judge_file(self._checkpoint), repairs=self._repairs
        )
        if self._jobs > 1 and total >= WORTH_PROCESSES:
            self._open_pool()
        elif self._model is None:
            import codebyte

            self._model = codebyte.load(self._checkpoint)

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, FileReport]]:
        """Yields each job with its report, as they are done."""
        if self._pool is not None:
            yield from self._run_in_pool(jobs)
            return
        assert self._model is not None, "not started"
        for job in jobs:
            yield job, _score_safely(self._model, self._context, job)

    def stop(self) -> None:
        """Ends the processes; jobs not done are dropped."""
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:  # one may be in the middle of a file
                process.terminate()
            for process in processes:
                process.join()
            self._pool = None

    def _open_pool(self) -> None:
        self._pool = ProcessPoolExecutor(
            self._jobs,
            mp_context=get_context("spawn"),  # a fork would copy locks of torch's threads
            initializer=_begin,
            initargs=(self._checkpoint, self._context),
        )

    def _run_in_pool(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, FileReport]]:
        waiting = iter(jobs)
        pending: dict[Future[FileReport], Job] = {}
        while True:
            # A few in advance and no more: the content of each is held in memory.
            while len(pending) < 2 * self._jobs and (job := next(waiting, None)) is not None:
                pending[self._submit(job)] = job
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            ended = {f for f in done if isinstance(f.exception(), BrokenProcessPool)}
            broken = [pending.pop(future) for future in ended]
            for future in done - ended:
                yield pending.pop(future), future.result()
            if broken:
                # One of these ended its process; alone, each shows whether it was the one.
                suspects = [*broken, *pending.values()]
                pending.clear()
                self.stop()
                self._open_pool()
                for job in suspects:
                    yield job, self._alone(job)

    def _alone(self, job: Job) -> FileReport:
        try:
            return self._submit(job).result()
        except BrokenProcessPool:
            self.stop()
            self._open_pool()
            reason = "failed: the process that scored it was ended, perhaps for lack of memory"
            return skipped_file(job.path, language_of(job.path) or "", reason)

    def _submit(self, job: Job) -> Future[FileReport]:
        assert self._pool is not None
        with _interrupts_ignored():  # by the processes that this may start, for all their life
            return self._pool.submit(_score_here, job)


def _counted(documents: Documents) -> Usage:
    """Counts the files of a tree that are text and not made by a machine, up to MOST_BYTES."""
    usage = Usage()
    for path, data in documents():
        if skip_content(data, language_of(path) or "") is not None:
            continue
        if usage.bytes + len(data) > MOST_BYTES:
            break
        usage.add(data)
    return usage


_here: dict[str, Any] = {}  # what this worker process scores with


def _begin(checkpoint: str | None, context: Context) -> None:
    import torch

    import codebyte

    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(1)  # the processes share the cores already
    try:
        _here.update(model=codebyte.load(checkpoint), context=context)
    except CodebyteError as error:
        _here["problem"] = error


def _follow_parent() -> None:
    """Ends this process when the one that started it was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _score_here(job: Job) -> FileReport:
    if "problem" in _here:
        raise _here["problem"]
    return _score_safely(_here["model"], _here["context"], job)


def _score_safely(model: "Megabyte", context: Context, job: Job) -> FileReport:
    try:
        return score(model, context, job)
    except CheckpointError:
        raise  # no file can be scored
    except Exception as error:  # one file must not cost the others; this one is named
        reason = f"failed: {type(error).__name__}: {error}".splitlines()[0]
        return skipped_file(job.path, language_of(job.path) or "", reason)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Lets Ctrl-C reach this process only, and not the ones started meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
