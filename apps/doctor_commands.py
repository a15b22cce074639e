"""`codebyte doctor` and `codebyte bench`: whether all is well here, and how fast it is."""

import importlib
import os
import platform
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import codebyte
from codebyte.apps.options import Checkpoint, Json, print_json
from codebyte.errors import CodebyteError, InputError

if TYPE_CHECKING:
    from codebyte.megabyte import Megabyte

_PACKAGES = ("torch", "numpy", "gradio", "fastapi", "uvicorn", "gitpython", "pygls", "mcp")
_SLOW = 100.0  # bytes per second, below which ghost text comes late
_SAMPLE = '''\
import json
from pathlib import Path


def read_settings(path: Path) -> dict[str, object]:
    """Reads settings from a JSON file; there are none if it is missing."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        return json.load(file)


def write_settings(path: Path, settings: dict[str, object]) -> None:
    """Writes settings to a JSON file."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(settings, file, indent=2)


'''


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    found: str
    advice: str = ""  # what to do about it


def doctor(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The port that should be free, or codebyte's.")
    ] = 7860,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Check what codebyte needs, and say what to do where something is amiss."""
    wrong = 0
    for finding in findings(port, checkpoint):
        wrong += not finding.good
        if as_json:
            print_json(
                {"name": finding.name, "good": finding.good, "found": finding.found}
                | ({"advice": finding.advice} if finding.advice else {})
            )
            continue
        typer.echo(f"{'ok' if finding.good else 'NO':4}{finding.name:12}{finding.found}")
        if finding.advice:
            typer.echo(f"{'':16}-> {finding.advice}")
    if wrong:
        raise InputError(f"{wrong} of the checks failed; what to do stands beside each")


def findings(port: int, checkpoint: str | None) -> Iterator[Finding]:
    """Looks at one thing after another."""
    yield Finding("codebyte", True, f"{codebyte.__version__} in {Path(codebyte.__file__).parent}")
    yield _python()
    yield from map(_package, _PACKAGES)
    yield _git()
    yield _memory()
    yield from _model(checkpoint)
    yield _port(port)


def bench(checkpoint: Checkpoint = None, as_json: Json = False) -> None:
    """Measure the model on this machine, in a minute or less."""
    import torch

    torch.set_num_threads(1)
    began = time.perf_counter()
    model = codebyte.load(checkpoint)
    figures = {"load_s": time.perf_counter() - began, **speeds(model)}
    if as_json:
        print_json({name: round(value, 2) for name, value in figures.items()})
        return
    for name, unit, about in _FIGURES:
        typer.echo(f"{figures[name]:10,.1f} {unit:8} {about}")


_FIGURES = (
    ("load_s", "s", "to load the model"),
    ("cold_ms", "ms", "to the first byte, for a prompt of 2 KB never seen"),
    ("key_ms", "ms", "to the first byte, after one more key"),
    ("key_p95_ms", "ms", "the same, 95th percentile"),
    ("write_bytes_per_s", "bytes/s", "written"),
    ("score_bytes_per_s", "bytes/s", "scored"),
    ("memory_mb", "MB", "resident"),
)


def speeds(model: "Megabyte", *, keys: int = 40, repeats: int = 5) -> dict[str, float]:
    """Milliseconds and bytes per second of what a person waits for; the names of _FIGURES.

    Args:
        model: any Megabyte.
        keys: how many are typed.
        repeats: of what is measured as a whole.
    """
    from codebyte.tasks.completion import Completer

    text = (_SAMPLE * 8).encode()[: min(2048, model.config.context // 2)]
    completer = Completer(model)

    def first_byte(prefix: bytes, completer: Completer) -> float:
        began = time.perf_counter()
        next(completer.stream(prefix, max_new_bytes=1, raw=True))
        return 1000 * (time.perf_counter() - began)

    cold = [first_byte(text, Completer(model)) for _ in range(repeats)]
    typed = [first_byte(text[: len(text) - keys + i], completer) for i in range(keys)][1:]
    written = [_rate(lambda: _written(completer, text)) for _ in range(repeats)]
    scored = [_rate(lambda: len(codebyte.surprisal(model, text))) for _ in range(repeats)]
    return {
        "cold_ms": statistics.median(cold),
        "key_ms": statistics.median(typed),
        "key_p95_ms": sorted(typed)[int(0.95 * len(typed))],
        "write_bytes_per_s": statistics.median(written),
        "score_bytes_per_s": statistics.median(scored),
        "memory_mb": _resident() / 1e6,
    }


def _written(completer: Any, text: bytes) -> int:
    done = completer.complete(text, max_new_bytes=256, raw=True)
    return len(done.text) or 1


def _rate(function: Callable[[], int]) -> float:
    began = time.perf_counter()
    count = function()
    return count / (time.perf_counter() - began)


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    good = sys.version_info >= (3, 11)
    return Finding("python", good, found, "" if good else "install Python 3.11 or later")


def _package(name: str) -> Finding:
    try:
        found = version(name)
        importlib.import_module({"gitpython": "git"}.get(name, name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", f"pip install {name}")
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding(
            name, False, f"{found}, but {reason}", f"pip install --force-reinstall {name}"
        )
    return Finding(name, True, found)


def _git() -> Finding:
    import git

    try:
        found = ".".join(map(str, git.Git().version_info))
    except (git.exc.GitError, OSError) as error:
        return Finding("git", False, f"cannot be run: {error}", "install git and put it on PATH")
    return Finding("git", True, found)


def _memory() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return Finding("machine", True, f"{cores} cores")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    advice = "" if free > 0.5 else "close other programs: the server takes about 0.5 GB"
    return Finding("machine", not advice, f"{cores} cores, {free:.1f} GB of memory free", advice)


def _model(checkpoint: str | None) -> Iterator[Finding]:
    import torch

    torch.set_num_threads(1)
    began = time.perf_counter()
    try:
        model = codebyte.load(checkpoint)
    except CodebyteError as error:
        yield Finding("model", False, str(error), "reinstall codebyte, or give --checkpoint FOLDER")
        return
    seconds = time.perf_counter() - began
    size, device = model.num_parameters() / 1e6, model.device.type
    yield Finding("model", True, f"{size:.1f}M parameters on {device}, loaded in {seconds:.1f} s")
    found = speeds(model, keys=20, repeats=2)
    rate, key = found["write_bytes_per_s"], found["key_ms"]
    advice = (
        ""
        if rate >= _SLOW
        else "ghost text will come late: end what else runs here, and see `codebyte bench`"
    )
    yield Finding(
        "speed", not advice, f"{rate:,.0f} bytes/s, first byte {key:.0f} ms after a key", advice
    )


def _port(port: int) -> Finding:
    """Whether a server could listen, or one of ours does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if _is_ours(port):
                return Finding("port", True, f"codebyte answers at http://127.0.0.1:{port}/")
            found = f"127.0.0.1:{port} cannot be listened on ({error.strerror})"
            return Finding("port", False, found, "give `codebyte web` another --port")
    return Finding("port", True, f"127.0.0.1:{port} is free: `codebyte web` can start")


def _is_ours(port: int) -> bool:
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/v1/models")
        answer = connection.getresponse()
        return b'"owned_by":"codebyte"' in answer.read(4096) or answer.status == 401
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _resident() -> float:
    """Bytes of memory that this process has resident; its peak where only that is told."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return float(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
