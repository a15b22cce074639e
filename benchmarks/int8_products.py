"""Whether int8 weights would make a written byte cheaper: the trunk's products for one place.

Each product of the trunk's matrices with one place's state, one after the other, as a step of
decoding has them, in four ways that take turns:

    numpy     float32, as `codebyte.decode` computes them
    torch     float32
    int8      torch's product of float32 states with int8 weights by rows, as `codebyte.quantize`
              stores them: a quarter of the bytes to read
    int8 bf16 the same of bfloat16 states: they are rounded, too, and so is all that is written

The claim is that int8 weights do not pay while states stay float32: the product takes longer than
the quicker of float32. bfloat16 states are shown beside it. One thread; medians of rounds.
"""

import statistics
import time
from collections.abc import Callable

import torch
from contenders import load_ours
from report import Check, Report, parser, range_of
from torch import Tensor

from codebyte.quantize import SCALE, stored

ROUNDS, REPEATS = 15, 40


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    args = options.parse_args()
    torch.set_num_threads(1)
    report = Report("int8_products", quick=args.quick)
    model, name = load_ours(args.checkpoint, "cpu")
    trunk = model.wiring.levels.above
    assert trunk is not None
    weights = [m.weight.detach() for m in trunk.modules() if isinstance(m, torch.nn.Linear)]
    ways = products(weights)
    taken: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for _ in range(2 if args.quick else ROUNDS):
            for way, multiply in ways.items():
                multiply()
                start = time.perf_counter()
                for _ in range(REPEATS):
                    multiply()
                taken[way].append((time.perf_counter() - start) / REPEATS * 1e3)
    middle = {way: statistics.median(values) for way, values in taken.items()}
    numbers = sum(weight.numel() for weight in weights)
    report.table(
        [f"{len(weights)} matrices of {name}'s trunk, {numbers:,} numbers", "ms", "least", "most"],
        [[way, middle[way], *range_of(values)] for way, values in taken.items()],
    )
    plain = [min(pair) for pair in zip(taken["numpy"], taken["torch"], strict=True)]
    whole, half = (
        [one / other for one, other in zip(taken[way], plain, strict=True)]
        for way in ("int8", "int8 bf16")
    )
    report.finish(
        {"times as long in int8 as in float32": Check(statistics.median(whole), 1.0)},
        unit="times",
        spread=range_of(whole),
        of_bfloat16_states=statistics.median(half),
        of_bfloat16_states_spread=range_of(half),
        milliseconds=middle,
        model=name,
    )


def products(weights: list[Tensor]) -> dict[str, Callable[[], object]]:
    """The ways to multiply each matrix, (m, n), with a place's state, (n,); each gives all."""
    states = [torch.randn(1, weight.shape[1]) for weight in weights]
    pairs = list(zip(weights, states, strict=True))
    arrays = [(weight.numpy(), state.numpy()[0]) for weight, state in pairs]
    packed = []
    for weight in weights:
        parts = stored("w", weight, "int8")
        if "w" + SCALE not in parts:
            raise SystemExit(f"a matrix of {tuple(weight.shape)} is too small to be stored as int8")
        packed.append((parts["w"], parts["w" + SCALE]))

    def by_numpy() -> object:
        return [weight @ state for weight, state in arrays]

    def by_torch() -> object:
        return [torch.mv(weight, state[0]) for weight, state in pairs]

    def in_int8(dtype: torch.dtype) -> Callable[[], object]:
        rows = [
            (x.to(dtype), weight, scale.to(dtype))
            for (weight, scale), x in zip(packed, states, strict=True)
        ]
        return lambda: [torch.ops.aten._weight_int8pack_mm(*row) for row in rows]

    return {
        "numpy": by_numpy,
        "torch": by_torch,
        "int8": in_int8(torch.float32),
        "int8 bf16": in_int8(torch.bfloat16),
    }


if __name__ == "__main__":
    main()
