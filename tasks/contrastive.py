"""Training of the search head: a query must lie nearer to its code than to all others of a batch.

Every step draws its batch by its own number, so a run that was stopped goes on as if it had not
been, and two runs with the same pieces and settings give the same head.
"""

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from codebyte.errors import CheckpointError
from codebyte.tasks.bag import stem
from codebyte.tasks.heads import Featured, SearchHead
from codebyte.tasks.pair_batches import PairBatch, PairSampler
from codebyte.tasks.pairs import Pieces

_MIN_COUNT = 8  # of a word that gets a row of its own
_ASKED = 3  # times as much as in code a word counts in documentation
_WHOLE = 0.55  # share of the vocabulary that is whole words; the rest are stems
_OTHER_RATE = 0.3  # of what is not the table, beside its rate
_SAVED_EVERY = 200  # steps


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Settings of a run; the defaults are those of the packaged head."""

    dim: int = 256
    vocabulary: int = 20_000  # words and stems with rows of their own, at most
    buckets: int = 6144  # rows that n-grams share
    steps: int = 2000
    batch: int = 1024
    repositories: int = 2  # of a batch
    temperature: float = 0.07
    rate: float = 1.2e-2
    warmup: int = 50  # steps
    steady: float = 0.3  # share of the steps before the rate falls, to 2 % of it
    seed: int = 0


def new_head(
    repositories: Sequence[Pieces], words: Sequence[bytes], config: FitConfig
) -> SearchHead:
    """An untrained head whose vocabulary and first weights come from the pieces.

    Args:
        repositories: pieces as numbers of words.
        words: by their numbers.
        config: of the run.
    """
    holding, asked = np.zeros(len(words)), np.zeros(len(words))
    for pieces in repositories:
        texts = np.repeat(np.arange(len(pieces)), pieces.body.lengths)
        once = np.unique(texts << 32 | pieces.body.values) & 0xFFFFFFFF
        holding += np.bincount(once, minlength=len(words))
        asked += np.bincount(pieces.first.values, minlength=len(words))
    counts: dict[bytes, float] = {}
    total: dict[bytes, float] = {}
    stems = [b"~" + stem(word) for word in words]
    for word, root, count, seen in zip(
        words, stems, holding + _ASKED * asked, holding, strict=True
    ):
        for name in (word, root):
            counts[name] = counts.get(name, 0) + count
            total[name] = total.get(name, 0) + seen
    most = sorted((name for name in counts if counts[name] >= _MIN_COUNT), key=lambda n: -counts[n])
    roots = set(stems)
    whole = [name for name in most if name not in roots][: int(_WHOLE * config.vocabulary)]
    rooted = [name for name in most if name in roots][: config.vocabulary - len(whole)]
    torch.manual_seed(config.seed)
    head = SearchHead([*whole, *rooted], config.buckets, config.dim)
    pieces_in_all = sum(map(len, repositories))
    seen_in = torch.tensor([total[name] for name in head.vocabulary] or [0.0])
    rare = torch.log(1 + pieces_in_all / (1 + seen_in)).clamp(min=0.05)
    with torch.no_grad():
        head.word_weights[:-1] = rare.log()[:, None]
        head.word_weights[-1] = rare.max().log()
    return head


def fit(
    head: SearchHead,
    repositories: Sequence[Pieces],
    words: Sequence[bytes],
    config: FitConfig,
    *,
    state: Path | None = None,
    minutes: float | None = None,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> int:
    """Trains a head in place; gives the number of steps done, config.steps when it is finished.

    Args:
        head: from `new_head` with the same pieces, words and config.
        repositories: pieces as numbers of words.
        words: by their numbers.
        config: of the run.
        state: a file to go on from, where it is there, and to write every few hundred steps.
        minutes: after which to stop for now.
        report: called with the steps done and the mean loss of the last ones.

    Raises:
        CheckpointError: the state belongs to another run.
    """
    known = head.featured(words)
    sampler = PairSampler(repositories)
    others = [weight for name, weight in head.named_parameters() if name != "rows"]
    groups = [{"params": [head.rows], "share": 1.0}, {"params": others, "share": _OTHER_RATE}]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98), fused=True)
    step = _restore(head, optimizer, config, state) if state and state.exists() else 0
    began, losses = time.monotonic(), []
    while step < config.steps:
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * _rate(step, config)
        rng = np.random.default_rng((config.seed, step))
        loss = pair_loss(head, known, sampler.draw(rng, config.batch, config.repositories), config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        step += 1
        late = minutes is not None and time.monotonic() - began > 60 * minutes
        if step % _SAVED_EVERY == 0 or step == config.steps or late:
            report(step, float(np.mean(losses)))
            losses.clear()
            if state is not None:
                _keep(head, optimizer, config, step, state)
        if late:
            break
    return step


def pair_loss(head: SearchHead, known: Featured, batch: PairBatch, config: FitConfig) -> Tensor:
    """Mean surprise at which code belongs to which query, and the other way round, in nats.

    Args:
        head: that is trained.
        known: features of all words.
        batch: drawn from the same words.
        config: of the run.
    """
    met = known.take(torch.from_numpy(batch.words))
    vectors, weights = head.word_vectors(met), head.word_weights[met.weighed]
    queries = head({"query": batch.query}, vectors, weights)
    code = head(batch.code, vectors, weights)
    logits = (queries @ code.T / config.temperature).masked_fill(batch.alike, -1e4)
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _rate(step: int, config: FitConfig) -> float:
    done = step / config.steps
    falling = 1.0 if done < config.steady else max(0.02, (1 - done) / (1 - config.steady))
    return config.rate * min(1.0, (step + 1) / config.warmup) * falling


def _run(head: SearchHead, config: FitConfig) -> str:
    words = b"\n".join(head.vocabulary)  # which repositories a run has decides them
    return f"{config} {len(head.vocabulary)} words {zlib.crc32(words):08x}"


def _keep(
    head: SearchHead, optimizer: torch.optim.Adam, config: FitConfig, step: int, path: Path
) -> None:
    tensors = {name: weight.detach() for name, weight in head.named_parameters()}
    for name, weight in head.named_parameters():
        for moment, value in optimizer.state[weight].items():
            tensors[f"{moment}.{name}"] = value
    passing = path.with_name(path.name + ".part")
    save_file(tensors, passing, metadata={"run": _run(head, config), "step": str(step)})
    passing.replace(path)


def _restore(head: SearchHead, optimizer: torch.optim.Adam, config: FitConfig, path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        said = file.metadata() or {}
        if said.get("run") != _run(head, config):
            raise CheckpointError(
                f"{path} is of another run ({said.get('run')}): remove it or choose another folder"
            )
        for name, weight in head.named_parameters():
            with torch.no_grad():
                weight.copy_(file.get_tensor(name))
            optimizer.state[weight] = {
                moment: file.get_tensor(f"{moment}.{name}")
                for moment in ("step", "exp_avg", "exp_avg_sq")
            }
    return int(said["step"])
