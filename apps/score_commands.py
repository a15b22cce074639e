"""`codebyte score`: how surprising each line is, of a file or of a stream without end."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

import codebyte
from codebyte.apps.options import Checkpoint, Json, print_json, printable, read
from codebyte.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_SCORED = 1 << 20  # bytes of a file to score, unless --limit says otherwise
_READ = 1 << 16  # bytes of a stream asked for at once
_SHOWN = 4096  # bytes of a line that are kept to be shown


def score(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, or - for standard input of any length.")
    ],
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Refuse more bytes than this; 1 MiB for a file if not given."),
    ] = None,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Print how surprising each line is, in bits per byte, and the whole.

    Standard input is read to its end in constant memory, and lines are printed as they are scored.
    """
    if file == "-":
        model = codebyte.load(checkpoint)
        scored = _stream(model, _chunks(sys.stdin.buffer, limit))
    else:
        data = read(Path(file), LARGEST_SCORED if limit is None else limit, option="--limit")
        model = codebyte.load(checkpoint)
        scored = iter([(data, codebyte.surprisal(model, data))])
    count, bits = 0, 0.0
    for number, line in enumerate(_lines(scored), 1):
        count, bits = count + line.length, bits + line.bits
        mean = line.bits / line.length
        if as_json:
            print_json(
                {"line": number, "bytes": line.length, "bits": round(line.bits, 3)}
                | {"bits_per_byte": round(mean, 4)}
            )
        else:
            text = line.start.decode("utf-8", "backslashreplace").rstrip("\r\n")
            typer.echo(f"{number:6} {mean:6.2f}  {printable(text)}")
    mean = bits / count if count else 0.0
    if as_json:
        print_json(
            {"path": file, "bytes": count, "bits": round(bits, 3), "bits_per_byte": round(mean, 4)}
        )
    else:
        typer.echo(f"{file}: {mean:.3f} bits per byte, {count} bytes, {bits:.0f} bits")


@dataclass(slots=True)
class _Line:
    start: bytes = b""  # as much of it as is shown
    length: int = 0
    bits: float = 0.0


def _lines(scored: "Iterable[tuple[bytes, NDArray[np.float32]]]") -> Iterator[_Line]:
    """Sums up whole lines, their end included, of what comes in pieces of any size."""
    line = _Line()
    for data, bits in scored:
        start = 0
        while start < len(data):
            end = data.find(b"\n", start) + 1 or len(data)
            line.start += data[start : min(end, start + _SHOWN - len(line.start))]
            line.length += end - start
            line.bits += float(bits[start:end].sum(dtype="float64"))
            if data[end - 1 : end] == b"\n":
                yield line
                line = _Line()
            start = end
    if line.length:
        yield line


def _stream(
    model: "codebyte.Megabyte", chunks: Iterable[bytes]
) -> "Iterator[tuple[bytes, NDArray[np.float32]]]":
    from codebyte.streaming import Stream

    stream = Stream(model)
    for chunk in chunks:
        yield chunk, stream.read(chunk)


def _chunks(file: BinaryIO, limit: int | None) -> Iterator[bytes]:
    """What is there, as soon as it is."""
    total = 0
    while chunk := file.read1(_READ):  # type: ignore[attr-defined]
        total += len(chunk)
        if limit is not None and total > limit:
            raise InputError(
                f"standard input has more than {limit} bytes, the most that is read here; "
                "--limit allows more"
            )
        yield chunk
