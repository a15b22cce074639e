"""Fits all that a scan learns to a model, and writes it beside the weights.

Files come from the training part of a corpus and from single-line fixes in the histories of the
same repositories (data/fixes_train.json); bugs are put into both. The first look, which asks no
model, is fitted by `fit_first_pass.py`, on other repositories, and stays as it is.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

from report import cores
from scan_cases import Repository, known_files

import codebyte
from codebyte.corpus import Corpus
from codebyte.tasks.fitted import weights_id
from codebyte.tasks.fitting import fit_signals
from codebyte.tasks.known import Known, Signals, signals
from codebyte.tasks.suspicion import PACKAGED

FILES = 1000
TOGETHER = 8  # files that a worker takes at once, of the same repositories as far as it goes

_here: dict[str, Any] = {}  # what a worker reads with


def begin(checkpoint: str | None, corpus: str) -> None:
    """Starts a worker."""
    import torch

    torch.set_num_threads(1)
    _here.update(model=codebyte.load(checkpoint), corpus=Corpus(corpus), repository=("", None))


def read(numbered: tuple[int, tuple[Known, bytes | None]]) -> Signals | None:
    """What a worker does with one file; every second one is read with its repository known."""
    seed, (known, clean) = numbered
    if clean is None or seed % 2:
        return signals(_here["model"], known, seed)
    if _here["repository"][0] != known.repo:
        _here["repository"] = known.repo, Repository(_here["corpus"], "train", known.repo)
    with _here["repository"][1].instead(clean, known.source) as usage:
        return signals(_here["model"], known, seed, usage)


def main() -> None:
    """Fits and writes."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--corpus", required=True, help="a corpus folder: its training files")
    options.add_argument("--repos", required=True, help="a folder of bare clones, for the fixes")
    options.add_argument("--checkpoint", help="another model than the packaged one")
    options.add_argument("--files", type=int, default=FILES)
    options.add_argument("--jobs", type=int, default=cores())
    options.add_argument("--out", type=Path, default=PACKAGED, help="the JSON file to write")
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    start = time.monotonic()
    files = known_files(Corpus(args.corpus), Path(args.repos), args.files, seed=args.seed)
    numbered = list(enumerate(sorted(files, key=lambda pair: pair[0].repo)))
    context = multiprocessing.get_context("spawn")
    with context.Pool(args.jobs, begin, (args.checkpoint, args.corpus)) as pool:
        found = _counted(pool.imap(read, numbered, TOGETHER), len(numbered))
    judge = fit_signals(found, weights_id(args.checkpoint))
    new = args.out.with_name(f".{args.out.name}.{os.getpid()}.new")
    new.write_text(json.dumps(judge.as_dict(), separators=(",", ":")) + "\n", encoding="utf-8")
    new.replace(args.out)
    minutes = (time.monotonic() - start) / 60
    print(f"fitted on {len(found)} files for weights {judge.model_id} in {minutes:.1f} min")
    print(args.out)


def _counted(found: Any, total: int) -> list[Signals]:
    kept = []
    for i, one in enumerate(found, 1):
        if one is not None:
            kept.append(one)
        print(f"\rread {i} of {total} files", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return kept


if __name__ == "__main__":
    main()
