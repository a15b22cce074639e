"""One training step on one long document: seconds and peak memory, with and without recomputing.

The model is of the preset "stream", the document Python's library from its beginning; each
measurement is a process of its own, and what it held before the step is left out. Recomputing keeps
the inputs of the blocks and works their insides out again in the backward pass (TrainConfig's
`recompute`). The bar: a million bytes are one document in one step, in no more than --most-mb.
"""

import json
import resource
import subprocess
import sys
import time

import torch
from report import Check, Report, parser
from texts import library_code

from codebyte.layers import set_recompute
from codebyte.megabyte import Megabyte
from codebyte.memory import give_back_freed_memory
from codebyte.presets import PRESETS

LENGTHS = (62_500, 250_000, 1_000_000)


def main() -> None:
    """Runs the benchmark, or one measurement of it."""
    options = parser(__doc__)
    options.add_argument("--most-mb", type=float, default=6000)
    options.add_argument("--worker", help="measure this: a JSON of length and recompute")
    args = options.parse_args()
    torch.set_num_threads(1)
    if args.worker is not None:
        print(json.dumps(measure(**json.loads(args.worker))))
        return
    report = Report("long_training", quick=args.quick)
    rows, found = [], {}
    for length in (20_000, 40_000) if args.quick else LENGTHS:
        for recompute in (False, True):
            if length == LENGTHS[-1] and not recompute:
                continue  # would take three times the memory, which a laptop may not have
            request = json.dumps({"length": length, "recompute": recompute})
            command = [sys.executable, __file__, "--worker", request]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            it = json.loads(done.stdout.splitlines()[-1])
            found[f"{length}{' recomputed' if recompute else ''}"] = it
            kind = "recomputed" if recompute else "kept"
            speed = length / it["seconds"] / 1e3
            rows.append([f"{length:,} {kind}", it["seconds"], speed, it["bytes"] / 1e6])
            print(rows[-1], flush=True)
    report.table(["bytes", "seconds", "KB/s", "MB"], rows)
    last = found[list(found)[-1]]
    report.finish(
        {"peak memory of a step": Check(last["bytes"] / 1e6, args.most_mb, at_most=True)},
        unit="MB",
        spread=[last["bytes"] / 1e6] * 2,
        figures=found,
    )


def measure(length: int, recompute: bool) -> dict[str, float]:
    """Seconds of this process for a step, bytes at its peak, bits per byte before it."""
    give_back_freed_memory()
    torch.manual_seed(1)
    model = Megabyte(PRESETS["stream"]).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    set_recompute(model, recompute)
    ids = torch.frombuffer(bytearray(library_code(length)), dtype=torch.uint8)[None]
    model.loss(ids[:, :2048]).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    loss = model.loss(ids)
    loss.backward()
    optimizer.step()
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "bytes": (peak - before) * 1024, "nats": loss.item()}


if __name__ == "__main__":
    main()
