"""What the variants learn in a few minutes: from docstring to function head, and codes of patches.

    seq2seq      the first line of a docstring -> the `def` line of its function, both from the
                 corpus; bits per byte of heads in held-out repositories, given their own docstring
                 and given another function's. The difference is what it reads from the source; a
                 model that only knew how heads look would have none.
    conditional  the same of the packaged model, with the docstring before the head as its prompt
                 and no training: conditional generation without an encoder.
    autoencoder  patches of 8 bytes -> 8 numbers -> the bytes again, over held-out text; the share
                 of bytes that come back right, against always guessing the commonest byte.

Beside the first two is copying: the next byte is the one that followed the same bytes in the
docstring, trusted as far as training pairs say. `fixed_lines.py` has broken lines -> fixed lines.

Each is trained for --minutes of processor time on one thread, on the corpus' train split, and
judged by its valid split: other repositories. Without --corpus it is Python's own library, split by
module: a small experiment on one project's code.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from copying import Copying
from report import Check, Report, interval, parser
from texts import corpus_or_library
from torch import Tensor, nn

import codebyte
from codebyte.config import LevelConfig, ModelConfig, SamplingParams, TrainConfig
from codebyte.corpus import Corpus
from codebyte.memory import keep_freed_memory
from codebyte.optim import build_optimizers, set_rates
from codebyte.variants import Autoencoder, Seq2Seq
from codebyte.vocab import EOT, PAD

Pair = tuple[bytes, bytes]
HEAD = re.compile(
    rb'^[ \t]*((?:async )?def \w+\([^()\n]*\)(?: *-> *[^\n:]+)?:)\n[ \t]+r?"""([^"\n]{12,120})',
    re.MULTILINE,
)
LONGEST = 120  # bytes of a head
SHAPE = ModelConfig(
    levels=(
        LevelConfig(dim=64, encoder_layers=1, layers=1, mixing="conv", patch_size=16),
        LevelConfig(dim=96, layers=2, head_dim=32),
    ),
    context=512,
    ngrams=(2, 3, 4),
    ngram_buckets=2048,
    ngram_dim=32,
    matches=(2, 3, 4, 6),
    match_words=(0,),
)
PATCHES = LevelConfig(dim=64, head_dim=32, layers=1, patch_size=8)
CODE = 8  # numbers for a patch
ROWS, WARMUP, DECAY = 32, 20, 0.4
SAVED, RECOVERED = 0.1, 0.5  # bars: bits a byte, share of bytes


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--corpus", type=Path, help="(default: Python's library)")
    options.add_argument("--minutes", type=float, default=3.0, help="of processor time, each")
    options.add_argument("--pairs", type=int, default=30_000, help="to train on")
    options.add_argument("--held", type=int, default=1_000, help="pairs to judge by")
    args = options.parse_args()
    if args.quick:
        args.minutes, args.pairs, args.held = 0.1, 1_000, 50
    torch.set_num_threads(1)
    torch.manual_seed(1)
    keep_freed_memory()
    report = Report("variants", quick=args.quick)
    with corpus_or_library(args.corpus) as corpus:
        train = list(pairs(corpus, "train", args.pairs))
        known = set(train)
        held = [pair for pair in pairs(corpus, "valid", args.held) if pair not in known]
        print(f"{len(train):,} pairs to train on, {len(held):,} held out", flush=True)
        found = seq2seq(train, held, args.minutes, report)
        found |= conditional(train, held, report)
        found |= autoencoder(corpus, args.minutes, report)
    report.finish(
        {
            "bits per byte that the right source saves": Check(found["saved"], SAVED),
            "bytes that come back from their code": Check(found["recovered"], RECOVERED),
        },
        unit="bits per byte",
        spread=found["saved_range"],
        minutes=args.minutes,
        **found,
    )


def pairs(corpus: Corpus, split: str, count: int) -> Iterator[Pair]:
    """Docstrings and heads from Python files in an order drawn once, each pair once."""
    shard, seen = corpus.shard(split), set[Pair]()
    for index in np.random.default_rng(1).permutation(shard.num_documents):
        if not shard.paths[index].endswith(".py"):
            continue
        for head, line in HEAD.findall(shard.document(int(index)).tobytes()):
            pair = line.strip(), head
            if len(head) <= LONGEST and pair not in seen:
                seen.add(pair)
                yield pair
                if len(seen) == count:
                    return


def seq2seq(train: list[Pair], held: list[Pair], minutes: float, report: Report) -> dict[str, Any]:
    """Trains docstring -> head; gives its figures."""
    model, rng = Seq2Seq(SHAPE), np.random.default_rng(1)

    def loss() -> Tensor:
        chosen = [train[i] for i in rng.integers(len(train), size=ROWS)]
        return model.loss(padded([source for source, _ in chosen]), ended(chosen))

    steps = fit(model, loss, minutes)

    own, sizes = bits_of(model, held, [source for source, _ in held])
    other, _ = bits_of(model, held, [source for source, _ in held[1:] + held[:1]])
    copying = Copying(train)
    copied = np.array([sum(copying.bits(*pair)) for pair in held])
    written = [
        b"".join(model.generate(source, SamplingParams(max_new_bytes=LONGEST)))
        for source, _ in held[:200]
    ]
    same = sum(name(text) == name(head) for text, (_, head) in zip(written, held, strict=False))
    commonest = Counter(name(head) for _, head in train).most_common(1)[0][0]
    guessed = sum(name(head) == commonest for _, head in held[:200])
    report.table(
        ["docstring -> head", "bits per byte", f"whole name right, of {len(written)}"],
        [
            ["its own docstring", float(own.sum() / sizes.sum()), same],
            ["another's", float(other.sum() / sizes.sum()), ""],
            ["copying the docstring", float(copied.sum() / sizes.sum()), ""],
            ["always the commonest name", "", guessed],
        ],
    )
    for text, (source, head) in zip(written[:6], held, strict=False):
        print(f"  {source.decode(errors='replace')}\n    {text!r}\n    {head!r}")
    return {
        "saved": float((other - own).sum() / sizes.sum()),
        "saved_range": interval(other - own, sizes),
        "seq2seq": {
            "bits_own": float(own.sum() / sizes.sum()),
            "bits_other": float(other.sum() / sizes.sum()),
            "bits_copying": float(copied.sum() / sizes.sum()),
            "names_right": same / len(written),
            "names_right_constant": guessed / len(written),
            "steps": steps,
            "parameters": sum(p.numel() for p in model.parameters()),
        },
    }


def conditional(train: list[Pair], held: list[Pair], report: Report) -> dict[str, Any]:
    """What the packaged model makes of a docstring that stands before a head."""
    model = codebyte.load(device="cpu")
    others = [source for source, _ in held[1:] + held[:1]]
    copying, copied = Copying(train), 0.0
    totals, size = np.zeros(2), 0
    for (source, head), other in list(zip(held, others, strict=True))[:300]:
        size += len(head)
        copied += sum(copying.bits(source, head)[:-1])
        for i, text in enumerate((source, other)):
            bits = codebyte.surprisal(model, b"# " + text + b"\n" + head)
            totals[i] += bits[-len(head) :].sum(dtype=np.float64)
    own, wrong = totals / size
    report.table(
        ["packaged model, docstring first", "bits per byte"],
        [
            ["its own docstring", float(own)],
            ["another's", float(wrong)],
            ["copying the docstring", copied / size],
        ],
    )
    figures = {"bits_own": own, "bits_other": wrong, "bits_copying": copied / size}
    return {"conditional": {key: float(value) for key, value in figures.items()}}


def autoencoder(corpus: Corpus, minutes: float, report: Report) -> dict[str, Any]:
    """Trains codes of patches; gives their figures."""
    torch.manual_seed(1)
    model, rng = Autoencoder(PATCHES, CODE), np.random.default_rng(1)
    shown, held = (corpus.shard(split).data for split in ("train", "valid"))

    def drawn(data: np.ndarray, rows: int, chance: np.random.Generator) -> Tensor:
        starts = chance.integers(len(data) - 512, size=rows)
        return torch.from_numpy(np.stack([data[at : at + 512] for at in starts]))

    steps = fit(model, lambda: model.loss(drawn(shown, 16, rng)), minutes)
    text = drawn(held, 400, np.random.default_rng(2))
    back = torch.cat([model.reconstruct(part) for part in text.split(50)])
    right = (back == text).double()
    constant = float((text == text.flatten().mode().values).double().mean())
    whole = right.view(-1, PATCHES.patch_size).all(dim=1).double()
    report.table(
        [f"{PATCHES.patch_size} bytes in {CODE} numbers", "bytes right", "patches right"],
        [
            ["autoencoder", float(right.mean()), float(whole.mean())],
            ["always the commonest byte", constant, ""],
        ],
    )
    return {
        "recovered": float(right.mean()),
        "autoencoder": {
            "patches_right": float(whole.mean()),
            "bytes_right_constant": constant,
            "steps": steps,
            "parameters": sum(p.numel() for p in model.parameters()),
        },
    }


def fit(model: nn.Module, loss: Callable[[], Tensor], minutes: float) -> int:
    """Trains for so many minutes of processor time; gives the steps."""
    optimizers, steps, began = build_optimizers(model, TrainConfig()), 0, time.process_time()
    model.train()
    while (share := (time.process_time() - began) / (60 * minutes)) < 1:
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        set_rates(optimizers, min(1.0, (steps + 1) / WARMUP, (1 - share) / DECAY))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        steps += 1
        if steps % 100 == 0:
            bits = float(value.detach()) / math.log(2)
            print(f"step {steps}, {share:.0%}: {bits:.3f} bits per byte", flush=True)
    model.eval()
    return steps


def bits_of(
    model: Seq2Seq, pairs: list[Pair], sources: list[bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Bits of each pair's target given these sources, and its length, both with its end: (n,)."""
    nats, sizes = [], []
    for i in range(0, len(pairs), ROWS):
        target = ended(pairs[i : i + ROWS])
        with torch.inference_mode():
            logits = model(padded(sources[i : i + ROWS]), target)[:, :-1]
        lost = nn.functional.cross_entropy(logits.mT, target, reduction="none")
        nats.append((lost * (target != PAD)).sum(dim=1).double().numpy())
        sizes.append((target != PAD).sum(dim=1).numpy())
    return np.concatenate(nats) / math.log(2), np.concatenate(sizes)


def padded(texts: list[bytes], end: tuple[int, ...] = ()) -> Tensor:
    """(b, t) ids, each text followed by `end` and PAD."""
    rows = [torch.tensor([*text, *end]) for text in texts]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def ended(chosen: list[Pair]) -> Tensor:
    """The heads as targets."""
    return padded([head for _, head in chosen], (EOT,))


def name(head: bytes) -> bytes:
    """The function's name."""
    return head.partition(b"(")[0].rpartition(b" ")[2]


if __name__ == "__main__":
    main()
