"""What the commands of the `codebyte` command line share: options, reading and printing."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from codebyte.errors import InputError

Checkpoint = Annotated[
    str | None,
    typer.Option(help="A checkpoint's folder; the packaged model if not given.", metavar="FOLDER"),
]
Alone = Annotated[
    bool,
    typer.Option("--alone", help="Complete without the repository's other files: faster to start."),
]
Served = Annotated[
    Path | None,
    typer.Option(
        "--repo",
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        help="The repository that is worked in, whose files help to complete; the one that the "
        "server is started in if not given, unless HOST is open to others or there is a token.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]


def read(path: Path, limit: int, option: str | None = None) -> bytes:
    """Reads a file without ever holding more than limit + 1 bytes of it."""
    try:
        with path.open("rb") as file:
            return bounded(file, str(path), limit, option)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def bounded(file: Any, name: str, limit: int, option: str | None = None) -> bytes:
    """Reads an open file, at most limit + 1 bytes of it; InputError if it has more than limit."""
    data: bytes = file.read(limit + 1)
    if len(data) > limit:
        more = f"; {option} allows more" if option else ""
        raise InputError(f"{name} has more than {limit} bytes, the most that is read here{more}")
    return data


def printable(text: str) -> str:
    """Shows control characters instead of sending them to the terminal."""
    return "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)


def print_json(value: dict[str, Any]) -> None:
    """Prints one JSON line."""
    typer.echo(json.dumps(value))
