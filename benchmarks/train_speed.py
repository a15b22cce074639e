"""GFLOP/s and bytes per second of training as train_code.py trains, in all ways to use two cores.

Of each preset: one process with all threads, eager and compiled, and a compiled process for each
core under torchrun (each keeps to its core: Linux). Rows of 2,048 bytes of Python's library; the
time of a step is the median after the first ones. Operations are those of the model
(contenders.forward_flops, times three); the peak is that of the best of several matrix products in
this run. The bar is for processors with AMX.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from contenders import CONTEXT, forward_flops
from report import Check, Report, cores, parser, range_of
from texts import library_code, library_files
from train_throughput import measure_peaks

from codebyte.config import TrainConfig
from codebyte.corpus import Corpus, Document, write_corpus
from codebyte.device import training_dtype
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.presets import PRESETS
from codebyte.progress import read_metrics
from codebyte.training import train

BAR, GOAL = 350.0, 600.0
BATCHES = {"tiny": 8, "small": 32, "server": 64}  # rows in a batch
AT_ONCE = 8  # rows that a process computes together: what stays in the cache
SKIPPED = 5  # steps: compiling, and memory that is not yet there
LARGEST_PEAK = 4096  # rows and columns


def main() -> None:
    """Runs the benchmark, or one process of it."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=4.0, help="of each way, with compiling")
    options.add_argument("--worker", help="be a process with these settings")
    args = options.parse_args()
    if args.worker is not None:
        work(**json.loads(args.worker))
        return
    report = Report("train_speed", quick=args.quick)
    fast_bfloat16 = training_dtype(torch.device("cpu")) == torch.bfloat16
    sizes = (512,) if args.quick else (2048, LARGEST_PEAK)
    peaks = [measure_peaks(size, fast_bfloat16) for size in sizes]
    peak = max(found["bfloat16" if fast_bfloat16 else "float32"] for found in peaks)
    ways = [
        ("eager", 1, False),
        ("compiled", 1, True),
        ("compiled, a process a core", cores(), True),
    ]
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_texts(Path(folder) / "corpus")
        for preset in ("tiny",) if args.quick else ("small", "server"):
            for name, processes, compiled in ways[:1] if args.quick else ways:
                settings = {"preset": preset, "processes": processes, "compiled": compiled}
                settings["minutes"] = 0.5 if args.quick else args.minutes
                found = measure(Path(folder), settings, 1 if args.quick else SKIPPED)
                figures[f"{preset}, {name}"] = found
                print(f"{preset}, {name}: {found['gflop_per_s']:.0f} GFLOP/s", flush=True)
    report.table(
        ["", "bytes/s", "GFLOP/s", "range", "of peak", "steps"],
        [
            [
                name,
                found["bytes_per_s"],
                found["gflop_per_s"],
                "-".join(f"{bound:.0f}" for bound in found["spread"]),
                f"{found['gflop_per_s'] / peak:.0%}",
                found["steps"],
            ]
            for name, found in figures.items()
        ],
    )
    print(f"peak of matrix products: {peak:.0f} GFLOP/s")
    best = max(figures.values(), key=lambda found: found["gflop_per_s"])
    report.finish(
        {"GFLOP/s of the model": Check(best["gflop_per_s"], BAR)},
        unit="GFLOP/s",
        spread=best["spread"],
        goal=GOAL,
        peak_gflop_per_s=peak,
        ways=figures,
    )


def measure(folder: Path, settings: dict[str, Any], skipped: int) -> dict[str, Any]:
    """Trains in one way, each process with its share of the cores; what the steps came to."""
    processes = settings["processes"]
    out = folder / "-".join(str(value) for value in settings.values())
    settings |= {"corpus": str(folder / "corpus"), "out": str(out), "threads": cores() // processes}
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    subprocess.run([*command, __file__, "--worker", json.dumps(settings)], check=True)
    speeds = [1e3 * line["kb_per_s"] for line in read_metrics(out)][skipped:]
    model = Megabyte(replace(PRESETS[settings["preset"]], context=CONTEXT))
    ids = torch.frombuffer(bytearray(library_code(CONTEXT)), dtype=torch.uint8)[None]
    flops = 3 * forward_flops(model, lambda: model.losses(ids)) / CONTEXT
    return {
        "bytes_per_s": statistics.median(speeds),
        "gflop_per_s": flops * statistics.median(speeds) / 1e9,
        "spread": [flops * bound / 1e9 for bound in range_of(speeds)],
        "parameters": model.num_parameters(),
        "steps": len(speeds),
    }


def write_texts(folder: Path) -> None:
    """A corpus of Python's library, one file of it held out."""
    first, *others = [item for item in library_files().items() if item[1]]
    documents = [Document(repo="held-out", path=first[0], data=first[1])]
    documents += [Document(repo="library", path=name, data=data) for name, data in others]
    write_corpus(documents, folder, valid=["held-out"])


def work(
    corpus: str,
    out: str,
    preset: str,
    minutes: float,
    threads: int,
    processes: int,
    compiled: bool,
) -> None:
    """Is one process that trains."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    if processes > 1:  # else they change places
        own = sorted(os.sched_getaffinity(0))[int(os.environ["LOCAL_RANK"])]
        os.sched_setaffinity(0, {own})
    config = TrainConfig(
        steps=1_000_000,
        rows=BATCHES[preset],
        accumulate=BATCHES[preset] // (processes * AT_ONCE),
        length=CONTEXT,
        compile=compiled,
        save_every=1e9,
    )
    model = replace(PRESETS[preset], context=CONTEXT)
    train(Corpus(corpus), out, model, config, minutes=minutes)


if __name__ == "__main__":
    main()
