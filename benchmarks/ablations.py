"""What each part of the packaged model's design brings: variants trained for the same time.

Every variant starts from the same seed and sees the same rows in the same order, for as many steps
as fit into the time; its rates fall linearly over the last part. Time is processor time on one
thread, so that what else the machine does costs a run none of its steps. Bits per byte are over the
same validation rows for all, of repositories not trained on, without fill-in-the-middle.

A variant's result is kept in OUT and not computed again, so that variants can be run in several
goes; the table is over all that are there.
"""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from contenders import fail
from report import Check, Report, parser

from codebyte.config import LevelConfig, ModelConfig, TrainConfig
from codebyte.corpus import Corpus
from codebyte.costs import flops_per_byte
from codebyte.errors import CodebyteError
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.optim import build_optimizers, set_rates
from codebyte.presets import PRESETS
from codebyte.vocab import PAD

BASE = "small"
ROWS, LENGTH = 4, 4096
WARMUP = 40  # steps
DECAY = 0.4  # share of the time
VALIDATION_ROWS = 64
SMALL = PRESETS[BASE]


def local(**changes: Any) -> ModelConfig:
    """The preset with other byte-level settings."""
    return replace(SMALL, levels=(replace(SMALL.levels[0], **changes), SMALL.levels[1]))


def trunk(**changes: Any) -> ModelConfig:
    """The preset with another global level."""
    return replace(SMALL, levels=(SMALL.levels[0], replace(SMALL.levels[1], **changes)))


PAPER = ModelConfig(
    levels=(
        LevelConfig(dim=128, layers=3, head_dim=32, patch_size=8),
        LevelConfig(dim=192, layers=6),
    ),
    wiring="paper",
    patching="fixed",
    context=SMALL.context,
)
# one level over bytes, with as many operations a byte as the preset and nothing but attention
TRANSFORMER = ModelConfig(
    levels=(LevelConfig(dim=128, layers=4, head_dim=32, pattern="window", window=256),),
    patching="fixed",
    context=SMALL.context,
)
VARIANTS: dict[str, tuple[str, ModelConfig, TrainConfig]] = {
    name: (says, model, TrainConfig(rows=ROWS, length=LENGTH, **settings))
    for name, says, model, settings in [
        (BASE, "the preset", SMALL, {}),
        ("paper", "MEGABYTE as published, P=8, same widths and depths", PAPER, {}),
        ("transformer", "a transformer over bytes with a window of 256", TRANSFORMER, {}),
        (
            "fixed",
            "fixed patches of 8 bytes",
            replace(local(patch_size=8), patching="fixed"),
            {},
        ),
        ("no-ngrams", "no n-gram tables", replace(SMALL, ngrams=()), {}),
        ("no-matches", "no match inputs", replace(SMALL, matches=(), match_words=()), {}),
        (
            "matches-3",
            "matches of 4, 8, 16 bytes, the last time only",
            replace(SMALL, matches=(4, 8, 16), match_words=(), match_depth=1),
            {},
        ),
        ("no-words", "no matches by words", replace(SMALL, match_words=()), {}),
        ("depth-1", "matches, the last time only", replace(SMALL, match_depth=1), {}),
        (
            "neither",
            "no tables, no matches",
            replace(SMALL, ngrams=(), matches=(), match_words=()),
            {},
        ),
        (
            "adamw",
            "AdamW for the matrices (rate 0.003)",
            SMALL,
            {"matrix_optimizer": "adamw", "matrix_rate": 0.003},
        ),
        ("encoder-0", "byte layers 0 below, 3 above", local(encoder_layers=0, layers=3), {}),
        ("encoder-2", "byte layers 2 below, 1 above", local(encoder_layers=2, layers=1), {}),
        (
            "window",
            "window attention (32 bytes) in place of convolutions",
            local(mixing="attention", pattern="window", window=32, head_dim=32),
            {},
        ),
        ("local-192", "byte level 192 wide", local(dim=192), {}),
        ("trunk-256x8", "trunk 256 wide, 8 deep", trunk(dim=256, layers=8), {}),
        ("trunk-384x6", "trunk 384 wide, 6 deep", trunk(dim=384), {}),
        ("trunk-192x12", "trunk 192 wide, 12 deep", trunk(layers=12), {}),
        ("buckets-64k", "n-gram tables of 65,536 rows", replace(SMALL, ngram_buckets=65536), {}),
    ]
}


def train_for(
    seconds: float, model: ModelConfig, config: TrainConfig, corpus: Corpus
) -> dict[str, Any]:
    """Trains a variant for so much processor time and validates it."""
    torch.manual_seed(config.seed)
    network = Megabyte(model).train()
    optimizers = build_optimizers(network, config)
    start, step, seen = time.process_time(), 0, 0
    while (done := (time.process_time() - start) / seconds) < 1:
        batch = corpus.batch(
            "train",
            step,
            seed=config.seed,
            rows=config.rows,
            length=config.length,
            fim_rate=config.fim_rate,
            path_rate=config.path_rate,
        )
        ids = torch.from_numpy(batch.astype("int64"))
        loss = network.loss(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        set_rates(optimizers, min(1.0, (step + 1) / WARMUP, (1 - done) / DECAY))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        step, seen = step + 1, seen + int((ids != PAD).sum())
        if step % 50 == 0:
            bits = float(loss.detach()) / math.log(2)
            print(f"  {done:4.0%} {seen / 1e6:.1f} MB {bits:.3f}", flush=True)
    spent = time.process_time() - start
    return {
        "bits_per_byte": validate(network.eval(), corpus, config),
        "megabytes": seen / 1e6,
        "steps": step,
        "kb_per_s": seen / spent / 1e3,
        "parameters": network.num_parameters(),
        "mflop_per_byte": flops_per_byte(model) / 1e6,
    }


@torch.inference_mode()
def validate(network: Megabyte, corpus: Corpus, config: TrainConfig) -> float:
    """Bits per byte over the validation rows."""
    nats, count = 0.0, 0
    for step in range(VALIDATION_ROWS // config.rows):
        batch = corpus.batch(
            "valid", step, seed=config.seed, rows=config.rows, length=config.length
        )
        ids = torch.from_numpy(batch.astype("int64"))
        nats += float(network.losses(ids).sum())
        count += int((ids < 256).sum())
    return nats / count / math.log(2)


def main() -> None:
    """Runs the variants named, or all, and prints the table of all results there are."""
    options = parser(__doc__)
    options.add_argument("variants", nargs="*", metavar="VARIANT", help=", ".join(VARIANTS))
    options.add_argument("--corpus", required=True, help="a corpus folder (codebyte.corpus)")
    options.add_argument("--out", type=Path, required=True, help="folder of the results")
    options.add_argument("--minutes", type=float, default=20.0)
    args = options.parse_args()
    if unknown := set(args.variants) - set(VARIANTS):
        fail(f"no variant {', '.join(sorted(unknown))}; there are: {', '.join(VARIANTS)}")
    minutes = 0.1 if args.quick else args.minutes
    torch.set_num_threads(1)
    keep_freed_memory()
    report = Report("ablations", quick=args.quick)
    try:
        corpus = Corpus(args.corpus)
    except CodebyteError as error:
        fail(str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.variants or VARIANTS:
        file = args.out / f"{name}.json"
        if not file.exists():
            print(f"{name}: {VARIANTS[name][0]}", flush=True)
            result = train_for(60 * minutes, *VARIANTS[name][1:], corpus)
            file.write_text(json.dumps(result | {"minutes": minutes}) + "\n")
    results = {
        name: json.loads((args.out / f"{name}.json").read_text())
        for name in VARIANTS
        if (args.out / f"{name}.json").exists()
    }
    if BASE not in results:
        fail(f"variant {BASE}, which the others are compared with, has not been run")
    base = results[BASE]["bits_per_byte"]
    columns = ("bits_per_byte", "megabytes", "kb_per_s", "parameters", "mflop_per_byte")
    report.table(
        ["variant", "bits/byte", "MB seen", "KB/s", "parameters", "MFLOP/byte", "to preset", ""],
        [
            [name, *(r[key] for key in columns), r["bits_per_byte"] - base, VARIANTS[name][0]]
            for name, r in sorted(results.items(), key=lambda item: item[1]["bits_per_byte"])
        ],
    )
    best = min(r["bits_per_byte"] for r in results.values())
    report.finish(
        {
            "bits per byte of the preset over those of the best variant": Check(
                base / best, 1.0, at_most=True
            )
        },
        unit="ratio",
        spread=(base / best, base / best),
        results=results,
    )


if __name__ == "__main__":
    main()
