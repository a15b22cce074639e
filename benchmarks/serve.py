"""Sixteen editors typing at one server, and one typing alone: latency, refusals and memory.

`codebyte serve` (or `web`, with --page) runs in a process of its own on this machine, inside this
repository, which it knows (or not, with --alone). Each client
types into a file of its own of about 2 KB, one request every 400 ms on one connection; a request
that is still streaming when the next key comes is cancelled by closing it, as editors do. Answers
are counted by status; only 429 may come beside 200. Memory is the server's resident memory, looked
at every second: flat means that the last quarter's mean is within 5 % of the second quarter's. The
first quarter is left out, since the caches fill then.

    together   from a key to the first byte that any later answer of this client shows, all typing
    line       whole suggestion of one line, of the same requests
    alone      first byte, with one client (bar 1's share of the server)
    cancel     from closing a connection until the server's requests are down by that one
"""

import asyncio
import contextlib
import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from ghost_latency import START_SECONDS, Typing, checkpoint, percentile, typings
from report import Check, Report, parser

CLIENTS = 16
INTERVAL = 0.4  # seconds between two keys of one client
FIRST_BAR = 1000.0  # ms, p95 of 16 clients together
ALONE_BAR = 80.0  # ms, median of one
ALONE_P95_BAR = 200.0
LINE_BAR = 400.0
MEMORY_BAR = 500.0  # MB, resident while one client types
FLAT_BAR = 0.05
CANCEL_BAR = 50.0


@dataclass(slots=True)
class Found:
    """What one run saw."""

    first: list[float] = field(default_factory=list)  # ms
    line: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0
    waiting: dict[int, list[float]] = field(default_factory=dict)  # keys without a byte, by client
    memory: list[float] = field(default_factory=list)  # MB, one a second


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    options.add_argument("--minutes", type=float, default=10.0, help="of all clients together")
    options.add_argument("--clients", type=int, default=CLIENTS)
    options.add_argument("--alone", action="store_true", help="know no repository")
    options.add_argument("--page", action="store_true", help="serve the page too (`codebyte web`)")
    args = options.parse_args()
    minutes = 0.25 if args.quick else args.minutes
    report = Report("serve", quick=args.quick, packages=("uvicorn", "fastapi", "httpx"))
    with (
        checkpoint(args.checkpoint, report) as folder,
        server(folder, page=args.page, alone=args.alone) as (address, process),
    ):
        alone = asyncio.run(run(address, process, 1, 10.0 if args.quick else 60.0))
        together = asyncio.run(run(address, process, args.clients, 60.0 * minutes))
        cancels = [cancel_ms(address) for _ in range(3 if args.quick else 20)]
        peak = max(together.memory)
    rows = [
        [name, *(percentile(values, q) for q in (50, 95, 100)), len(values)]
        for name, values in (
            ("together", together.first),
            ("line", together.line),
            ("alone", alone.first),
            ("alone, line", alone.line),
            ("cancel", cancels),
        )
    ]
    report.table(["ms", "median", "p95", "slowest", "count"], rows)
    drift = drift_of(together.memory)
    print(f"answers: {dict(together.statuses)}, cancelled by the next key: {together.cancelled}")
    print(
        f"resident memory: at most {peak:.0f} MB with all clients, drift {drift:+.1%}; "
        f"{max(alone.memory):.0f} MB with one"
    )
    errors = sum(n for status, n in together.statuses.items() if status not in ("200", "429"))
    report.finish(
        {
            "ms to the first byte, p95 of all clients together": Check(
                percentile(together.first, 95), FIRST_BAR, at_most=True
            ),
            "answers other than 200 and 429": Check(float(errors), 0.0, at_most=True),
            "growth of memory": Check(drift, FLAT_BAR, at_most=True),
            "ms to the first byte, one client": Check(
                percentile(alone.first, 50), ALONE_BAR, at_most=True
            ),
            "the same, p95": Check(percentile(alone.first, 95), ALONE_P95_BAR, at_most=True),
            "ms to the whole line, one client, p95": Check(
                percentile(alone.line, 95), LINE_BAR, at_most=True
            ),
            "MB resident while one client types": Check(
                max(alone.memory), MEMORY_BAR, at_most=True
            ),
            "ms from a closed connection to the end of the decode": Check(
                percentile(cancels, 50), CANCEL_BAR, at_most=True
            ),
        },
        unit="ms",
        spread=[percentile(together.first, 5), percentile(together.first, 100)],
        clients=args.clients,
        minutes=minutes,
        page=args.page,
        alone=args.alone,
        requests=sum(together.statuses.values()),
        refused=together.statuses["429"],
        cancelled=together.cancelled,
        memory_mb=peak,
        median_together=percentile(together.first, 50),
    )


@contextlib.contextmanager
def server(folder: str | None, *, page: bool, alone: bool = False) -> Iterator[tuple[str, int]]:
    """The address of a server that is up, and its process."""
    command = [sys.executable, "-m", "codebyte", "web" if page else "serve", "--port", "0"]
    command += ["--json"] + (["--alone"] if alone else [])
    command += [] if folder is None else ["--checkpoint", folder]
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"the server ended with status {process.wait()} before it was up")
        address = json.loads(line)["url"]
        httpx.get(f"{address}health", timeout=START_SECONDS).raise_for_status()
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


async def run(address: str, process: int, clients: int, seconds: float) -> Found:
    """All clients type for so long."""
    found = Found()
    end = time.monotonic() + seconds
    files = typings(clients, 40)
    async with asyncio.TaskGroup() as tasks:
        for number in range(clients):
            typing = files[number % len(files)]
            tasks.create_task(client(address, typing, number, end, found))
        while time.monotonic() < end:
            found.memory.append(resident_mb(process))
            await asyncio.sleep(1.0)
    return found


async def client(address: str, typing: Typing, number: int, end: float, found: Found) -> None:
    """Types a file's missing text again and again."""
    await asyncio.sleep(INTERVAL * number / 16)  # people do not press keys at the same moment
    async with httpx.AsyncClient(base_url=address, timeout=60.0) as connection:
        key = 0
        due = time.monotonic()
        task: asyncio.Task[None] | None = None
        while time.monotonic() < end:
            if task is not None and not task.done():
                task.cancel()
                found.cancelled += 1
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            typed = typing.typed[: 1 + key % len(typing.typed)]
            body = {
                "prefix": f"# {number}\n" + typing.before + typed,
                "suffix": typing.after,
                "path": typing.path,
                "session": f"client-{number}",
            }
            task = asyncio.create_task(ask(connection, body, found, number, cold=key == 0))
            key += 1
            due += INTERVAL
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def ask(
    connection: httpx.AsyncClient, body: dict[str, str], found: Found, number: int, *, cold: bool
) -> None:
    """One key: reads the answer to its end, or until the task is cancelled.

    A key whose ghost had not begun when the next one came goes on waiting, for the ghost of that
    one: leaving it out would make a slow server look fast.
    """
    start, text, line = time.perf_counter(), "", math.nan
    waiting = found.waiting.setdefault(number, [])
    if not cold:
        waiting.append(start)
    try:
        async with connection.stream("POST", "v1/complete", json=body) as response:
            found.statuses[str(response.status_code)] += 1
            if response.status_code != 200:
                return
            async for row in response.aiter_lines():
                if not row.startswith("data: "):
                    continue
                event = json.loads(row.removeprefix("data: "))
                if "error" in event:
                    found.statuses["error in a stream"] += 1
                    return
                now = time.perf_counter()
                if event["text"]:
                    found.first += [1000 * (now - key) for key in waiting]
                if event["text"] or event["done"]:  # where there is no ghost there is no wait
                    waiting.clear()
                text += event["text"]
                if math.isnan(line) and text and ("\n" in text.lstrip("\n") or event["done"]):
                    line = 1000 * (now - start)
                    found.line += [] if cold else [line]
    except httpx.HTTPError as error:
        found.statuses[type(error).__name__] += 1


def cancel_ms(address: str) -> float:
    """Milliseconds from closing a connection in mid-stream until the server has let go of it."""
    asked = {"prompt": "for i in range(10):\n" * 20, "max_tokens": 4096, "stream": True}
    with httpx.Client(base_url=address, timeout=60.0) as watching:
        with (
            httpx.Client(base_url=address, timeout=60.0) as leaving,
            leaving.stream("POST", "v1/completions", json=asked) as response,
        ):
            next(response.iter_lines())
        closed = time.perf_counter()
        while watching.get("health").json()["requests"]:
            time.sleep(0.001)
    return 1000 * (time.perf_counter() - closed)


def resident_mb(process: int) -> float:
    """Megabytes of memory that a process has resident; NaN where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    if not status.is_file():
        return math.nan
    row = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return float(row.split()[1]) / 1e3


def drift_of(memory: list[float]) -> float:
    """Growth from the second quarter's mean to the last quarter's, as a share."""
    quarter = len(memory) // 4
    if not quarter:
        return math.nan
    early, late = np.mean(memory[quarter : 2 * quarter]), np.mean(memory[-quarter:])
    return float(late / early - 1.0)


if __name__ == "__main__":
    main()
