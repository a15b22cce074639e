"""What reading a text again is worth: sliding and strided inference (Yu et al. 2023, section 5).

Files of the corpus' validation split that are longer than two windows are scored in four ways:

    basic     each window by itself, no byte read twice
    sliding   windows that overlap by half
    strided   twice, half a patch apart, each byte by the pass where it stands nearer its patch's
              start
    both      four times the work of basic

The packaged model has patches that end with words, so only windows matter to it. For the others a
model of the paper's wiring with patches of 8 bytes is trained first for --minutes of processor
time. The paper's own figures, on PG-19: 0.9079, 0.8918, 0.8926 and 0.8751 bits per byte. Strided
inference rests on bytes being harder the later they stand in their patch, so bits by place there
are shown, too.
"""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import Check, Report, interval, parser
from torch import nn

import codebyte
from codebyte.config import LevelConfig, ModelConfig, TrainConfig
from codebyte.corpus import Corpus
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.optim import build_optimizers, set_rates
from codebyte.vocab import PAD

PATCH = 8  # bytes; windows are whole patches
PAPER = ModelConfig(
    levels=(
        LevelConfig(dim=96, layers=2, head_dim=32, patch_size=PATCH),
        LevelConfig(dim=256, layers=4, head_dim=32),
    ),
    wiring="paper",
    patching="fixed",
    context=1024,
)
WINDOW = PAPER.context
WAYS: dict[str, dict[str, Any]] = {
    "basic": {"stride": WINDOW},
    "sliding": {"stride": WINDOW // 2},
    "strided": {"stride": WINDOW, "strided": True},
    "both": {"stride": WINDOW // 2, "strided": True},
}
LARGEST = 16_384  # bytes of a file
ROWS, WARMUP, DECAY = 8, 20, 0.4


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--corpus", type=Path, required=True)
    options.add_argument("--minutes", type=float, default=5.0, help="of training")
    options.add_argument("--files", type=int, default=40)
    args = options.parse_args()
    if args.quick:
        args.minutes, args.files = 0.1, 3
    torch.set_num_threads(1)
    keep_freed_memory()
    report = Report("scoring", quick=args.quick)
    corpus = Corpus(args.corpus)
    texts = files(corpus, args.files)
    packaged = codebyte.load(device="cpu")
    trained = fit(corpus, args.minutes)
    figures: dict[str, dict[str, Any]] = {}
    rows, by_place = [], np.zeros((2, PATCH))  # bits and bytes at each place in a patch
    for name, model in (("paper's wiring", trained), ("packaged", packaged)):
        ways = WAYS if model is trained else {way: WAYS[way] for way in ("basic", "sliding")}
        sums = {way: [] for way in ways}
        seconds = dict.fromkeys(ways, 0.0)
        for text in texts:
            for way, how in ways.items():
                began = time.process_time()
                bits = codebyte.surprisal(model, text, window=WINDOW, **how)
                seconds[way] += time.process_time() - began
                if model is trained and way == "basic":
                    place = np.arange(len(bits)) % PATCH
                    by_place += [np.bincount(place, bits, PATCH), np.bincount(place)]
                sums[way].append(float(bits.sum(dtype=np.float64)))
        size = sum(map(len, texts))
        figures[name] = {way: sum(found) / size for way, found in sums.items()}
        figures[name]["seconds"] = seconds
        rows += [[f"{name}, {way}", figures[name][way], seconds[way]] for way in ways]
        if model is trained:
            saved = np.array(sums["basic"]) - np.array(sums["both"])
            spread = interval(saved, [len(text) for text in texts])
    report.table(["", "bits per byte", "seconds"], rows)
    bits_by_place = (by_place[0] / by_place[1]).tolist()
    print("bits by place in the patch:", " ".join(f"{value:.2f}" for value in bits_by_place))
    paper = figures["paper's wiring"]
    report.finish(
        {
            "bits per byte that both save": Check(paper["basic"] - paper["both"], 0.0),
            "that sliding saves": Check(paper["basic"] - paper["sliding"], 0.0),
            "that strided saves": Check(paper["basic"] - paper["strided"], 0.0),
        },
        unit="bits per byte",
        spread=spread,
        figures=figures,
        bits_by_place=bits_by_place,
        files=len(texts),
        bytes=sum(map(len, texts)),
        minutes=args.minutes,
    )


def files(corpus: Corpus, count: int) -> list[bytes]:
    """The beginnings of files longer than two windows, drawn once."""
    shard, found = corpus.shard("valid"), []
    for index in np.random.default_rng(1).permutation(shard.num_documents):
        text = shard.document(int(index))
        if len(text) > 2 * WINDOW and len(found) < count:
            found.append(text[:LARGEST].tobytes())
    return found


def fit(corpus: Corpus, minutes: float) -> Megabyte:
    """A model of the paper's wiring, trained for so long."""
    torch.manual_seed(1)
    model, settings = Megabyte(PAPER), TrainConfig()
    optimizers, steps, began = build_optimizers(model, settings), 0, time.process_time()
    while (share := (time.process_time() - began) / (60 * minutes)) < 1:
        batch = corpus.batch("train", steps, seed=1, rows=ROWS, length=WINDOW)
        ids = torch.from_numpy(batch.astype(np.int64))
        value = model.losses(ids).sum() / (ids != PAD).sum()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        set_rates(optimizers, min(1.0, (steps + 1) / WARMUP, (1 - share) / DECAY))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        steps += 1
        if steps % 50 == 0:
            print(
                f"{share:.0%}: {float(value.detach()) / math.log(2):.3f} bits per byte", flush=True
            )
    return model.eval()


if __name__ == "__main__":
    main()
