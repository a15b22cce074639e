"""Training: the loop, validation in bits per byte, and runs that stop and go on as if they had not.

A run is a folder:

    latest/           checkpoint (loads with codebyte.load) and what it takes to go on (resume.py)
    before-decay/     the same, from the last step at full rate: training can go on from here
    metrics.jsonl     one line a step, and one a validation
    tensorboard/, curve.png
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codebyte import checkpoint, parallel
from codebyte.config import ModelConfig, TrainConfig
from codebyte.corpus import Corpus
from codebyte.device import pick_device, training_dtype
from codebyte.errors import ConfigError
from codebyte.hierarchy import ContextWiring
from codebyte.layers import Attention, set_recompute
from codebyte.megabyte import Megabyte
from codebyte.optim import build_optimizers, decay_start, rate_at, set_rates
from codebyte.progress import Progress
from codebyte.resume import Optimizers, put_back, restore_run, save_run
from codebyte.rotary import TABLE, turns
from codebyte.vocab import PAD

PASSED_ON = 2.0  # seconds in which a second interrupt is the first one, passed on by torchrun


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a call of `train` came to."""

    step: int  # steps done in all
    finished: bool  # False if it was interrupted or its time was up
    interrupted: bool  # by Ctrl-C or SIGTERM
    bits_per_byte: float  # last validation; NaN if there was none


def train(
    corpus: Corpus,
    out: str | os.PathLike[str],
    model: Megabyte | ModelConfig,
    config: TrainConfig,
    *,
    resume: bool = False,
    minutes: float | None = None,
    device: str | None = None,
    shard: bool = False,
) -> TrainResult:
    """Trains a model into the folder `out`; Ctrl-C saves and returns.

    Resumed, it gives the same losses as if it had never stopped: batches are a function of the
    step, and weights and optimizer are restored exactly. Under torchrun every process calls it with
    the same arguments; how many there are changes neither the batches nor, but for rounding, the
    losses, and may change from one call to the next.

    Args:
        corpus: what to train and validate on.
        out: the run's folder.
        model: a model to go on from, or the shape of a new one; not used when resuming.
        config: how; when resuming, the number of steps and the decay may differ from before.
        resume: go on from `out`/latest.
        minutes: save and return after so long, however many steps are done.
        device: None picks one.
        shard: leave each process of several a part of every weight (FSDP2) instead of all of them.

    Raises:
        ConfigError: if `out` holds a run already and `resume` is False.
        CheckpointError: if there is nothing to resume, or it is damaged.
        CorpusError: if there is nothing to train on or nothing to validate on.
    """
    folder = Path(out)
    for split in ("train", "valid"):
        corpus.require(split)
    with parallel.joined() as (rank, world):
        worker = _Worker(pick_device(device), rank, world, shared=shard and world > 1)
        torch.manual_seed(config.seed)
        network = _network(folder, model, config, worker, resume)
        optimizers = build_optimizers(network, config)
        step = restore_run(folder / "latest", network, optimizers) if resume else 0
        return _Run(corpus, network, optimizers, config, worker).until(step, folder, minutes)


@dataclass(frozen=True, slots=True)
class _Worker:
    """Which of the processes that train together this one is."""

    device: torch.device
    rank: int
    world: int  # processes
    shared: bool  # whether each has a part of every weight

    def any(self, here: bool) -> bool:
        """Whether it is so in any process: what all of them then do at the same step."""
        return bool(parallel.add_up(torch.tensor(int(here), device=self.device)))


def _network(
    folder: Path, model: Megabyte | ModelConfig, config: TrainConfig, worker: _Worker, resume: bool
) -> Megabyte:
    """The model to train: that of the run, that given, or a new one."""
    latest = folder / "latest"
    if worker.rank == 0:
        put_back(latest)
    parallel.wait()
    if resume:
        network = checkpoint.load(latest, worker.device)
    elif latest.exists():
        raise ConfigError(f"{folder} holds a run already; resume it or name another folder")
    else:
        network = (Megabyte(model) if isinstance(model, ModelConfig) else model).to(worker.device)
    if config.rows % (worker.world * config.accumulate):
        raise ConfigError(
            f"rows {config.rows} must be a multiple of "
            f"processes {worker.world} times accumulate {config.accumulate}"
        )
    if worker.shared and config.compile:
        raise ConfigError("compile and shard do not go together: leave one of them out")
    network.train()
    set_recompute(network, config.recompute)
    if worker.shared:
        parallel.share_out(network)
    return network


class _Run:
    def __init__(
        self,
        corpus: Corpus,
        model: Megabyte,
        optimizers: Optimizers,
        config: TrainConfig,
        worker: _Worker,
    ) -> None:
        self.corpus, self.model, self.optimizers = corpus, model, optimizers
        self.config, self.worker, self.device = config, worker, worker.device
        self.dtype = training_dtype(self.device)
        self.losses = compiled_losses(model) if config.compile else model.losses

    def until(self, step: int, folder: Path, minutes: float | None) -> TrainResult:
        """Trains from a step on until all are done, the time is up or somebody interrupts."""
        config, worker = self.config, self.worker
        shows = worker.rank == 0

        def save(name: str) -> None:
            if worker.shared or shows:
                place = folder / name
                save_run(place, self.model, self.optimizers, step, config, shared=worker.shared)

        with Progress(folder, config, step, shown=shows) as progress, _interruptible() as stopped:
            saved_at, bits = time.monotonic(), math.nan
            end = math.inf if minutes is None else saved_at + 60 * minutes
            while step < config.steps and not worker.any(stopped() or time.monotonic() > end):
                if step == decay_start(config) and step > 0:
                    save("before-decay")
                progress.step(step, self.step(step), rate_at(step, config))
                step += 1
                if step % config.validate_every == 0 or step == config.steps:
                    bits = self.validate()
                    sample = self.sample() if shows and not worker.shared else ""
                    progress.validation(step, bits, sample)
                if worker.any(shows and time.monotonic() - saved_at > config.save_every):
                    save("latest")
                    saved_at = time.monotonic()
            save("latest")
        finished = step == config.steps
        interrupted = stopped() and not finished
        return TrainResult(
            step=step, finished=finished, interrupted=interrupted, bits_per_byte=bits
        )

    def _rows(self, split: str, step: int, rows: int, **rates: float) -> Tensor:
        batch = self.corpus.batch(
            split,
            step,
            seed=self.config.seed,
            rows=rows // self.worker.world,
            length=self.config.length,
            rank=self.worker.rank,
            world=self.worker.world,
            **rates,
        )
        return torch.from_numpy(batch.astype("int64")).to(self.device)

    def _nats(self, ids: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.losses(ids).sum()

    def step(self, step: int) -> tuple[float, int]:
        """One optimizer step; gives the loss in bits per byte and the bytes it was over."""
        config = self.config
        rates = {"fim_rate": config.fim_rate, "path_rate": config.path_rate}
        ids = self._rows("train", step, config.rows, **rates)
        count = parallel.add_up((ids != PAD).sum())
        nats = torch.zeros((), device=self.device)
        # what dropout leaves out is a function of the step, too, and each process has its own
        drawn = np.random.SeedSequence((config.seed, step, self.worker.rank)).generate_state(1)
        torch.manual_seed(int(drawn[0]))
        for part in ids.chunk(config.accumulate):
            loss = self._nats(part)
            # of gradients that are shared out the mean is taken, and the sum is wanted
            (loss * (self.worker.world if self.worker.shared else 1) / count).backward()
            nats += loss.detach()
        parameters = list(self.model.parameters())
        if not self.worker.shared:
            parallel.add_up_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        set_rates(self.optimizers, rate_at(step, config))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        return float(parallel.add_up(nats) / count / math.log(2)), int(count)

    @torch.no_grad()
    def validate(self) -> float:
        """Bits per byte over the same rows of the validation split each time."""
        nats, count = 0.0, 0
        self.model.eval()
        for part in range(math.ceil(self.config.validate_rows / self.config.rows)):
            ids = self._rows("valid", part, self.config.rows)
            nats += float(parallel.add_up(self._nats(ids)))
            count += int(parallel.add_up((ids < 256).sum()))
        self.model.train()
        return nats / max(count, 1) / math.log(2)

    @torch.no_grad()
    def sample(self, length: int = 120) -> str:
        """What the model writes after "def "."""
        state = self.model.init_state()
        out = list(b"def ")
        self.model.step(torch.tensor([out]), state)
        generator = torch.Generator().manual_seed(self.config.seed)
        for _ in range(length):
            chances = (state.logits[:, :256].cpu() / 0.7).softmax(dim=-1)
            out.append(int(torch.multinomial(chances, 1, generator=generator)))
            self.model.step(torch.tensor([out[-1:]]), state)
        return bytes(out).decode("utf-8", "replace")


def compiled_losses(
    model: Megabyte, backend: str | Callable[..., Any] = "inductor"
) -> Callable[[Tensor], Tensor]:
    """`Megabyte.losses` by torch.compile; the first call takes a minute or two.

    Looking up rows and laying out patches stays outside, for there are as many patches as the text
    has words. What comes after it is one graph for any number of them.
    """
    wiring = model.wiring
    if not isinstance(wiring, ContextWiring):
        return torch.compile(model.losses, dynamic=True, backend=backend)
    for module in model.modules():
        if isinstance(module, Attention):
            turns(module.head_dim // 2, TABLE, model.device)
    compiled = torch.compile(wiring.losses_laid_out, fullgraph=True, backend=backend)

    def losses(ids: Tensor) -> Tensor:
        rows, layouts = wiring.laid_out(ids, False)
        for layout in layouts:
            torch._dynamo.maybe_mark_dynamic(layout.ends, 1)
        return compiled(rows, layouts, ids) * model.counted(ids)

    return losses


@contextmanager
def _interruptible() -> Iterator[Any]:
    """Turns a first Ctrl-C (or SIGTERM) into an answer of the function given; a second one acts.

    A second one within PASSED_ON seconds does not count.
    """
    asked: float | None = None

    def ask(signum: int, frame: object) -> None:
        nonlocal asked
        asked = time.monotonic() if asked is None else asked
        if time.monotonic() - asked > PASSED_ON:
            raise KeyboardInterrupt

    try:
        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller's business
        before = {}
    try:
        yield lambda: asked is not None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def with_steps(config: TrainConfig, num_bytes: int) -> TrainConfig:
    """The same settings with as many steps as it takes to see `num_bytes`."""
    return replace(config, steps=max(1, num_bytes // (config.rows * config.length)))
