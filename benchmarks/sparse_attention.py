"""Time and memory of one layer of attention, forward and backward, by length and pattern.

One head of width 32 (the growth does not depend on it), windows of 64 places, stride 8, dilations
1, 4, 16, one row of 4,096 to 1,048,576 patches. Times are the best of several rounds over all
lengths, in several processes: others can only slow a pass down, what slows a round down does so at
every length, and a process keeps the pages it happened to get. Freed memory is kept meanwhile, as
in training: otherwise the C library maps and clears what is larger than 32 MB anew each time, which
from some length on is half of the time. Memory is the peak of one pass, above what was held before,
in a process of its own that gives back at once what is freed. Full attention goes as far as
--longest-full; it grows with the square.

The bar: from 65,536 patches on, doubling the length multiplies time and memory by at most 2.2.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from report import Check, Report, parser, range_of

from codebyte.config import LevelConfig
from codebyte.layers import Attention
from codebyte.memory import give_back_freed_memory, keep_freed_memory

BAR = 2.2
PATTERNS: dict[str, dict[str, Any]] = {
    "window": {"pattern": "window"},
    "window, 4 sinks": {"pattern": "window", "sinks": 4},
    "strided": {"pattern": "strided"},
    "dilated": {"pattern": "dilated"},
    "full": {"pattern": "full"},
}
SHORTEST, LONGEST = 1 << 12, 1 << 20
COUNTED_FROM = 1 << 16


def main() -> None:
    """Runs the benchmark, or one measurement of it."""
    options = parser(__doc__)
    options.add_argument("--longest-full", type=int, default=1 << 16)
    options.add_argument("--rounds", type=int, default=4, help="in each of as many processes")
    options.add_argument("--worker", help="measure this: a JSON of pattern, lengths and rounds")
    args = options.parse_args()
    torch.set_num_threads(1)
    if args.worker is not None:
        asked = json.loads(args.worker)
        print(json.dumps(seconds(**asked) if "rounds" in asked else peak(**asked)))
        return
    report = Report("sparse_attention", quick=args.quick)
    lengths = [SHORTEST]
    while lengths[-1] < (SHORTEST * 4 if args.quick else LONGEST):
        lengths.append(2 * lengths[-1])
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name in PATTERNS:
        some = [n for n in lengths if name != "full" or n <= args.longest_full]
        rounds = 2 if name == "full" or args.quick else args.rounds
        runs = [ask(name=name, lengths=some, rounds=rounds) for _ in range(rounds)]
        found[name] = {
            n: {"seconds": min(times), "bytes": ask(name=name, length=n)}
            for n, *times in zip(some, *runs, strict=True)
        }
        rows = [
            [f"{length:,}", it["seconds"] * 1e3, it["bytes"] / 1e6, it["seconds"] / length * 1e6]
            for length, it in found[name].items()
        ]
        print(name)
        report.table(["patches", "ms", "MB", "us a patch"], rows)
    finish(report, found, SHORTEST if args.quick else COUNTED_FROM)


def ask(**request: Any) -> Any:
    """What a fresh process measures."""
    command = [sys.executable, __file__, "--worker", json.dumps(request)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def seconds(name: str, lengths: list[int], rounds: int) -> list[float]:
    """The best seconds of a pass, by length."""
    keep_freed_memory()
    attention = layer(name)
    rows = [torch.randn(1, length, 32) for length in lengths]
    times = [[run(attention, x) for x in rows] for _ in range(rounds)]
    return [min(of_one) for of_one in zip(*times, strict=True)]


def peak(name: str, length: int) -> int:
    """Bytes at the peak of a pass, above those before it."""
    give_back_freed_memory()
    attention = layer(name)
    x = torch.randn(1, length, 32)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    before = held("VmRSS")
    run(attention, x)
    return held("VmHWM") - before


def layer(name: str) -> Attention:
    """A layer, used once."""
    torch.manual_seed(1)
    attention = Attention(LevelConfig(dim=32, head_dim=32, window=64, **PATTERNS[name]))
    torch.nn.init.normal_(attention.to_out.weight)
    run(attention, torch.randn(1, 512, 32))
    return attention


def held(what: str) -> int:
    """Resident bytes of this process: now, or at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def run(attention: Attention, x: torch.Tensor) -> float:
    """Seconds of this process for one pass forward and backward."""
    start = time.process_time()
    attention(x.requires_grad_()).square().sum().backward()
    return time.process_time() - start


def finish(
    report: Report, found: dict[str, dict[int, dict[str, float]]], counted_from: int
) -> None:
    """Prints the result."""
    growth: dict[str, dict[str, list[float]]] = {}
    for name, by_length in found.items():
        lengths = [length for length in by_length if length >= counted_from]
        growth[name] = {
            what: [by_length[2 * n][what] / by_length[n][what] for n in lengths[:-1]]
            for what in ("seconds", "bytes")
        }
    sparse = [name for name in growth if name != "full"]
    times = [value for name in sparse for value in growth[name]["seconds"]]
    memory = [value for name in sparse for value in growth[name]["bytes"]]
    shared = max(length for length in found["full"])
    report.finish(
        {
            "time when the length doubles": Check(max(times), BAR, at_most=True),
            "memory when the length doubles": Check(max(memory), BAR, at_most=True),
        },
        unit="times",
        spread=range_of(times),
        memory_spread=range_of(memory),
        growth=growth,
        full_over_window={
            "patches": shared,
            "time": found["full"][shared]["seconds"] / found["window"][shared]["seconds"],
        },
        figures=found,
    )


if __name__ == "__main__":
    main()
