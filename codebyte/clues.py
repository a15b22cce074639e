"""What a repository and a model know of the bytes that may come next, and what that changes.

For each place a few candidates are looked at: what followed the same context elsewhere, and the
model's own likeliest bytes. A small network turns what is known of each of them (matches, counts,
the model's opinion) into a change of its log-odds:

    p'(x) = p(x) exp(change(x)) / Z        the change is 0 for a byte that is no candidate

so that Z needs the candidates only.

Axes: n places, m lengths of matches, o lengths of counted contexts, k candidates, f features,
h hidden values.
"""

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from codebyte.contexts import REACH, Bytes
from codebyte.errors import CheckpointError
from codebyte.recall import COUNTED, MATCHED, Floats, Ints, Recall

WEIGHTS_NAME = "mixer.safetensors"
NUM_FEATURES = 3 * len(COUNTED) + 5 * len(MATCHED) + 2
_OWN = 3  # of the model's likeliest bytes that are candidates
_EARLIER = np.tri(len(MATCHED) + _OWN, k=-1, dtype=bool)  # (k, k), the candidates before each
_PRIOR = 0.4  # occurrences that the model's opinion counts as, beside those that were counted
_LEAST, _MOST = -14.0, -1e-4  # bounds of a log p in nats
_MOST_ODDS = -np.log(-_MOST)


@dataclass(frozen=True, slots=True)
class Clues:
    """What is known of the candidates at n places."""

    candidates: Ints  # (n, k), bytes
    usable: NDArray[np.bool_]  # (n, k); False for a second time, or where there is none
    own: Floats  # (n, k), the model's log p in nats
    features: Floats  # (n, k, f)

    def mixed(self, changes: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mixes the changes, (n, k), in.

        Returns:
            (n, k) probabilities of the candidates, 0 where not usable; and (n,) log Z.
        """
        before = np.where(self.usable, np.exp(self.own.astype(np.float64)), 0.0)
        after = before * np.exp(changes)
        total = np.maximum(1.0 - before.sum(axis=1), 1e-9) + after.sum(axis=1)
        return after / total[:, None], np.log(total)


@dataclass(slots=True)
class MixerWeights:
    """A network from features to changes: one hidden layer of rectified values."""

    inner: Floats  # (f, h)
    inner_bias: Floats  # (h,)
    outer: Floats  # (h + 1,), the bias last

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> "MixerWeights":
        """Reads weights; None for the packaged ones.

        Raises:
            CheckpointError: if they are missing, damaged or made for other features.
        """
        packaged = str(files("codebyte") / "weights" / WEIGHTS_NAME)
        file = Path(packaged if path is None else path)
        try:
            found = load_file(file)
            weights = cls(found["inner"], found["inner_bias"], found["outer"])
        except (OSError, KeyError, SafetensorError) as error:
            raise CheckpointError(
                f"{file} holds no mixer weights ({error}); give a file that fit_mixer wrote"
            ) from error
        if weights.inner.shape != (NUM_FEATURES, len(weights.outer) - 1):
            raise CheckpointError(
                f"{file} has mixer weights of shape {weights.inner.shape} where "
                f"{NUM_FEATURES} features are; fit them again"
            )
        return weights

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights to a file, which is whole at every moment."""
        file = Path(path)
        fresh = file.with_name(f".{file.name}.{os.getpid()}.new")
        parts = {"inner": self.inner, "inner_bias": self.inner_bias, "outer": self.outer}
        save_file(parts, fresh)
        fresh.chmod(0o644)
        fresh.replace(file)

    def hidden(self, features: Floats) -> Floats:
        """(n, k, f) -> (n, k, h + 1), a 1 last; its product with `outer` is the change."""
        inner = np.maximum(features @ self.inner + self.inner_bias, 0.0)
        return np.concatenate([inner, np.ones((*inner.shape[:-1], 1), np.float32)], axis=-1)


def find_clues(recall: Recall, own: Floats, context: Bytes) -> Clues:
    """Finds candidates at n places and what is known of them.

    Args:
        recall: what stands in the repository.
        own: (n, 256), the model's log p of every byte, in nats.
        context: (REACH + n - 1,), the bytes before the first place, and on to the last one.
    """
    found = recall.matches(context)
    likely = _likeliest(own)
    candidates = np.concatenate([found.bytes.T, likely], axis=1).astype(np.int64)
    usable = np.concatenate([found.lengths.T > 0, np.ones(likely.shape, bool)], axis=1)
    same = candidates[:, :, None] == candidates[:, None, :]
    usable &= ~(same & _EARLIER & usable[:, None, :]).any(axis=2)
    log_p = own[np.arange(len(own))[:, None], candidates]
    counts = recall.counts(context, candidates)
    features = _features(
        log_p, *counts, found.lengths.T, candidates[:, :, None] == found.bytes.T[:, None]
    )
    return Clues(candidates, usable, log_p, features)


def _likeliest(own: Floats) -> Ints:
    """The likeliest bytes, (n, _OWN), the best first."""
    own, rows = own.copy(), np.arange(len(own))
    likely = np.empty((len(own), _OWN), np.int64)
    for i in range(_OWN):
        likely[:, i] = own.argmax(axis=1)
        own[rows, likely[:, i]] = -np.inf
    return likely


def _features(
    log_p: Floats,
    followed: Floats,
    seen: Floats,
    lengths: Ints,
    matched: NDArray[np.bool_],
) -> Floats:
    """What the network is told, (n, k, f).

    Args:
        log_p: (n, k), the model's.
        followed: (n, k, o), how often a candidate followed.
        seen: (n, 1, o), how often its context stood.
        lengths: (n, m), of the matches.
        matched: (n, k, m), whether a match gives the candidate.
    """
    bounded = np.minimum(np.maximum(log_p, _LEAST), _MOST)
    p = np.exp(bounded)
    odds = (bounded - np.log1p(-p))[..., None]  # (n, k, 1)
    share = (followed + _PRIOR * p[..., None]) / (seen + _PRIOR)
    counted = np.log(share) - np.log1p(-np.minimum(share, 0.9999))
    counted = np.minimum(np.maximum(counted, _LEAST), _MOST_ODDS)
    counted -= np.minimum(odds, _MOST_ODDS)
    known = np.log1p(seen)
    long = (lengths / REACH).astype(np.float32)[:, None]  # (n, 1, m)
    gives = matched & (lengths > 0)[:, None]
    every = np.zeros((*log_p.shape, 1), np.float32)
    return np.concatenate(
        [
            counted,
            counted * known / 3,
            np.where(followed == seen, known, 0.0),
            gives,
            gives * long,
            gives * odds / 4,
            every + (long > 0),
            every + long,
            odds / 4,
            log_p[..., None] / 4,
        ],
        axis=-1,
        dtype=np.float32,
    )
