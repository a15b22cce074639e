"""The command `codebyte scan`.

Exit status: 0 nothing at or above --fail-on, 1 there is, 2 the scan could not be made, 130
interrupted. The report goes to standard output or to --out, progress and remarks to standard error.
"""

import hashlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from codebyte.apps.options import Checkpoint, Json
from codebyte.errors import CodebyteError, InputError

if TYPE_CHECKING:
    from codebyte.tasks.scan_config import ScanConfig
    from codebyte.tasks.scan_results import ScanResult
    from codebyte.tasks.scan_targets import Tree
    from codebyte.tasks.scanning import Progress

HTML_BYTES = 1 << 20  # of source whose bytes are drawn in an HTML report
CLEAN, FOUND, FAILED, INTERRUPTED = 0, 1, 2, 130
_DEFAULT_FAIL_ON = "error"
_DEFAULT_TOP = 10
_UNFITTED = (
    "{} was fitted to other weights than these: findings are ranked, but their probabilities are "
    "not calibrated (docs/bugs.md says how to fit)"
)


class Format(StrEnum):
    """What a report is written as."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    HTML = "html"


def scan(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PATH_OR_URL", help="A repository, a folder, a file, or a URL to clone."
        ),
    ] = ".",
    base: Annotated[
        str | None, typer.Option(metavar="REV", help="Report only lines changed since REV.")
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--rev", metavar="REV", help="Scan this revision, not the files as they are."),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The most findings reported; if not set, 10 for text, 300 for HTML, 5,000 for "
            "SARIF, all for JSON.",
        ),
    ] = None,
    report_format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.TEXT,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report there.")
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="Exit with 1 from this on: note, warning, error, never, or a suspicion from 0 to "
            f"1. The project's setting, else {_DEFAULT_FAIL_ON}.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Findings that are known: not reported.")
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Write all that is found to the baseline.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that score; one for each core if not set.")
    ] = None,
    repairs: Annotated[
        bool, typer.Option("--repairs/--no-repairs", help="Ask the model, and look for edits.")
    ] = True,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Take unchanged files from the last scan.")
    ] = True,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Rank what looks wrong in code: suspicious lines with repairs, payloads, secrets."""
    if as_json:
        report_format = Format.JSON
    try:
        status = _run(
            place=place,
            base=base,
            revision=revision,
            top=top,
            report_format=report_format,
            out=out,
            fail_on=fail_on,
            baseline=baseline,
            write_baseline=write_baseline,
            jobs=jobs,
            repairs=repairs,
            cached=cache,
            checkpoint=checkpoint,
        )
    except CodebyteError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(status)


def _run(
    *,
    place: str,
    base: str | None,
    revision: str | None,
    top: int | None,
    report_format: Format,
    out: Path | None,
    fail_on: str | None,
    baseline: Path | None,
    write_baseline: bool,
    jobs: int | None,
    repairs: bool,
    cached: bool,
    checkpoint: str | None,
) -> int:
    from codebyte.tasks.baseline import read_baseline, write_file
    from codebyte.tasks.baseline import write_baseline as save_baseline
    from codebyte.tasks.fitted import is_fitted_to, judge_file
    from codebyte.tasks.rules import parse_fail_on, reaches
    from codebyte.tasks.scan_cache import ScanCache, model_id
    from codebyte.tasks.scan_targets import open_tree
    from codebyte.tasks.scan_workers import Scorer
    from codebyte.tasks.scanning import cores, scan_tree

    if out is not None:
        _check_writable(out)
    tree = open_tree(place, revision, history=base is not None)
    config = _config(tree)
    limit = parse_fail_on(fail_on or config.fail_on or _DEFAULT_FAIL_ON)
    if baseline is None and config.baseline is not None:
        baseline = tree.root / config.baseline
    if write_baseline and baseline is None:
        raise InputError("--write-baseline needs to know where: give --baseline FILE")
    known = frozenset() if baseline is None or write_baseline else read_baseline(baseline)
    tables = judge_file(checkpoint)
    fitted = hashlib.sha256(tables.read_bytes()).hexdigest()
    model = f"{model_id(checkpoint)} {repairs} {fitted}"
    scorer = Scorer(checkpoint=checkpoint, jobs=jobs or cores(), repairs=repairs)
    with ScanCache(model) if cached else _nothing() as store, _shown() as progress, _endable():
        result = scan_tree(
            tree,
            scorer,
            base=base,
            config=config,
            cache=store,
            known=known,
            keep=HTML_BYTES if report_format is Format.HTML else 0,
            progress=progress,
        )
    if store is not None and store.problem is not None:
        typer.echo(f"codebyte: the cache is not used: {store.problem}", err=True)
    if not is_fitted_to(checkpoint):
        typer.echo(f"codebyte: {_UNFITTED.format(tables)}", err=True)
    if write_baseline and baseline is not None and not result.interrupted:
        count = save_baseline(baseline, result.places)
        typer.echo(f"codebyte: {count} findings are now in {baseline}", err=True)
    if out is not None:
        write_file(out, _report(result, report_format, top, to_file=True).encode("utf-8"))
        typer.echo(f"codebyte: {len(result.places)} findings in {out}", err=True)
    else:
        sys.stdout.buffer.write(_report(result, report_format, top, to_file=False).encode("utf-8"))
        sys.stdout.buffer.flush()
    if result.interrupted:
        return INTERRUPTED
    if write_baseline:
        return CLEAN
    if not result.files and not result.unchanged and result.problems:
        path, reason = next(iter(sorted(result.problems.items())))
        _stop(f"nothing could be scanned, {path} for one: {reason}")
    return FOUND if any(reaches(p.finding, limit) for p in result.places) else CLEAN


def _report(result: "ScanResult", report_format: Format, top: int | None, *, to_file: bool) -> str:
    if report_format is Format.JSON:
        from codebyte.apps.report_json import json_report

        return json_report(result, top)
    if report_format is Format.SARIF:
        from codebyte.apps.report_sarif import sarif_report

        return sarif_report(result, top)
    if report_format is Format.HTML:
        from codebyte.apps.report_html import html_report

        return html_report(result, top)
    from rich.console import Console

    from codebyte.apps.report_text import text_report

    console = Console(file=sys.stdout)
    colour = console.is_terminal and not to_file and console.color_system is not None
    return text_report(result, top or _DEFAULT_TOP, console.width, colour=colour)


def _config(tree: "Tree") -> "ScanConfig":
    """The project's configuration; a stranger's clone has no say in how it is scanned."""
    from codebyte.tasks.scan_config import ScanConfig, load_config

    has_files = tree.repo is None or not tree.repo.bare
    return load_config(tree.root) if has_files else ScanConfig()


def _check_writable(out: Path) -> None:
    """Says before the work, not after it, that a report cannot be written."""
    if out.is_dir():
        raise InputError(f"{out} is a folder: give the name of a file")
    if not out.parent.is_dir():
        raise InputError(f"{out} cannot be written: there is no folder {out.parent}")


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


@contextmanager
def _endable() -> Iterator[None]:
    """Takes a request to end (SIGTERM) like Ctrl-C: what is done counts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _shown() -> "Iterator[Progress | None]":
    """A bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description:>8}"), BarColumn(), DownloadColumn())
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total or None)

        yield show


def _stop(message: str) -> NoReturn:
    typer.echo(f"codebyte: {' '.join(message.split())}", err=True)
    raise typer.Exit(FAILED)
