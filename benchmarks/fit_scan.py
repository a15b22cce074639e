"""Fits all that a scan learns to a model, and writes it beside the weights.

Files come from the training part of a corpus and from single-line fixes in the histories of the
same repositories (data/fixes_train.json); bugs are put into both. A quarter of the files is read
first, to learn which edits deserve a full score; then all are.
"""

import argparse
import json
import multiprocessing
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from report import cores
from scan_cases import known_files

import codebyte
from codebyte.corpus import Corpus
from codebyte.tasks.fitting import fit, fit_screen
from codebyte.tasks.known import Known, Signals, signals
from codebyte.tasks.suspicion import PACKAGED
from codebyte.tasks.trees import Forest

FILES = 600

_models: dict[str | None, Any] = {}


def read(
    checkpoint: str | None, screen: Forest | None, numbered: tuple[int, Known]
) -> Signals | None:
    """What a worker does with one file."""
    import torch

    torch.set_num_threads(1)
    if checkpoint not in _models:
        _models[checkpoint] = codebyte.load(checkpoint)
    seed, known = numbered
    return signals(_models[checkpoint], known, seed, screen)


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
    known = known_files(Corpus(args.corpus), Path(args.repos), args.files, seed=args.seed)
    numbered = list(enumerate(known))
    context = multiprocessing.get_context("spawn")
    with context.Pool(args.jobs) as pool:
        few = pool.imap(partial(read, args.checkpoint, None), numbered[::4])
        screen = fit_screen(_counted(few, len(numbered[::4])))
        found = pool.imap(partial(read, args.checkpoint, screen), numbered)
        judge = fit(codebyte.load(args.checkpoint), _counted(found, len(numbered)))
    new = args.out.with_name(f".{args.out.name}.{os.getpid()}.new")
    new.write_text(json.dumps(judge.as_dict(), separators=(",", ":")) + "\n", encoding="utf-8")
    new.replace(args.out)
    print(f"fitted on {len(known)} files for model {judge.model_id}: {args.out}")


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
