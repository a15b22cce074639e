"""Bytes per second of training steps, against MEGABYTE-pytorch of the same size and context.

A step is the forward and the backward pass, clipping and the optimizer, over rows of 2,048 bytes
of Python code. Ours trains as codebyte.train does (Muon and AdamW), theirs as its train.py (Adam;
the fused one). Each has its best number of rows, threads, number format and way of keeping freed
memory, theirs with and without flash attention too; then they take turns in processes of their own.

    ours    the packaged model's design, with tables that make it as large as theirs
    layers  the same design, as large as theirs without any tables (not held to the bar)
    theirs  MEGABYTE-pytorch 0.3.6, dim (384, 192), depth (8, 4), patches of 8 bytes

GFLOP/s are those of the model: see contenders.forward_flops, times three. The peak is that of one
large matrix product on this machine, in the same run.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from contenders import (
    CONTEXT,
    LARGEST_DIFFERENCE,
    forward_flops,
    ours_by_layers,
    ours_by_parameters,
    sizes,
    theirs,
)
from report import Check, Report, cores, parser, range_of
from texts import library_code
from workers import Answer, Worker, best_settings, serve

from codebyte.config import TrainConfig
from codebyte.device import training_dtype
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.optim import build_optimizers, rate_at, set_rates

BAR, GOAL = 4.0, 10.0
ROUNDS = 5
TURN_SECONDS = 4.0  # of one contender in a round, at least one step
PEAK_SIZE = 2048  # rows and columns of the matrices
CLIP, RATE = 0.5, 2e-4  # of their train.py
Step = Callable[[torch.Tensor], None]


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    options = parser(__doc__)
    options.add_argument("--worker", help="be the contender with these settings")
    args = options.parse_args()
    if args.worker is not None:
        work(**json.loads(args.worker))
        return
    report = Report("train_throughput", quick=args.quick, packages=("MEGABYTE-pytorch",))
    fast_bfloat16 = training_dtype(torch.device("cpu")) == torch.bfloat16
    if not fast_bfloat16:
        report.note("bf16 training is left out: this CPU has no fast bfloat16 products")
    peaks = measure_peaks(512 if args.quick else PEAK_SIZE, fast_bfloat16)
    chosen = {name: choose(name, fast_bfloat16, args.quick) for name in ("ours", "theirs")}
    chosen["layers"] = chosen["ours"] | {"contender": "layers"}
    rounds = 2 if args.quick else ROUNDS
    with (
        Worker(__file__, chosen["ours"]) as ours,
        Worker(__file__, chosen["layers"]) as layers,
        Worker(__file__, chosen["theirs"]) as other,
    ):
        workers = {"ours": ours, "layers": layers, "theirs": other}
        speeds = take_turns(workers, rounds, 0.0 if args.quick else TURN_SECONDS)
        hellos = {name: worker.hello for name, worker in workers.items()}
    show(report, chosen, hellos, speeds, peaks)


def choose(contender: str, fast_bfloat16: bool, quick: bool) -> dict[str, Any]:
    """The settings at which a contender is fastest."""
    keep = contender != "theirs"
    axes: dict[str, tuple[Any, ...]] = {
        "contender": (contender,),
        "rows": (2,) if quick else (8, 2, 4, 16, 32),
        "threads": (cores(),) if quick else tuple(dict.fromkeys((cores(), 1))),
        "dtype": ("float32", "bfloat16") if fast_bfloat16 and not quick else ("float32",),
        "keep": (keep,) if quick else (keep, not keep),
        "flash": (True,) if quick or contender != "theirs" else (True, False),
    }
    seconds = 0.0 if quick else 3.0

    def speed(settings: dict[str, Any]) -> float:
        with Worker(__file__, settings) as worker:
            found = bytes_per_second(worker, seconds)
        print(f"{found:10,.0f} bytes/s  {settings}", flush=True)
        return found

    return best_settings(axes, speed) if not quick else {name: v[0] for name, v in axes.items()}


def take_turns(workers: dict[str, Worker], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Bytes per second of each in each round, after one turn that does not count."""
    speeds: dict[str, list[float]] = {name: [] for name in workers}
    for i in range(rounds + 1):
        for name, worker in workers.items():
            found = bytes_per_second(worker, seconds)
            if i:
                speeds[name].append(found)
        latest = ", ".join(f"{name} {s[-1]:,.0f}" for name, s in speeds.items() if s)
        print(f"round {i} of {rounds}: {latest or 'warm-up'}", flush=True)
    return speeds


def bytes_per_second(worker: Worker, seconds: float) -> float:
    """The median over steps that take so long together."""
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        taken += worker.ask(steps=1)["seconds"]
    return worker.settings["rows"] * CONTEXT / statistics.median(taken)


def show(
    report: Report,
    chosen: dict[str, dict[str, Any]],
    hellos: dict[str, Answer],
    speeds: dict[str, list[float]],
    peaks: dict[str, float],
) -> None:
    """Prints the table and the result."""
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    rows, figures = [], {}
    for name, hello in hellos.items():
        settings = chosen[name]
        gflops = 3 * hello["forward_flops_per_byte"] * medians[name] / 1e9
        share = gflops / peaks[settings["dtype"]]
        low, high = range_of(speeds[name])
        how = f"{settings['rows']} rows, {settings['threads']} threads, {settings['dtype']}"
        how += ", memory kept" if settings["keep"] else ""
        how += "" if settings["flash"] or name != "theirs" else ", no flash"
        counts = [hello["parameters"], hello["in_tables"]]
        speed = [medians[name], f"{low:,.0f}-{high:,.0f}", gflops, f"{share:.0%}"]
        rows.append([name, *counts, *speed, how])
        figures[name] = hello | {
            "bytes_per_s": medians[name],
            "spread": [low, high],
            "gflop_per_s": gflops,
            "share_of_peak": share,
            "settings": settings,
        }
    head = ["", "parameters", "in tables", "bytes/s", "range", "GFLOP/s", "of peak", "best with"]
    report.table(head, rows)
    for name, peak in peaks.items():
        print(f"peak of a {name} matrix product: {peak:.1f} GFLOP/s")
    difference = hellos["ours"]["parameters"] / hellos["theirs"]["parameters"] - 1
    outside = {name: hello["parameters"] - hello["in_tables"] for name, hello in hellos.items()}
    assert abs(difference) <= LARGEST_DIFFERENCE, difference
    assert abs(outside["layers"] / outside["theirs"] - 1) <= LARGEST_DIFFERENCE, outside
    print(f"parameters: {difference:+.2%} in ours; rows of {CONTEXT} bytes in both")
    ratios = ratio(speeds, "ours")
    layers = ratio(speeds, "layers")
    print(f"layers to theirs: {statistics.median(layers):.2f} times (not held to the bar)")
    report.finish(
        {"times as many bytes per second": Check(statistics.median(ratios), BAR)},
        unit="times",
        spread=range_of(ratios),
        ours=medians["ours"],
        theirs=medians["theirs"],
        ratio=statistics.median(ratios),
        goal=GOAL,
        layers_ratio=statistics.median(layers),
        layers_spread=range_of(layers),
        peak_gflop_per_s=peaks,
        contenders=figures,
    )


def ratio(speeds: dict[str, list[float]], name: str) -> list[float]:
    """How many times as fast as theirs, round by round."""
    return [one / other for one, other in zip(speeds[name], speeds["theirs"], strict=True)]


def measure_peaks(size: int, bfloat16: bool) -> dict[str, float]:
    """GFLOP/s of a matrix product in each number format, the best of several and of all threads.

    bfloat16 is left out where it is emulated: one product would take a minute.
    """
    found = {}
    for dtype in (torch.float32, torch.bfloat16) if bfloat16 else (torch.float32,):
        one, other = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
        taken = []
        for threads in (cores(), 1):
            torch.set_num_threads(threads)
            for _ in range(4):
                start = time.perf_counter()
                one @ other
                taken.append(time.perf_counter() - start)
        found[str(dtype).removeprefix("torch.")] = 2 * size**3 / min(taken) / 1e9
    return found


def work(contender: str, rows: int, threads: int, dtype: str, keep: bool, flash: bool) -> None:
    """Is one contender: takes the steps it is asked for."""
    if keep:
        keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    number = getattr(torch, dtype)
    if contender == "theirs":
        model: torch.nn.Module = theirs(flash=flash)
        step = their_step(model, number)
    else:
        config = ours_by_parameters() if contender == "ours" else ours_by_layers()
        model = Megabyte(config)
        step = our_step(model, number)
    model.train()
    place = 0

    def batch() -> torch.Tensor:
        nonlocal place
        text = library_code(rows * CONTEXT, place)
        place += len(text)
        return torch.frombuffer(bytearray(text), dtype=torch.uint8).long().view(rows, CONTEXT)

    def answer(steps: int) -> Answer:
        taken = []
        for _ in range(steps):
            ids = batch()
            start = time.perf_counter()
            step(ids)
            taken.append(time.perf_counter() - start)
        return {"seconds": taken}

    first = batch()
    forward = model if contender == "theirs" else model.losses
    flops = forward_flops(model, lambda: forward(first))
    answer(1)  # warm-up
    serve(sizes(model) | {"forward_flops_per_byte": flops / first.numel()}, answer)


def our_step(model: Megabyte, dtype: torch.dtype) -> Step:
    """A step as codebyte.training takes it."""
    config = TrainConfig()
    optimizers = build_optimizers(model, config)
    parameters = list(model.parameters())
    done = 0

    def step(ids: torch.Tensor) -> None:
        nonlocal done
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            nats = model.losses(ids).sum()
        (nats / ids.numel()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        set_rates(optimizers, rate_at(min(done, config.warmup), config))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        done += 1

    return step


def their_step(model: torch.nn.Module, dtype: torch.dtype) -> Step:
    """A step as MEGABYTE-pytorch's train.py takes it, with the faster of torch's Adams."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

    def step(ids: torch.Tensor) -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = model(ids, return_loss=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
