"""The command `codebyte adapt`."""

import math
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codebyte.apps.options import Checkpoint, Json, print_json

if TYPE_CHECKING:
    from codebyte.tasks.adapt import AdaptResult, Moment

_BAR = 30  # characters


def adapt(
    repo: Annotated[
        str, typer.Argument(metavar="REPO_OR_URL", help="A repository, a folder or a URL to clone.")
    ],
    minutes: Annotated[float, typer.Option(min=0.01, max=1440.0, help="How long to train.")] = 5.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where the checkpoint goes; adapted/NAME if not given."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in that folder.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option("--rev", metavar="REV", help="Learn this revision, not HEAD.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="CPU threads to use.")] = 1,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Train the model further on your own repository, and show what that brought.

    Ctrl-C ends the training early and keeps the best so far; --resume goes on.
    """
    import torch

    import codebyte
    from codebyte.indexer.filters import format_skips
    from codebyte.indexer.repo import documents, open_repo
    from codebyte.tasks.adapt import AdaptConfig
    from codebyte.tasks.adapt import adapt as run
    from codebyte.tasks.held_out import split_files

    config = AdaptConfig(minutes=minutes)
    opened = open_repo(repo, revision)
    skips: dict[str, int] = {}
    learnt, held_out, by = split_files(opened, list(documents([opened], skips=skips)))
    folder = Path("adapted", opened.name.replace("/", "-")) if out is None else out
    torch.set_num_threads(threads)
    model = codebyte.load(checkpoint, "cpu")
    sizes = [sum(len(file.data) for file in files) for files in (learnt, held_out)]
    typer.echo(format_skips(skips), err=True)
    typer.echo(
        f"{len(learnt):,} files to learn from ({sizes[0] / 1e6:.2f} MB), {len(held_out):,} held "
        f"out by {by} ({sizes[1] / 1e3:.0f} KB); measuring the model as it is",
        err=True,
    )
    with _interrupted() as asked:
        result = run(
            model,
            learnt,
            held_out,
            folder,
            config,
            resume=resume,
            cancel=asked.is_set,
            report=_show,
        )
    typer.echo("", err=True)
    if as_json:
        print_json(_plain(asdict(result)) | {"checkpoint": str(folder)})
    else:
        _print_table(result, folder)


def _print_table(result: "AdaptResult", folder: Path) -> None:
    before, after = result.before, result.after
    gain = after.bits_per_byte / before.bits_per_byte - 1
    lost = after.elsewhere / before.elsewhere - 1
    typer.echo(f"{'':32}{'before':>8}{'after':>8}")
    rows = (
        (
            "bits per byte, held-out files",
            before.bits_per_byte,
            after.bits_per_byte,
            f"{gain:+.1%}",
        ),
        ("bits per byte, other code", before.elsewhere, after.elsewhere, f"{lost:+.1%}"),
    )
    for name, one, other, change in rows:
        typer.echo(f"{name:32}{one:8.3f}{other:8.3f}  {change}")
    typer.echo(f"{'lines completed exactly':32}{before.exact_lines:8.1%}{after.exact_lines:8.1%}")
    if result.kept < 1:
        typer.echo(f"kept {result.kept:.0%} of the change, so that other code stays known")
    how = "" if result.finished else "interrupted; --resume goes on. "
    typer.echo(
        f"{how}{result.steps} steps, {result.seconds / 60:.1f} minutes. "
        f"Use it with --checkpoint {folder}"
    )


def _show(moment: "Moment") -> None:
    """Draws a bar over the last one, where somebody is there to see it."""
    if not sys.stderr.isatty():
        return
    full = round(_BAR * moment.done)
    bar = "#" * full + "." * (_BAR - full)
    typer.echo(f"\r[{bar}] {moment.done:4.0%} {moment.bits:.3f} bits per byte", err=True, nl=False)


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Turns a first Ctrl-C or SIGTERM into an event; a second Ctrl-C ends the program."""
    asked = threading.Event()

    def ask(signum: int, frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """The same with None for figures that could not be taken, which JSON does not know."""
    return {
        name: _plain(value)
        if isinstance(value, dict)
        else None
        if isinstance(value, float) and math.isnan(value)
        else value
        for name, value in values.items()
    }
