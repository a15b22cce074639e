"""Embedding and writing without end: memory and speed of `stream_states` and `Stream.write`.

    embedding   Python's library from its beginning and again, --embedded bytes in pieces of 64 KB;
                each piece's patch states are pooled to their mean and let go
    writing     --written bytes at temperature 1 after 4,096 bytes of the library, byte by byte

The model is of the preset "stream", untrained: neither memory nor speed depends on the weights.
Each use is a process of its own, on one thread. Every twentieth of the way its resident memory is
read; what counts is the largest over the one after the first quarter, and KB/s are of the process's
own seconds. What the states are is held to whole rows by `tests/test_streaming.py`.
"""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from long_stream import FLAT_MEMORY, resident
from report import Check, Report, parser, range_of
from texts import library_code

from codebyte.config import SamplingParams
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.presets import PRESETS
from codebyte.streaming import Stream, stream_states

PIECE = 1 << 16
STEPS = 20


def main() -> None:
    """Runs the benchmark, or one use of it."""
    options = parser(__doc__)
    options.add_argument("--embedded", type=int, default=10_000_000, help="bytes")
    options.add_argument("--written", type=int, default=300_000, help="bytes")
    options.add_argument("--worker", help="measure this: a JSON of use and count")
    args = options.parse_args()
    torch.set_num_threads(1)
    if args.worker is not None:
        keep_freed_memory()
        print(json.dumps(measure(**json.loads(args.worker))))
        return
    if args.quick:
        args.embedded, args.written = 2 * STEPS * PIECE, 2_000
    report = Report("stream_uses", quick=args.quick)
    found = {}
    for use, count in (("embedding", args.embedded), ("writing", args.written)):
        command = [sys.executable, __file__, "--worker", json.dumps({"use": use, "count": count})]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[use] = json.loads(done.stdout.splitlines()[-1])
    report.table(
        ["", "bytes", "KB/s", "MB after a quarter", "MB at the end", "most MB"],
        [
            [use, it["bytes"], it["kb_per_second"], it["mb"][0], it["mb"][-1], max(it["mb"])]
            for use, it in found.items()
        ],
    )
    growth = {use: max(it["mb"]) / it["mb"][0] for use, it in found.items()}
    report.finish(
        {
            f"growth of memory, {use}": Check(value, FLAT_MEMORY, at_most=True)
            for use, value in growth.items()
        },
        unit="times",
        spread=range_of(list(growth.values())),
        figures=found,
    )


def measure(use: str, count: int) -> dict[str, Any]:
    """Bytes done, KB/s of this process's own seconds, resident MB from a quarter of the way on."""
    torch.manual_seed(1)
    model = Megabyte(PRESETS["stream"]).eval()
    done, memory = 0, []
    going: Callable[[Megabyte, int], Iterator[int]] = {"embedding": embed, "writing": write}[use]
    began = time.process_time()
    for step in going(model, count):
        before, done = done, done + step
        if done * STEPS // count > before * STEPS // count:
            memory.append(resident() / 1e6)
    speed = done / (time.process_time() - began) / 1e3
    return {"bytes": done, "kb_per_second": speed, "mb": memory[STEPS // 4 - 1 :]}


def embed(model: Megabyte, count: int) -> Iterator[int]:
    """Pools the states of a stream's pieces; gives each piece's length."""
    starts = range(0, count, PIECE)
    one, other = itertools.tee(library_code(min(PIECE, count - at), at) for at in starts)
    for piece, (_, states) in zip(one, stream_states(model, other), strict=True):
        assert states.mean(axis=0).shape == (model.config.levels[1].dim,)
        yield len(piece)


def write(model: Megabyte, count: int) -> Iterator[int]:
    """Writes so many bytes; gives the length of each part of them."""
    stream, seed, left = Stream(model), 0, count
    stream.read(library_code(4096))
    while left:
        seed += 1  # a text that ends is gone on from
        for piece in stream.write(SamplingParams(max_new_bytes=left, temperature=1.0, seed=seed)):
            left -= len(piece)
            yield len(piece)


if __name__ == "__main__":
    main()
