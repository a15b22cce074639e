"""Adapts a model to one's own repository in minutes, on a CPU, without forgetting the rest.

files -> held out, to measure -> before
      -> the others, and replayed text -> steps until time is up -> the best of it -> after

Each batch holds rows of the repository and a few of text that comes with the package. What is
forgotten is measured on more of that text, and bounded: if the bits per byte there grow by more
than allowed, the new weights are moved back toward the old ones until they do not.
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codebyte import checkpoint
from codebyte.config import TrainConfig
from codebyte.corpus import Shard
from codebyte.errors import CheckpointError, ConfigError
from codebyte.indexer.repo import SourceFile
from codebyte.megabyte import Megabyte
from codebyte.memory import keep_freed_memory
from codebyte.optim import build_optimizers, set_rates
from codebyte.packing import fill_row
from codebyte.tasks.adapt_measure import Measures, exact_lines, mean_bits
from codebyte.tasks.replay import Replay, read_replay, shard_of

UNFINISHED = "unfinished"  # folder, in the one of the result, of a run that may be resumed
_LOOKS = 4  # times that the model is measured on the way, the end included
_SAVE_EVERY = 60.0  # seconds
_SHARES = (1.0, 0.75, 0.5, 0.25, 0.1)  # of the change that may be kept
_LOOKED_AT = 32 << 10  # bytes of the held-out files that a look on the way takes

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptConfig:
    """How to adapt."""

    minutes: float = 5.0  # of training; measuring comes on top
    rows: int = 4  # in a batch
    replayed: int = 1  # of these, of other text
    rate: float = 0.1  # learning rates of TrainConfig times this; those of tables not
    table_rate: float = 1.0  # those of tables times this
    warmup: float = 0.03  # share of the time in which the rates rise; then they fall to nothing
    most_forgotten: float = 0.015  # growth of bits per byte elsewhere that is allowed
    lines: int = 40  # carets at which completions are compared
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= 24 * 60:
            raise ConfigError(f"minutes {self.minutes} must be above 0 and at most {24 * 60}")
        if not 0 <= self.replayed < self.rows:
            raise ConfigError(f"replayed {self.replayed} must be from 0 to rows {self.rows} less 1")
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"warmup {self.warmup} must be from 0 to 1")
        if self.rate <= 0 or self.table_rate <= 0 or self.most_forgotten < 0:
            raise ConfigError(
                f"rate {self.rate} and table_rate {self.table_rate} must be above 0, "
                f"most_forgotten {self.most_forgotten} at least 0"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptResult:
    """What came of it."""

    before: Measures
    after: Measures
    steps: int
    num_bytes: int  # read in training, replayed ones included
    seconds: float  # of training
    kept: float  # share of the change that was kept
    finished: bool  # False if it was interrupted


@dataclass(frozen=True, slots=True)
class Moment:
    """Where an adaptation stands."""

    done: float  # share of the time
    bits: float  # per byte of the last batch


def adapt(
    model: Megabyte,
    learnt: Sequence[SourceFile],
    held_out: Sequence[SourceFile],
    out: str | os.PathLike[str],
    config: AdaptConfig,
    *,
    replay: Replay | None = None,
    resume: bool = False,
    cancel: Callable[[], bool] = lambda: False,
    report: Callable[[Moment], None] = lambda moment: None,
    clock: Callable[[], float] = time.monotonic,
) -> AdaptResult:
    """Trains a model further and writes the best of it to `out`, a checkpoint.

    The model itself is changed. Interrupted, the best so far is measured and written all the same,
    and the state is kept for a later call with `resume`.

    Args:
        model: to start from.
        learnt: files to train on.
        held_out: files to measure on.
        out: the folder of the checkpoint.
        config: how; a resumed run takes what is left of its minutes.
        replay: other text; None for the packaged one.
        resume: go on with the interrupted run in `out`.
        cancel: asked after every step; True ends the training.
        report: told after every step.
        clock: seconds; what the minutes are counted by.

    Raises:
        CheckpointError: if there is nothing to resume, or `out` cannot be written.
        ConfigError: if `out` holds an interrupted run and `resume` is False.
    """
    folder = Path(out)
    unfinished = folder / UNFINISHED
    if resumable(folder) and not resume:
        raise ConfigError(f"{folder} holds an interrupted run; resume it or name another folder")
    keep_freed_memory()
    rest, elsewhere = (read_replay() if replay is None else replay).split()
    before = _measure(model, held_out, elsewhere, config.lines)
    start = _weights(model)
    steps, spent = 0, 0.0
    if resume:
        notes = checkpoint.load_training(unfinished)
        steps, spent = int(notes.get("steps", 0)), float(notes.get("seconds", 0.0))
        model.load_state_dict(checkpoint.load(unfinished, model.device).state_dict())
    run = _Run(model, learnt, rest, config)
    looked_at = _looked_at(held_out)
    best, best_bits = start, math.inf
    if resume:
        best, best_bits = _weights(model), mean_bits(model, looked_at)
    total = 60 * config.minutes
    looks = [total * (i + 1) / _LOOKS for i in range(_LOOKS)]
    looks = [moment for moment in looks if moment > spent]
    saved, stopped = spent, False
    while looks and not stopped:
        began = clock()
        bits = run.step(steps, spent / total)
        spent, steps = spent + clock() - began, steps + 1
        report(Moment(min(1.0, spent / total), bits))
        stopped = cancel()
        if spent - saved > _SAVE_EVERY:
            _keep(model, unfinished, steps, spent)
            saved = spent
        if spent >= looks[0] or stopped:
            looks = [moment for moment in looks if moment > spent]
            model.eval()
            if (now := mean_bits(model, looked_at)) < best_bits:
                best, best_bits = _weights(model), now
    if stopped and spent < total:
        _keep(model, unfinished, steps, spent)
    model.load_state_dict(best)
    model.eval()
    kept = _bound(model, start, best, elsewhere, before.elsewhere * (1 + config.most_forgotten))
    after = _measure(model, held_out, elsewhere, config.lines)
    result = AdaptResult(
        before=before,
        after=after,
        steps=steps,
        num_bytes=steps * config.rows * model.config.context,
        seconds=spent,
        kept=kept,
        finished=spent >= total,
    )
    checkpoint.save(model, folder, training={"adapted": asdict(result), "config": asdict(config)})
    if result.finished:
        shutil.rmtree(unfinished, ignore_errors=True)
    return result


def resumable(folder: Path) -> bool:
    """Whether a folder holds an interrupted run; one that was killed in its first save is none."""
    return (folder / UNFINISHED / checkpoint.CONFIG_NAME).exists()


class _Run:
    """The optimizers and the rows."""

    def __init__(
        self, model: Megabyte, learnt: Sequence[SourceFile], rest: Replay, config: AdaptConfig
    ) -> None:
        full = TrainConfig()
        rates = TrainConfig(
            matrix_rate=full.matrix_rate * config.rate,
            table_rate=full.table_rate * config.table_rate,
            other_rate=full.other_rate * config.rate,
        )
        self._model, self._config, self._train = model, config, rates
        self._optimizers = build_optimizers(model, rates)
        self._own = shard_of([file.path for file in learnt], [file.data for file in learnt])
        self._other = shard_of(rest.paths, rest.texts)

    def step(self, step: int, done: float) -> float:
        """One batch; gives its bits per byte."""
        config, model = self._config, self._model
        model.train()
        own = config.rows - config.replayed
        ids = np.empty((config.rows, model.config.context), np.uint16)
        for row in range(own):
            self._fill(ids[row], self._own, step * own + row, 0)
        for row in range(config.replayed):
            self._fill(ids[own + row], self._other, step * config.replayed + row, 1)
        loss = model.loss(torch.from_numpy(ids.astype(np.int64)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), self._train.clip)
        rise = (done + 1e-3) / max(1e-3, config.warmup)
        set_rates(self._optimizers, min(rise, 1.0, max(0.02, 1 - done)))
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        return float(loss.detach()) / math.log(2)

    def _fill(self, row: np.ndarray, shard: Shard, number: int, kind: int) -> None:
        train = self._train
        fill_row(
            row,
            shard,
            number,
            seed=(self._config.seed, kind),
            fim_rate=train.fim_rate,
            path_rate=train.path_rate,
        )


def _measure(
    model: Megabyte, held_out: Sequence[SourceFile], other: Sequence[bytes], lines: int
) -> Measures:
    return Measures(
        bits_per_byte=mean_bits(model, [file.data for file in held_out]),
        exact_lines=exact_lines(model, held_out, lines),
        elsewhere=mean_bits(model, other),
    )


def _looked_at(held_out: Sequence[SourceFile]) -> list[bytes]:
    """Some of the held-out text: the beginning of every file, as much of each."""
    most = _LOOKED_AT // len(held_out)
    return [file.data[: max(most, 512)] for file in held_out]


def _weights(model: Megabyte) -> Weights:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def _bound(
    model: Megabyte, start: Weights, best: Weights, elsewhere: Sequence[bytes], most: float
) -> float:
    """Moves the weights back until no more than `most` bits are needed elsewhere.

    Returns:
        The share of the change that was kept.
    """
    for share in _SHARES:
        if share < 1:
            model.load_state_dict({name: start[name].lerp(best[name], share) for name in best})
        if mean_bits(model, elsewhere) <= most:
            return share
    model.load_state_dict(start)
    return 0.0


def _keep(model: Megabyte, folder: Path, steps: int, seconds: float) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from error
    checkpoint.save(model, folder, training={"steps": steps, "seconds": seconds})
