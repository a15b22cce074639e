"""Train a model: python train_code.py REPO_OR_URL... --preset small --out runs/small.

Clones or opens each source, writes a deduplicated corpus into the run's folder, trains, and leaves
a checkpoint in OUT/latest that every codebyte command takes by --checkpoint. Ctrl-C saves; --resume
goes on with the same losses as if it had never stopped. `torchrun --nproc-per-node N train_code.py
...` shares each batch among N processes, with --shard the weights too; with torchrun's own
--max-restarts a run that lost a process goes on from what it saved last.
"""

import argparse
import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codebyte.config import TrainConfig
    from codebyte.corpus import Corpus

# of TrainConfig
SETTINGS = ("steps", "rows", "length", "accumulate", "recompute", "decay", "seed", "compile")
RATES = ("matrix_rate", "table_rate", "other_rate")  # of TrainConfig, times --rate


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="train_code.py", description="Train a codebyte model on the bytes of repositories."
    )
    parser.add_argument(
        "sources", nargs="*", metavar="REPO_OR_URL", help="git repositories, folders, files or URLs"
    )
    parser.add_argument(
        "--corpus", type=Path, metavar="FOLDER", help="a corpus written before, in place of sources"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--preset", default="small", help="shape of a new model (default: small)")
    parser.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="go on from this model instead of a new one ('packaged' for the one that is built in)",
    )
    parser.add_argument(
        "--grow",
        action="store_true",
        help="give the model of --checkpoint the further matches and the context of --preset",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out, with its own settings but for those given",
    )
    parser.add_argument("--steps", type=int, help="optimizer steps in all (default: 1000)")
    parser.add_argument(
        "--minutes", type=float, help="save and stop after so long; --resume goes on"
    )
    parser.add_argument("--rows", type=int, help="rows in a batch (default: 8)")
    parser.add_argument("--length", type=int, help="bytes in a row (default: the model's context)")
    parser.add_argument("--accumulate", type=int, help="compute a batch in so many parts")
    parser.add_argument(
        "--recompute",
        action="store_true",
        default=None,
        help="keep less and compute it again: long rows in less memory, a step takes longer",
    )
    parser.add_argument(
        "--decay", type=float, help="share of the steps at falling rates (default: 0.4)"
    )
    parser.add_argument("--rate", type=float, help="all learning rates times this")
    parser.add_argument("--seed", type=int, help="of weights and batches (default: 1)")
    parser.add_argument(
        "--rev",
        "--revision",
        dest="revision",
        help="branch, tag or commit to read (default: HEAD)",
    )
    parser.add_argument(
        "--valid",
        action="append",
        metavar="NAME",
        help="hold this repository out for validation (default: chosen by a hash)",
    )
    parser.add_argument("--cache", type=Path, help="where clones of URLs are kept")
    parser.add_argument(
        "--shard",
        action="store_true",
        help="under torchrun, leave each process a part of every weight (FSDP2)",
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="torch.compile the step"
    )
    parser.add_argument("--threads", type=int, help="CPU threads of each process (default: all)")
    parser.add_argument("--device", help="cpu, cuda, ... (default: the fastest here)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit code: 0 done, 1 an error, 130 interrupted."""
    args = build_parser().parse_args(arguments)
    from codebyte.errors import CodebyteError

    existed = args.out.exists()
    try:
        return _train(args)
    except CodebyteError as error:
        print(f"train_code.py: {error}", file=sys.stderr)
        if not existed:
            with suppress(OSError):  # there may be something in it
                args.out.rmdir()
        return 1
    except KeyboardInterrupt:
        print("train_code.py: interrupted before training began; nothing was kept", file=sys.stderr)
        return 130


def _train(args: argparse.Namespace) -> int:
    import torch

    from codebyte import parallel
    from codebyte.checkpoint import load
    from codebyte.errors import ConfigError
    from codebyte.growth import grown
    from codebyte.memory import keep_freed_memory
    from codebyte.presets import PRESETS
    from codebyte.training import train

    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    if _restarted() and (args.out / "latest").exists():
        args.resume = True
    if args.preset not in PRESETS:
        raise ConfigError(f"preset {args.preset!r} is not one of: {', '.join(PRESETS)}")
    model = PRESETS[args.preset]
    start = None
    before = _written(args.out / "corpus")
    with parallel.joined() as (rank, _):
        parallel.wait()  # the first writes a corpus when all know which one was there before
        if args.checkpoint is not None and not args.resume:
            start = load(None if args.checkpoint == "packaged" else args.checkpoint, args.device)
            start = grown(start, model) if args.grow else start
            model = start.config
        config = _config(args, model.context)
        result = train(
            _corpus(args, rank, before),
            args.out,
            start or model,
            config,
            resume=args.resume,
            minutes=args.minutes,
            device=args.device,
            shard=args.shard,
        )
    if rank == 0:
        how = (
            "interrupted; --resume goes on"
            if result.interrupted
            else "time is up; --resume goes on"
        )
        how = "done" if result.finished else how
        print(f"{how} after {result.step} steps: {args.out / 'latest'}")
    return 130 if result.interrupted else 0


def _config(args: argparse.Namespace, context: int) -> "TrainConfig":
    """What was given, and for the rest what the run that is resumed has, or the defaults."""
    from dataclasses import replace

    from codebyte.config import TrainConfig
    from codebyte.resume import saved_config

    usual = TrainConfig(length=context)
    given = {name: getattr(args, name) for name in SETTINGS}
    if args.rate is not None:
        given |= {name: getattr(usual, name) * args.rate for name in RATES}
    config = saved_config(args.out / "latest") if args.resume else usual
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def _restarted() -> bool:
    """Whether torchrun started this anew after a process was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _written(folder: Path) -> int | None:
    """When the corpus in a folder was written, in nanoseconds; None if there is none."""
    try:
        return (folder / "corpus.json").stat().st_mtime_ns
    except OSError:
        return None


def _corpus(args: argparse.Namespace, rank: int, before: int | None) -> "Corpus":
    """The run's corpus: that given, that of the run to resume, or one written from the sources.

    The first process writes it and the others wait, however long it takes, for another than that
    which was there before.
    """
    import time

    from codebyte.corpus import Corpus, write_corpus
    from codebyte.errors import ConfigError
    from codebyte.indexer.filters import format_skips
    from codebyte.indexer.repo import documents

    if args.corpus is not None and args.sources:
        raise ConfigError("give either sources or --corpus, not both")
    folder = args.corpus or args.out / "corpus"
    if not args.resume and (args.out / "latest").exists():
        raise ConfigError(f"{args.out} holds a run already; --resume it or name another folder")
    if args.resume or args.corpus is not None:
        return Corpus(folder)
    if rank:
        while _written(folder) in (None, before):
            time.sleep(0.2)
        return Corpus(folder)
    skips: Counter[str] = Counter()
    failures: dict[str, str] = {}
    sources = documents(
        args.sources, revision=args.revision, cache=args.cache, skips=skips, failures=failures
    )
    info = write_corpus(sources, folder, valid=args.valid, skips=skips, failures=failures)
    for source, problem in failures.items():
        print(f"left out: {source}: {problem}", file=sys.stderr)
    print(f"{format_skips(skips)}", file=sys.stderr)
    for split in ("train", "valid"):
        part = info[split]
        print(f"{split}: {part['documents']} files, {part['bytes'] / 1e6:.2f} MB", file=sys.stderr)
    return Corpus(folder)


if __name__ == "__main__":
    sys.exit(main())
