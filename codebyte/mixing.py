"""A model's bytes sharpened by what stands in a repository: logistic mixing, learned as it goes.

texts of the repository (recall.py), the model's bytes -> candidates (clues.py) -> mixed bytes

The weights come with the package, fitted by mixer_fit.py; their last layer goes on learning from
every byte that is scored.

Axes: n places, k candidates, h hidden values, v vocabulary.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte.clues import MixerWeights, find_clues
from codebyte.contexts import REACH, Bytes
from codebyte.megabyte import Megabyte
from codebyte.recall import Floats, Recall
from codebyte.vocab import NUM_BYTES

CHUNK = 512  # bytes scored with the same weights and texts, and then learned
RATE = 0.1  # of learning
_BLOCK, _MOST_BLOCKS = 2048, 32  # bytes of what is open around a caret that count as one file
OPEN = "\0now"  # stands before the names of what is open, which the recall gets from here


class Mixer:
    """Mixes a model's predictions with those of a repository's texts.

    `recall` holds the texts: add a file when it is opened or saved, remove it when it goes. Not for
    several threads at a time.
    """

    def __init__(self, recall: Recall | None = None, weights: MixerWeights | None = None) -> None:
        self.recall = Recall() if recall is None else recall
        self.weights = MixerWeights.load() if weights is None else weights
        self._around: str | None = None

    def score(
        self, own: Floats, data: Bytes, before: Bytes, *, learn: bool = True
    ) -> NDArray[np.float32]:
        """Surprise of bytes in bits, (n,).

        Args:
            own: (n, 256), the model's log p of every byte at every place, in nats.
            data: (n,), the bytes that came.
            before: (REACH,), the bytes before them.
            learn: whether to move the weights.
        """
        clues = find_clues(self.recall, own, np.concatenate([before, data[:-1]]))
        hidden = self.weights.hidden(clues.features)
        chances, log_total = clues.mixed(hidden @ self.weights.outer)
        came = (clues.candidates == data[:, None]) & clues.usable
        chance = np.where(came, chances, 0.0).sum(axis=1)
        other = own[np.arange(len(data)), data] - log_total
        nats = np.where(came.any(axis=1), np.log(np.maximum(chance, 1e-300)), other)
        if learn:
            error = np.where(clues.usable, chances - came, 0.0).astype(np.float32)
            slope = np.einsum("nk,nkh->h", error, hidden) / len(data)
            self.weights.outer = self.weights.outer - np.float32(RATE) * slope
        return (-nats / math.log(2)).astype(np.float32)

    def logits(self, logits: Floats, recent: bytes) -> Floats:
        """The logits of the next ids, (n, v), with the changes of the candidates added.

        Args:
            logits: (n, v), the model's at n places in a row; many cost little more than two.
            recent: the bytes before the last place, of which REACH + n - 1 count.
        """
        own = logits - logits.max(axis=1, keepdims=True)
        own -= np.log(np.exp(own).sum(axis=1, keepdims=True))
        clues = find_clues(self.recall, own[:, :NUM_BYTES], _last(recent, REACH + len(own) - 1))
        changes = self.weights.hidden(clues.features) @ self.weights.outer
        rows, which = clues.usable.nonzero()
        own[rows, clues.candidates[rows, which]] += changes[rows, which]
        return own

    def propose(self, context: bytes, most: int) -> bytes:
        r"""What followed the longest match of the context's end; b"" if there is none.

        A draft for exact speculative decoding.

        Args:
            context: the bytes before the place.
            most: of bytes to give.
        """
        found = self.recall.matches(_last(context, REACH))
        place = int(found.places[int(found.lengths[:, 0].argmax()), 0])
        return self.recall.read(place, most) if place else b""

    def stand_in(self, path: str | None, prefix: bytes, suffix: bytes) -> None:
        """Tells what is open around a caret, which then counts, in place of the file's saved text.

        Of both texts, blocks of 2 KB are taken, and only the changed ones anew: typing costs
        nothing. What is nearest before the caret is left to the model.

        Args:
            path: the file's name in the recall.
            prefix: before the caret; of the last 64 KB the whole blocks count.
            suffix: after it; of the first 64 KB all counts.
        """
        if path != self._around:
            if self._around is not None:
                self.recall.show(self._around)
            self._around = path
        if path is not None:
            self.recall.hide(path)
        end = len(prefix) // _BLOCK
        wanted = {
            f"{OPEN} before {i}": prefix[i * _BLOCK : (i + 1) * _BLOCK]
            for i in range(max(0, end - _MOST_BLOCKS), end)
        }
        after = suffix[: _BLOCK * _MOST_BLOCKS]
        for i in range(0, len(after), _BLOCK):
            wanted[f"{OPEN} after {i}"] = after[i : i + _BLOCK]
        for name in self.recall.names:
            if name.startswith(OPEN) and name not in wanted:
                self.recall.remove(name)
        for name, text in wanted.items():
            if name not in self.recall or self.recall.text(name) != text:
                self.recall.add(name, text)


def mixed_surprisal(
    model: Megabyte, data: bytes, mixer: Mixer, *, name: str | None = None, learn: bool = True
) -> NDArray[np.float32]:
    """Gives -log2 p of each byte under model and mixer together, (len(data),).

    As `codebyte.surprisal`; what came earlier in the data counts as part of the repository.

    Args:
        model: any Megabyte.
        data: any bytes.
        mixer: its texts are the same afterwards.
        name: of the data's own file in the mixer's texts, which is left out meanwhile.
        learn: whether the mixer's weights may move.
    """
    recall, bits = mixer.recall, np.empty(len(data), np.float32)
    ids = np.frombuffer(data, np.uint8)
    padded = np.concatenate([np.zeros(REACH, np.uint8), ids])
    with recall.hidden(name):
        recall.add(OPEN, b"")
        try:
            for start, own in log_probabilities(model, data):
                for first in range(start, start + len(own), CHUNK):
                    last = min(first + CHUNK, start + len(own))
                    part = own[first - start : last - start]
                    before = padded[first : first + REACH]
                    bits[first:last] = mixer.score(part, ids[first:last], before, learn=learn)
                    recall.extend(OPEN, data[first:last])
        finally:
            recall.remove(OPEN)
    return bits


@torch.inference_mode()
def log_probabilities(model: Megabyte, data: bytes) -> Iterator[tuple[int, Floats]]:
    """Yields a place and (n, 256) log p in nats of every byte from there on, over all of the data.

    Longer data than the context goes by windows, each of which reads half of it again, as in
    `codebyte.surprisal`.
    """
    size = model.config.context
    ids = torch.from_numpy(np.frombuffer(data, np.uint8).copy())
    scored = 0
    while scored < len(ids):
        start = 0 if scored == 0 else scored - size // 2
        window = ids[None, start : start + size]
        logits = model.wiring(window.to(model.device, torch.int64), ahead=False)
        own = logits.float().log_softmax(dim=-1)[0, scored - start :, :NUM_BYTES]
        yield scored, own.cpu().numpy()
        scored = start + window.shape[1]


def _last(recent: bytes, count: int) -> Bytes:
    """The last so many bytes, with NUL bytes before them where there are fewer."""
    return np.frombuffer(recent[-count:].rjust(count, b"\0"), np.uint8)
