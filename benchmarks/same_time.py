"""Bits per byte after the same time on the same bytes, against MEGABYTE-pytorch 0.3.6.

The test of both seeds' READMEs, on a plain file of text (theirs is enwik8): rows of 8,192 bytes
from random places in the first nine tenths, validation on rows from the rest. The contenders take
turns, each in a process of its own, until each has trained for so many minutes; a turn's
validation does not count as time. With --processor a minute is one of the process itself, on one
thread, so that what else runs on the machine favours nobody.

In place of enwik8 (100 MB of an encyclopedia with markup) any text of that kind will do. A Debian
package has 40 MB of a dictionary of English with etymologies, quotations and markup:

    apt-get download dict-gcide && dpkg -x dict-gcide*.deb gcide
    zcat < gcide/usr/share/dictd/gcide.dict.dz > gcide.txt
    python benchmarks/same_time.py --text gcide.txt

    ours    the preset `small`, as codebyte.train trains it
    theirs  its train.py's model: dim (768, 512, 256), depth (6, 4, 2), patches of 4, Adam at 2e-4;
            rows as many as are best for it on a CPU, which is one at a time
    20M     MEGABYTE-pytorch of a third of that size, at ten times that rate
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import fail, sizes
from report import Check, Report, cores, parser
from workers import Answer, Worker, serve

from codebyte.config import TrainConfig
from codebyte.errors import InputError
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.optim import build_optimizers, set_rates
from codebyte.presets import PRESETS

BAR = 0.25  # bits per byte
LENGTH = 8192
VALID_SHARE, VALIDATION_ROWS = 0.1, 12
TURNS = 10
WARMUP, DECAY = 20, 0.4  # steps; share of the time
CLIP = 0.5  # of their train.py
SHAPES: dict[str, dict[str, Any]] = {
    "theirs": {"dim": (768, 512, 256), "depth": (6, 4, 2), "max_seq_len": (512, 4, 4)},
    "20M": {"dim": (384, 192), "depth": (8, 4), "max_seq_len": (LENGTH // 4, 4)},
}
RATES = {"theirs": 2e-4, "20M": 2e-3}
ROWS = {"ours": 4, "theirs": 1, "20M": 1}


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    options = parser(__doc__)
    options.add_argument("--text", type=Path, help="a plain file of at least 1 MB")
    options.add_argument("--minutes", type=float, default=15.0, help="of training, each")
    options.add_argument(
        "--processor", action="store_true", help="minutes of processor time, one thread each"
    )
    options.add_argument("--worker", help="be the contender with these settings")
    args = options.parse_args()
    if args.worker is not None:
        work(**json.loads(args.worker))
        return
    if args.text is None or not args.text.is_file() or args.text.stat().st_size < 1_000_000:
        fail(InputError(f"--text {args.text} must be a file of at least 1,000,000 bytes"))
    minutes = 0.05 if args.quick else args.minutes
    report = Report("same_time", quick=args.quick, packages=("MEGABYTE-pytorch",))
    names = ["ours", *SHAPES]
    seconds = 60 * minutes
    settings = {
        "text": str(args.text),
        "seconds": seconds,
        "threads": 1 if args.processor else cores(),
        "processor": args.processor,
    }
    workers = {name: Worker(__file__, settings | {"contender": name}) for name in names}
    curves: dict[str, list[Answer]] = {name: [] for name in names}
    turns = 2 if args.quick else TURNS
    for turn in range(turns):
        for name, worker in workers.items():
            curves[name].append(worker.ask(until=seconds * (turn + 1) / turns))
        latest = {name: round(curve[-1]["bits_per_byte"], 3) for name, curve in curves.items()}
        print(f"turn {turn + 1} of {turns}: {latest}", flush=True)
    report.table(
        ["", "parameters", "MB seen"],
        [
            [name, workers[name].hello["parameters"], curve[-1]["megabytes"]]
            for name, curve in curves.items()
        ],
    )
    report.table(
        ["minutes", *(f"{name}, bits per byte" for name in names)],
        [
            [
                f"{minutes * (turn + 1) / turns:.3g}",
                *(curve[turn]["bits_per_byte"] for curve in curves.values()),
            ]
            for turn in range(turns)
        ],
    )
    for worker in workers.values():
        worker.__exit__(None, None, None)
    last = {name: curve[-1]["bits_per_byte"] for name, curve in curves.items()}
    best = min(last[name] for name in SHAPES)
    report.finish(
        {"bits per byte better than the better of theirs": Check(best - last["ours"], BAR)},
        unit="bits per byte",
        spread=[best - last["ours"]] * 2,
        ours=last["ours"],
        theirs=best,
        ratio=best / last["ours"],
        minutes=minutes,
        clock="processor, one thread" if args.processor else "wall",
        curves=curves,
        text={"name": args.text.name, "bytes": args.text.stat().st_size},
    )


def work(contender: str, text: str, seconds: float, threads: int, processor: bool) -> None:
    """Is one contender: trains until it has used the time it is told, then validates."""
    keep_freed_memory()
    clock = time.process_time if processor else time.perf_counter
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    data = np.memmap(text, np.uint8, "r")
    border = int(len(data) * (1 - VALID_SHARE))
    rng = np.random.default_rng(1)
    if contender == "ours":
        model: torch.nn.Module = Megabyte(PRESETS["small"])
        settings = TrainConfig()
        optimizers = build_optimizers(model, settings)
        clip, loss = settings.clip, model.loss
    else:
        from MEGABYTE_pytorch import MEGABYTE

        model = MEGABYTE(num_tokens=257, pad_id=256, flash_attn=True, **SHAPES[contender])
        optimizers = [torch.optim.Adam(model.parameters(), lr=RATES[contender], fused=True)]
        clip, loss = CLIP, lambda ids: model(ids, return_loss=True)
    rows, spent, steps = ROWS[contender], 0.0, 0

    def drawn(low: int, high: int, count: int, chance: np.random.Generator) -> torch.Tensor:
        starts = chance.integers(low, high - LENGTH, size=count)
        cut = np.stack([data[start : start + LENGTH] for start in starts])
        return torch.from_numpy(cut.astype(np.int64))

    def answer(until: float) -> Answer:
        nonlocal spent, steps
        model.train()
        while spent < until:
            start = clock()
            value = loss(drawn(0, border, rows, rng))
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            share = min(1.0, (steps + 1) / WARMUP, (1 - spent / seconds) / DECAY)
            set_rates(optimizers, max(share, 0.0))  # for all: theirs gains by it too
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=False)
            spent, steps = spent + clock() - start, steps + 1
        model.eval()
        held = drawn(border, len(data), VALIDATION_ROWS, np.random.default_rng(2))
        with torch.inference_mode():
            nats = sum(float(loss(row[None])) for row in held) / len(held)
        seen = steps * rows * LENGTH / 1e6
        return {"bits_per_byte": nats / math.log(2), "megabytes": seen, "seconds": spent}

    serve(sizes(model), answer)


if __name__ == "__main__":
    main()
