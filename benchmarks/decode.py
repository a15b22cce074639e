"""Bytes per second of greedy decoding, batch 1, after a prompt of 1,024 bytes of Python code.

    ours    codebyte.generate with the packaged model, 1,024 bytes, reading the prompt included;
            where the model ends a text, the next prompt is read and its time counts too; once with
            drafts by prompt lookup, as it comes, and once without; both must write the same
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

Last, the bytes of weights that are read for each byte written, and how fast that is beside reading
memory alone: summing 256 MB, best of several. Weights that stay in a processor's cache can be read
faster than that; a share far below one says that it is not memory that is waited for.
"""

import json
import statistics
import time
from typing import Any

import numpy as np
import torch
from contenders import load_ours, sizes, theirs
from report import Check, Report, cores, parser, range_of
from texts import library_code
from workers import Answer, Worker, best_settings, serve

from codebyte.config import SamplingParams
from codebyte.costs import bytes_per_place
from codebyte.decode import generate
from codebyte.decoder import PROMPT_LOOKUP, Decoder
from codebyte.drafts import Guesser
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.sampling import Sampler

BAR_TIMES, BAR_SPEED, BAR_PLAIN, BAR_SHARE = 300.0, 2000.0, 1000.0, 0.05
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
    ours_speeds, plain_speeds, their_speeds, first_bytes = [], [], [], []
    same, drafts = True, {"drafts": 0, "guessed": 0, "right": 0}
    with Worker(__file__, chosen["ours"]) as ours, Worker(__file__, chosen["theirs"]) as other:
        print(f"ours is {ours.hello['name']}")
        for i in range(2 if args.quick else ROUNDS):
            new = 32 if args.quick else NEW
            answer = ours.ask(prompt=i, new=new)
            plain = ours.ask(prompt=i, new=new, drafts=False)
            same = same and answer["text"] == plain["text"]
            ours_speeds.append(answer["bytes"] / answer["seconds"])
            plain_speeds.append(plain["bytes"] / plain["seconds"])
            first_bytes.append(answer["first"])
            for key in drafts:
                drafts[key] += answer[key]
            their_speeds.append(THEIR_NEW / other.ask(prompt=i)["seconds"])
            print(
                f"ours {ours_speeds[-1]:.0f}, without drafts {plain_speeds[-1]:.0f}, "
                f"theirs {their_speeds[-1]:.2f} bytes/s",
                flush=True,
            )
        typing = ours.ask(typed=8 if args.quick else 64, cold=2 if args.quick else 12)
        traffic = ours.ask(memory=True)
        hellos = {"ours": ours.hello, "theirs": other.hello}
    if "untrained" in hellos["ours"]["name"]:
        report.note(f"ours is {hellos['ours']['name']}")
    if not same:
        report.note("drafts changed what was written")
    speeds = (ours_speeds, plain_speeds, their_speeds, first_bytes)
    show(report, chosen, hellos, speeds, typing, traffic | drafts | {"same": same})


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
    speeds: tuple[list[float], list[float], list[float], list[float]],
    typing: Answer,
    reading: Answer,
) -> None:
    """Prints the table and the result."""
    ours, plain, their, first = speeds
    ratios = [one / other for one, other in zip(ours, their, strict=True)]
    rows = []
    for name, label, values in (
        ("ours", "ours", ours),
        ("ours", "without drafts", plain),
        ("theirs", "theirs", their),
    ):
        low, high = range_of(values)
        parameters = [hellos[name]["parameters"], hellos[name]["in_tables"]]
        threads = chosen[name]["threads"]
        middle = statistics.median(values)
        rows.append([label, *parameters, middle, f"{low:.4g}-{high:.4g}", threads])
    report.table(["", "parameters", "in tables", "bytes/s", "range", "threads"], rows)
    cold, typed = statistics.median(typing["cold"]), statistics.median(typing["typed"])
    print(f"first byte after {PROMPT} bytes: {statistics.median(first) * 1000:.1f} ms")
    print(
        f"{reading['right']} of {reading['guessed']} drafted bytes were right, "
        f"in {reading['drafts']} drafts"
    )
    weights = reading["weights_per_byte"]
    share = weights * statistics.median(plain) / reading["memory_bytes_per_s"]
    print(
        f"weights read for a byte without drafts: {weights / 1e6:.2f} MB; at its speed "
        f"{share:.0%} of the {reading['memory_bytes_per_s'] / 1e9:.1f} GB/s that memory gives"
    )
    print(f"reading {TYPED_AFTER} bytes: {cold * 1000:.1f} ms; one more: {typed * 1000:.2f} ms")
    report.finish(
        {
            "times as many bytes per second": Check(statistics.median(ratios), BAR_TIMES),
            "bytes per second": Check(statistics.median(ours), BAR_SPEED),
            "bytes per second without drafts": Check(statistics.median(plain), BAR_PLAIN),
            "same text with drafts as without": Check(float(reading["same"]), 1.0),
            "share of one typed byte": Check(typed / cold, BAR_SHARE, at_most=True),
        },
        unit="times",
        spread=range_of(ratios),
        ours=statistics.median(ours),
        theirs=statistics.median(their),
        ratio=statistics.median(ratios),
        ours_spread=range_of(ours),
        plain=statistics.median(plain),
        plain_spread=range_of(plain),
        share_of_memory_speed=share,
        reading={key: value for key, value in reading.items() if key != "same"},
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

    counts = {"drafts": 0, "guessed": 0, "right": 0}
    learn = Guesser.learn

    def counted(self: Guesser, guessed: int, right: int) -> None:
        for key, value in (("drafts", 1), ("guessed", guessed), ("right", right)):
            counts[key] += value
        learn(self, guessed, right)

    Guesser.learn = counted  # type: ignore[method-assign]

    def write(prompt: int, new: int, drafts: bool = True) -> Answer:
        count, taken, first, written = 0, 0.0, 0.0, b""
        counts.update(dict.fromkeys(counts, 0))
        draft = PROMPT_LOOKUP if drafts else None
        while count < new:
            text = library_code(PROMPT, prompt * _STRIDE)
            prompt += 1000  # for the next text, should this one end early
            params = SamplingParams(max_new_bytes=new - count)
            start = time.perf_counter()
            for piece in generate(model, text, params, draft=draft):
                first = first or time.perf_counter() - start
                count += len(piece)
                written += piece
            taken += time.perf_counter() - start
        answer = {"bytes": count, "seconds": taken, "first": first, "text": written.hex()}
        return answer | counts

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

    def answer(**request: Any) -> Answer:
        if "memory" in request:
            return {"weights_per_byte": weights_per_byte(model)} | memory_speed()
        return write(**request) if "prompt" in request else type_on(**request)

    write(0, 8)  # warm-up
    serve(sizes(model) | {"name": name}, answer)


def weights_per_byte(model: Megabyte) -> float:
    """Bytes of float32 weights that one more byte of code takes; of tables only the rows used."""
    sizes = bytes_per_place(model.config)
    total, level = 0.0, model.wiring.levels
    for i, size in enumerate(sizes):
        stacks = [m for part in (level.encoder, level.decoder) for m in part.modules()]
        total += sum(m.weight.numel() for m in stacks if isinstance(m, torch.nn.Linear)) / size
        if level.above is not None:
            total += 3 * level.dim * level.above.dim / sizes[i + 1]  # to the patch and back
            level = level.above
    config = model.config
    total += config.levels[0].dim * (config.vocab_size + config.ngram_dim * bool(config.ngrams))
    total += len(config.ngrams) * config.ngram_dim
    return 4 * total


def memory_speed() -> Answer:
    """Bytes a second of reading memory from its beginning to its end, on one core."""
    data = np.ones(64 << 20, np.float32)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        data.sum()
        taken.append(time.perf_counter() - start)
    return {"memory_bytes_per_s": data.nbytes / min(taken)}


if __name__ == "__main__":
    main()
