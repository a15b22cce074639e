"""What two processes do together, started by tests/test_parallel.py through torchrun.

The first time they train by data parallel, with weights shared out, stopped by one of them, on from
a run of one process, and into a run in which the second process is killed; started again, they go
on with that one.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte import optim, parallel, training
from codebyte.config import TrainConfig
from codebyte.corpus import Corpus
from codebyte.device import training_dtype
from codebyte.presets import PRESETS
from codebyte.training import train

CONFIG = TrainConfig(
    steps=6, rows=4, length=96, warmup=2, decay=0.5, validate_every=3, validate_rows=4
)


def train_in_float32(put: Callable[[Any, str, Any], None]) -> None:
    """On a CPU from now on, also where bfloat16 is faster: it has not the four digits compared.

    Args:
        put: as setattr.
    """

    def dtype(device: torch.device) -> torch.dtype:
        return torch.float32 if device.type == "cpu" else training_dtype(device)

    for module in (training, optim):
        put(module, "training_dtype", dtype)


class Stopping(Corpus):
    """Sends the process a signal while the batch of a step is made."""

    number, step = signal.SIGINT, 2

    def batch(self, split: str, step: int, **settings: Any) -> NDArray[np.uint16]:
        if split == "train" and step == self.step:
            os.kill(os.getpid(), self.number)
        return super().batch(split, step, **settings)


class Killing(Stopping):
    """As if the machine had gone."""

    number, step = signal.SIGKILL, 4


def together(folder: Path) -> None:
    """Trains runs in the folder, which has a corpus and the run `one`, stopped after 3 steps."""
    torch.set_num_threads(1)
    train_in_float32(setattr)
    corpus, tiny = Corpus(folder / "corpus"), PRESETS["tiny"]
    second, again = os.environ["RANK"] == "1", int(os.environ["TORCHELASTIC_RESTART_COUNT"]) > 0
    saving = replace(CONFIG, save_every=1e-9, recompute=True, accumulate=2)
    killed = Killing(corpus.path) if second and not again else corpus
    if second and again:
        time.sleep(1)  # so that the first looks for it before it says where it is
    with parallel.joined():  # once for all calls of train
        if not again:
            train(corpus, folder / "both", tiny, CONFIG)
            train(corpus, folder / "shared", tiny, CONFIG, shard=True)
            stopped = Stopping(corpus.path) if second else corpus
            result = train(stopped, folder / "stopped", tiny, CONFIG, shard=True)
            assert (result.step, result.finished) == (3, False)
            train(corpus, folder / "one", tiny, CONFIG, resume=True, shard=True)
        train(killed, folder / "killed", tiny, saving, resume=again, shard=True)


if __name__ == "__main__":
    together(Path(sys.argv[1]))
