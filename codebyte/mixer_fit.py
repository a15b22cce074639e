"""Fits the mixer's weights on repositories: the network of clues.py, by gradient descent.

    python -m codebyte.mixer_fit --corpus CORPUS [--checkpoint FOLDER] --out mixer.safetensors

Of some training repositories a stretch of files is scored, with what stands before them in the
repository known, some more of it in every other repository, so that the weights suit small and
large ones.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codebyte.checkpoint import load
from codebyte.clues import NUM_FEATURES, MixerWeights, find_clues
from codebyte.contexts import REACH
from codebyte.corpus import Corpus
from codebyte.megabyte import Megabyte
from codebyte.mixing import CHUNK, log_probabilities
from codebyte.recall import Floats, Recall

HIDDEN = 16
STEPS = 1500
PLACES = 1024  # in a step


@dataclass(frozen=True, slots=True)
class Examples:
    """Places with their clues, and what came."""

    features: Floats  # (n, k, f)
    usable: NDArray[np.bool_]  # (n, k)
    own: Floats  # (n, k), the model's log p of the candidates, in nats
    came: NDArray[np.bool_]  # (n, k)
    actual: Floats  # (n,), the model's log p of the byte that came


def examples(
    model: Megabyte, known: Sequence[bytes], scored: Sequence[bytes], share: float = 1.0
) -> Examples:
    """Reads files one after the other, each with all before it known.

    Args:
        model: whose bytes will be mixed.
        known: files of a repository that are not scored.
        scored: more of its files.
        share: of the places that become examples.
    """
    recall, rng = Recall(), np.random.default_rng(1)
    for i, data in enumerate(known):
        recall.add(f"known {i}", data)
    found: list[tuple[NDArray[np.generic], ...]] = []
    for i, data in enumerate(scored):
        ids = np.frombuffer(data, np.uint8)
        padded = np.concatenate([np.zeros(REACH, np.uint8), ids])
        recall.add(f"scored {i}", b"")
        for start, own in log_probabilities(model, data):
            for first in range(start, start + len(own), CHUNK):
                last = min(first + CHUNK, start + len(own))
                part = own[first - start : last - start]
                clues = find_clues(recall, part, padded[first : last + REACH - 1])
                came = (clues.candidates == ids[first:last, None]) & clues.usable
                actual = part[np.arange(last - first), ids[first:last]]
                kept = rng.random(last - first) < share
                rows = (clues.features, clues.usable, clues.own, came, actual)
                found.append(tuple(row[kept] for row in rows))
                recall.extend(f"scored {i}", data[first:last])
    return Examples(*(np.concatenate(rows) for rows in zip(*found, strict=True)))


def fit_mixer(parts: Sequence[Examples], *, steps: int = STEPS, seed: int = 1) -> MixerWeights:
    """Fits weights to the examples, by Adam with rates that fall to nothing."""
    names = ("features", "usable", "own", "came", "actual")
    features, usable, own, came, actual = (
        torch.from_numpy(np.concatenate([getattr(part, name) for part in parts])) for name in names
    )
    generator = torch.Generator().manual_seed(seed)
    mean, scale = features.mean(dim=(0, 1)), features.std(dim=(0, 1)) + 1e-3
    inner, outer = nn.Linear(NUM_FEATURES, HIDDEN), nn.Linear(HIDDEN, 1)
    nn.init.normal_(inner.weight, std=NUM_FEATURES**-0.5, generator=generator)
    for weight in (inner.bias, outer.weight, outer.bias):
        nn.init.zeros_(weight)
    network = nn.Sequential(inner, nn.ReLU(), outer)
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(steps):
        rows = torch.randint(len(actual), (PLACES,), generator=generator)
        changes = network((features[rows] - mean) / scale)[..., 0]
        loss = mixed_nats(changes, usable[rows], own[rows], came[rows], actual[rows]).mean()
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        folded = inner.weight / scale
        bias = inner.bias - folded @ mean
        last = torch.cat([outer.weight[0], outer.bias])
        return MixerWeights(
            folded.T.contiguous().numpy(), bias.contiguous().numpy(), last.contiguous().numpy()
        )


def mixed_nats(
    changes: Tensor, usable: Tensor, own: Tensor, came: Tensor, actual: Tensor
) -> Tensor:
    """Surprise of what came, (n,); the arguments are as in `Examples`."""
    before = own.exp() * usable
    left = (1 - before.sum(dim=1)).clamp(min=1e-9).log()
    after = (own + changes).masked_fill(~usable, -torch.inf)
    log_total = torch.cat([after, left[:, None]], dim=1).logsumexp(dim=1)
    chosen = after.masked_fill(~came, -torch.inf).amax(dim=1)
    return log_total - torch.where(came.any(dim=1), chosen, actual)


def main() -> None:
    """Runs the command line."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--corpus", required=True, help="a corpus folder (codebyte.corpus)")
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    options.add_argument("--out", required=True, help="the file to write")
    options.add_argument("--bytes", type=int, default=40_000, help="scored of each repository")
    options.add_argument("--repositories", type=int, default=12)
    args = options.parse_args()
    model, shard = load(args.checkpoint), Corpus(args.corpus).shard("train")
    rng = np.random.default_rng(1)
    parts = []
    numbers = rng.permutation(np.unique(shard.repos))[: args.repositories]
    for turn, number in enumerate(numbers):
        documents = np.flatnonzero(shard.repos == number)
        first = int(rng.integers(len(documents) // 2, len(documents)))
        known = documents[max(0, first - 40) : first] if turn % 2 else documents[:first]
        scored, total = [], 0
        for index in documents[first:]:
            if total < args.bytes:
                scored.append(shard.document(int(index)).tobytes()[: args.bytes])
                total += len(scored[-1])
        before = [shard.document(int(index)).tobytes() for index in known]
        parts.append(examples(model, before, scored, share=0.5))
        sys.stderr.write(f"{len(before)} files known, {total} bytes scored\n")
    fit_mixer(parts).save(args.out)


if __name__ == "__main__":
    main()
