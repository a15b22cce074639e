"""Milliseconds from a keystroke to the first byte of ghost text, of the real server over HTTP.

`codebyte web` runs in a process of its own on this machine. Files of about 2 KB are typed into, one
request a key on one connection, as the page in the browser sends them; each key's answer is read to
its end before the next. The first key in each file, for which the server has read none of it, is
reported by itself. Not counted are the 75 ms that the page waits after a key before it asks, and
the drawing.

    first byte    until the first piece that has text; keys that get none are counted apart
    line          until the first line of the ghost text is whole
    interrupted   the first byte when the answer to the key before was cut off after its first piece
"""

import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from contenders import load_ours
from report import Check, Report, parser
from texts import library_files

import codebyte

BAR = 100.0
FILE_BYTES = 2048
FILES = 5
KEYS = 40  # typed into each file, of which the first is the cold one
START_SECONDS = 600  # for the server to load everything, on a slow machine


@dataclass(frozen=True, slots=True)
class Typing:
    """A file that lacks the text which is then typed, the end of a line near its middle."""

    path: str
    before: str
    typed: str
    after: str


@dataclass(slots=True)
class Latencies:
    """What was measured, in milliseconds."""

    first: list[float] = field(default_factory=list)
    line: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    interrupted: list[float] = field(default_factory=list)
    keys: int = 0  # asked for a ghost with the server warm
    ghosts: int = 0  # and got one


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    args = options.parse_args()
    report = Report("ghost_latency", quick=args.quick, packages=("uvicorn", "httpx"))
    files, keys = (1, 6) if args.quick else (FILES, KEYS)
    found = Latencies()
    with (
        checkpoint(args.checkpoint, report) as folder,
        server(folder) as address,
        httpx.Client(base_url=address, timeout=START_SECONDS) as client,
    ):
        for i, typing in enumerate(typings(files, keys)):
            type_into(client, typing, found, session=f"whole-{i}", whole=True)
            type_into(client, typing, found, session=f"cut-{i}", whole=False)
            if found.first:
                middle = statistics.median(found.first)
                print(f"{typing.path}: first byte {middle:.1f} ms so far", flush=True)
    rows, figures = [], {}
    for name in ("first", "line", "interrupted", "cold"):
        values = getattr(found, name)
        figures[f"{name}_ms"] = {
            "median": percentile(values, 50),
            "p95": percentile(values, 95),
            "count": len(values),
        }
        rows.append([name, *(percentile(values, q) for q in (50, 95, 100)), len(values)])
    report.table(["ms", "median", "p95", "slowest", "keys"], rows)
    share = found.ghosts / max(found.keys, 1)
    print(f"keys that got a ghost: {share:.0%} of {found.keys}")
    report.finish(
        {"median ms to the first byte": Check(percentile(found.first, 50), BAR, at_most=True)},
        unit="ms",
        spread=[percentile(found.first, 5), percentile(found.first, 95)],
        p95=percentile(found.first, 95),
        whole_line=percentile(found.line, 50),
        share_with_ghost=share,
        **figures,
    )


def percentile(values: list[float], q: float) -> float:
    """A percentile; NaN of nothing."""
    return float(np.percentile(values, q)) if values else math.nan


@contextlib.contextmanager
def checkpoint(given: str | None, report: Report) -> Iterator[str | None]:
    """The folder to give to the server; None for the packaged model."""
    model, name = load_ours(given, "cpu")
    report.note(f"the model is {name}")
    with tempfile.TemporaryDirectory() as folder:
        if given is None and "untrained" in name:
            codebyte.save(model, folder)
            given = folder
        yield None if given is None else str(Path(given).resolve())


@contextlib.contextmanager
def server(folder: str | None) -> Iterator[str]:
    """The address of a `codebyte web` that is up."""
    command = [sys.executable, "-m", "codebyte", "web", "--port", "0", "--json"]
    if folder is not None:
        command += ["--checkpoint", folder]
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"codebyte web ended with status {process.wait()} before it was up")
        address = json.loads(line)["url"]
        httpx.get(f"{address}health", timeout=START_SECONDS).raise_for_status()
        yield address
    finally:
        process.terminate()
        process.wait()


def typings(files: int, keys: int) -> list[Typing]:
    """The first 2 KB of modules of Python's library, each with a place to type at."""
    found = []
    for path, data in library_files().items():
        end = data.rfind(b"\n", 0, FILE_BYTES) + 1
        caret = data.find(b"\n", FILE_BYTES // 2, end - 1)
        if len(data) < 2 * FILE_BYTES or caret < 0 or not data[caret - keys : caret].strip():
            continue
        text = data[:end].decode()
        before, typed = text[: caret - keys], text[caret - keys : caret]
        found.append(Typing(path=path, before=before, typed=typed, after=text[caret:]))
    step = max(1, len(found) // files)
    return found[::step][:files]


def type_into(
    client: httpx.Client, typing: Typing, found: Latencies, *, session: str, whole: bool
) -> None:
    """Types all of it; with `whole` False, does not wait for more than the first byte."""
    for i in range(1, len(typing.typed) + 1):
        body = {
            "prefix": typing.before + typing.typed[:i],
            "suffix": typing.after,
            "path": typing.path,
            "multiline": None,
            "session": f"{session}-{os.getpid()}",
        }
        first, line = ask(client, body, whole=whole)
        if i == 1:
            found.cold += [] if first is None else [first]
            continue
        found.keys += whole
        if first is not None:
            found.ghosts += whole
            (found.first if whole else found.interrupted).append(first)
            found.line += [line] if whole else []


def ask(
    client: httpx.Client, body: dict[str, object], *, whole: bool
) -> tuple[float | None, float]:
    """Milliseconds to the first byte, None without any, and to the end of the first line."""
    text, first, line = "", None, math.nan
    start = time.perf_counter()
    with client.stream("POST", "v1/complete", json=body) as response:
        response.raise_for_status()
        for row in response.iter_lines():
            if not row.startswith("data: "):
                continue
            event = json.loads(row.removeprefix("data: "))
            if "error" in event:
                sys.exit(f"the server answered: {event['error']['message']}")
            now = (time.perf_counter() - start) * 1000
            if event["text"] and first is None:
                first = now
                if not whole:
                    break
            text += event["text"]
            if math.isnan(line) and ("\n" in text.lstrip("\n") or event["done"]):
                line = now
    return first, line


if __name__ == "__main__":
    main()
