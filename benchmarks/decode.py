"""Bytes per second of greedy decoding, batch 1, after a prompt of 1,024 bytes of Python code.

    ours    codebyte.generate with the packaged model, 1,024 bytes, reading the prompt included;
            where the model ends a text, the next prompt is read and its time counts too
    theirs  the `generate` of MEGABYTE-pytorch 0.3.6 (dim (384, 192), depth (8, 4), patches of 8
            bytes, untrained: its speed does not depend on the weights), greedy by filter_thres=1,
            in inference mode

Their generate fills the whole context and runs the whole sequence again for each byte. So that it
need not fill 2,048 bytes here, its model is made for a context of 1,040: it then writes 16 bytes,
and its layers and weights are the same. These are its quickest 16, since each byte costs it more
than the one before. Each has its best number of threads and way of keeping freed memory; then they
take turns in processes of their own.

Then what a typed byte costs: the time until the model's state stands behind 2,048 bytes and one
more, when a decoder has read all but the last and has shown 8 bytes of ghost text; as a share of
the time to read 2,048 bytes for the first time.
"""

import json
import statistics
import time
from typing import Any

import torch
from contenders import load_ours, sizes, theirs
from report import Check, Report, cores, parser, range_of
from texts import library_code
from workers import Answer, Worker, best_settings, serve

from codebyte.config import SamplingParams
from codebyte.decode import generate
from codebyte.decoder import Decoder
from codebyte.memory import keep_freed_memory
from codebyte.sampling import Sampler

BAR_TIMES, BAR_SPEED, BAR_SHARE = 100.0, 500.0, 0.05
PROMPT = 1024
NEW = 1024  # bytes that ours writes
THEIR_NEW = 16
TYPED_AFTER = 2048
GHOST = 8
ROUNDS = 20
_STRIDE = 10_007  # bytes from one prompt to the next


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    options = parser(__doc__)
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    options.add_argument("--worker", help="be the contender with these settings")
    args = options.parse_args()
    if args.worker is not None:
        settings = json.loads(args.worker)
        if settings["keep"]:
            keep_freed_memory()
        torch.set_num_threads(settings["threads"])
        be = be_theirs if settings["contender"] == "theirs" else be_ours
        be(settings)
        return
    report = Report("decode", quick=args.quick, packages=("MEGABYTE-pytorch",))
    chosen = {name: choose(name, args) for name in ("ours", "theirs")}
    ours_speeds, their_speeds, first_bytes = [], [], []
    with Worker(__file__, chosen["ours"]) as ours, Worker(__file__, chosen["theirs"]) as other:
        print(f"ours is {ours.hello['name']}")
        for i in range(2 if args.quick else ROUNDS):
            answer = ours.ask(prompt=i, new=32 if args.quick else NEW)
            ours_speeds.append(answer["bytes"] / answer["seconds"])
            first_bytes.append(answer["first"])
            their_speeds.append(THEIR_NEW / other.ask(prompt=i)["seconds"])
            print(f"ours {ours_speeds[-1]:.0f}, theirs {their_speeds[-1]:.2f} bytes/s", flush=True)
        typing = ours.ask(typed=8 if args.quick else 64, cold=2 if args.quick else 12)
        hellos = {"ours": ours.hello, "theirs": other.hello}
    if "untrained" in hellos["ours"]["name"]:
        report.note(f"ours is {hellos['ours']['name']}")
    show(report, chosen, hellos, (ours_speeds, their_speeds, first_bytes), typing)


def choose(contender: str, args: Any) -> dict[str, Any]:
    """The settings at which a contender is fastest."""
    keep = contender == "ours"
    axes: dict[str, tuple[Any, ...]] = {
        "contender": (contender,),
        "checkpoint": (args.checkpoint,),
        "threads": tuple(dict.fromkeys((cores(), 1))),
        "keep": (keep, not keep),
        "flash": (True, False) if contender == "theirs" else (True,),
    }

    def speed(settings: dict[str, Any]) -> float:
        with Worker(__file__, settings) as worker:
            if contender == "theirs":
                taken = [worker.ask(prompt=i)["seconds"] / THEIR_NEW for i in range(3)]
            else:
                answers = [worker.ask(prompt=i, new=NEW // 4) for i in range(3)]
                taken = [answer["seconds"] / answer["bytes"] for answer in answers]
        found = 1 / statistics.median(taken)
        print(f"{found:8.2f} bytes/s  {settings}", flush=True)
        return found

    if args.quick:
        return {name: values[0] for name, values in axes.items()}
    return best_settings(axes, speed)


def show(
    report: Report,
    chosen: dict[str, dict[str, Any]],
    hellos: dict[str, Answer],
    speeds: tuple[list[float], list[float], list[float]],
    typing: Answer,
) -> None:
    """Prints the table and the result."""
    ours, their, first = speeds
    ratios = [one / other for one, other in zip(ours, their, strict=True)]
    rows = []
    for name, values in (("ours", ours), ("theirs", their)):
        low, high = range_of(values)
        parameters = [hellos[name]["parameters"], hellos[name]["in_tables"]]
        threads = chosen[name]["threads"]
        middle = statistics.median(values)
        rows.append([name, *parameters, middle, f"{low:.4g}-{high:.4g}", threads])
    report.table(["", "parameters", "in tables", "bytes/s", "range", "threads"], rows)
    cold, typed = statistics.median(typing["cold"]), statistics.median(typing["typed"])
    print(f"first byte after {PROMPT} bytes: {statistics.median(first) * 1000:.1f} ms")
    print(f"reading {TYPED_AFTER} bytes: {cold * 1000:.1f} ms; one more: {typed * 1000:.2f} ms")
    report.finish(
        {
            "times as many bytes per second": Check(statistics.median(ratios), BAR_TIMES),
            "bytes per second": Check(statistics.median(ours), BAR_SPEED),
            "share of one typed byte": Check(typed / cold, BAR_SHARE, at_most=True),
        },
        unit="times",
        spread=range_of(ratios),
        ours=statistics.median(ours),
        theirs=statistics.median(their),
        ratio=statistics.median(ratios),
        ours_spread=range_of(ours),
        theirs_spread=range_of(their),
        first_byte_ms=statistics.median(first) * 1000,
        cold_prompt_ms=cold * 1000,
        typed_byte_ms=typed * 1000,
        typed_byte_spread_ms=[value * 1000 for value in range_of(typing["typed"])],
        model=hellos["ours"]["name"],
        contenders={name: hello | {"settings": chosen[name]} for name, hello in hellos.items()},
    )


def be_theirs(settings: dict[str, Any]) -> None:
    """Is MEGABYTE-pytorch."""
    torch.manual_seed(1)
    model = theirs(PROMPT + THEIR_NEW, flash=settings["flash"]).eval()

    @torch.inference_mode()
    def answer(prompt: int) -> Answer:
        prime = torch.tensor([list(library_code(PROMPT, prompt * _STRIDE))])
        start = time.perf_counter()
        model.generate(prime, filter_thres=1.0)
        return {"seconds": time.perf_counter() - start}

    answer(0)  # warm-up
    serve(sizes(model), answer)


def be_ours(settings: dict[str, Any]) -> None:
    """Is codebyte."""
    model, name = load_ours(settings["checkpoint"], "cpu")

    def write(prompt: int, new: int) -> Answer:
        count, taken, first = 0, 0.0, 0.0
        while count < new:
            text = library_code(PROMPT, prompt * _STRIDE)
            prompt += 1000  # for the next text, should this one end early
            start = time.perf_counter()
            for piece in generate(model, text, SamplingParams(max_new_bytes=new - count)):
                first = first or time.perf_counter() - start
                count += len(piece)
            taken += time.perf_counter() - start
        return {"bytes": count, "seconds": taken, "first": first}

    def type_on(typed: int, cold: int) -> Answer:
        text = library_code(TYPED_AFTER + typed)
        greedy = Sampler(SamplingParams())
        reading, typing = [], []
        for _ in range(cold + 1):
            start = time.perf_counter()
            decoder = Decoder(model)
            decoder.prefill(text[:TYPED_AFTER])
            reading.append(time.perf_counter() - start)
        for i in range(typed):
            list(decoder.decode(greedy, GHOST))
            start = time.perf_counter()
            decoder.prefill(text[: TYPED_AFTER + i + 1])
            typing.append(time.perf_counter() - start)
        return {"cold": reading[1:], "typed": typing}

    def answer(**request: int) -> Answer:
        return write(**request) if "prompt" in request else type_on(**request)

    write(0, 8)  # warm-up
    serve(sizes(model) | {"name": name}, answer)


if __name__ == "__main__":
    main()
