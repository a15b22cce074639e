"""Contenders in processes of their own, each told what to do by one line of JSON at a time.

So each has its own threads and its own settings of the C library, stays warm while others are
measured, and waits without using the processor.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

Answer = dict[str, Any]


class Worker:
    """A process that runs `script --worker SETTINGS`.

    Args:
        script: calls `serve` when it is started so.
        settings: with "threads", for the process's libraries.
    """

    def __init__(self, script: str, settings: dict[str, Any]) -> None:
        self.settings = settings
        quiet = {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": str(settings["threads"])}
        self._process = subprocess.Popen(
            [sys.executable, script, "--worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | quiet,
        )
        self.hello = self._read()

    def ask(self, **request: Any) -> Answer:
        """Sends a request and waits for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.settings} ended with status {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(hello: Answer, answer: Callable[..., Answer]) -> None:
    """Says hello, then answers requests until there are no more."""
    print(json.dumps(hello), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def best_settings(
    axes: dict[str, tuple[Any, ...]], speed: Callable[[dict[str, Any]], float]
) -> dict[str, Any]:
    """The settings at which a contender is fastest, found along one axis after another, twice.

    Args:
        axes: by name, what a setting may be; the first is where the search begins.
        speed: measures one choice; higher is better.
    """
    measured: dict[str, float] = {}

    def cached(settings: dict[str, Any]) -> float:
        key = json.dumps(settings)
        if key not in measured:
            measured[key] = speed(settings)
        return measured[key]

    best = {name: values[0] for name, values in axes.items()}
    for name, values in [*axes.items()] * 2:
        if len(values) > 1:
            speeds = {value: cached({**best, name: value}) for value in values}
            best[name] = max(values, key=speeds.__getitem__)
    return best
