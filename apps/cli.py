"""The `codebyte` command.

Results go to standard output, what is said about them to standard error. Exit status: 0 done, 1 a
one-line error, 2 a command line that cannot be read. torch and gradio are imported inside the
commands, so that `--help` is quick.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import codebyte
from codebyte.apps.adapt_commands import adapt
from codebyte.apps.doctor_commands import bench, doctor
from codebyte.apps.options import Alone, Checkpoint, Json, Served, bounded, print_json, read
from codebyte.apps.scan_commands import scan
from codebyte.apps.score_commands import score
from codebyte.apps.search_commands import index, search, similar, status
from codebyte.apps.serve_commands import lsp, mcp, serve
from codebyte.errors import CodebyteError, InputError

if TYPE_CHECKING:
    from codebyte.tasks.completion import Completion

LARGEST_COMPLETED = 16 << 20  # bytes of a file to complete in

app = typer.Typer(
    name="codebyte",
    help="A byte-level code model that completes and scores code on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Runs the command; the console script's entry."""
    try:
        app()
    except CodebyteError as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader (head, less) left. Nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"codebyte {codebyte.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def complete(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE:LINE:COL",
            help="Where the caret stands: line and column from 1, column in characters.",
            show_default=False,
        ),
    ] = None,
    stdin_prefix: Annotated[
        bool, typer.Option("--stdin-prefix", help="Read what stands before the caret from stdin.")
    ] = False,
    suffix_file: Annotated[
        Path | None,
        typer.Option(help="With --stdin-prefix: a file of what stands after the caret."),
    ] = None,
    path: Annotated[
        str | None, typer.Option(help="With --stdin-prefix: the name the model is told.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, max=1 << 14, help="Longest completion, in bytes.")
    ] = None,
    multiline: Annotated[
        bool | None,
        typer.Option(
            "--multiline/--one-line", help="Many lines or one; the code decides if not given."
        ),
    ] = None,
    alone: Alone = False,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Print what the model would write at a place in a file."""
    if (place is None) != stdin_prefix:
        raise typer.BadParameter("give either FILE:LINE:COL or --stdin-prefix")
    if place is not None and (suffix_file is not None or path is not None):
        raise typer.BadParameter("--suffix-file and --path go with --stdin-prefix")
    if place is not None:
        path, prefix, suffix = _split_at(place)
    else:
        prefix = bounded(sys.stdin.buffer, "standard input", LARGEST_COMPLETED)
        suffix = b"" if suffix_file is None else read(suffix_file, LARGEST_COMPLETED)
    from codebyte.tasks.completion import TRIES, Completer
    from codebyte.tasks.neighbours import mixer_in

    path, mixer = (path, None) if alone else mixer_in(path)
    completer = Completer(codebyte.load(checkpoint), mixer)
    done = completer.complete(
        prefix, suffix, path=path, max_new_bytes=max_bytes, multiline=multiline, tries=TRIES
    )
    if as_json:
        print_json(_completion_json(done))
    else:
        # The bytes as they are, so that what is printed can be pasted at the caret.
        sys.stdout.buffer.write(done.text + (b"" if done.text.endswith(b"\n") else b"\n"))
        sys.stdout.buffer.flush()


@app.command()
def web(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 7860,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="CODEBYTE_TOKEN",
            help="What every request must carry; needed for any HOST but this machine.",
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            envvar="CODEBYTE_INDEX",
            metavar="FOLDER",
            help="The page's index; in one's own data folder if not given.",
        ),
    ] = None,
    repo: Served = None,
    alone: Alone = False,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Serve the page and the HTTP API from this machine."""
    from codebyte.apps.guard import check_binding

    check_binding(host, token)
    from codebyte.apps.server import serve

    def ready(address: str) -> None:
        if as_json:
            print_json({"url": address})
        else:
            typer.echo(f"codebyte is at {address}", err=True)

    typer.echo("loading the model", err=True)
    serve(
        checkpoint=checkpoint,
        host=host,
        port=port,
        token=token,
        index=index,
        repo=repo,
        alone=alone,
        ready=ready,
    )


app.command()(score)
app.command()(adapt)
app.command()(scan)
app.command()(index)
app.command()(search)
app.command()(similar)
app.command()(status)
app.command()(serve)
app.command()(lsp)
app.command()(mcp)
app.command()(bench)
app.command()(doctor)


def _split_at(place: str) -> tuple[str, bytes, bytes]:
    """The path, and the file's bytes before and after the caret."""
    from codebyte.apps.lines import caret

    path, _, rest = place.rpartition(":")
    path, _, line = path.rpartition(":")
    if not path or not line.isdecimal() or not rest.isdecimal():
        raise typer.BadParameter(f"{place!r} is not FILE:LINE:COL, such as src/main.py:12:5")
    data = read(Path(path), LARGEST_COMPLETED)
    try:
        offset = caret(data, int(line), int(rest))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return path, data[:offset], data[offset:]


def _completion_json(done: "Completion") -> dict[str, Any]:
    return {
        "text": done.text.decode("utf-8", "backslashreplace"),
        "bits": [round(float(value), 3) for value in done.bits],
        "stop_reason": done.stop_reason,
        "replace_suffix_bytes": done.replace_suffix_bytes,
    }


def _fail(message: str) -> NoReturn:
    typer.echo(f"codebyte: {' '.join(message.split())}", err=True)
    sys.exit(1)
