"""What the model knows of a byte before any layer: itself, its n-grams, and what followed before.

N-grams are hashed into tables (BLT, arXiv:2412.09871). A match looks up where the last n ids stood
before in the same row and shows which id followed there: copying, which code is full of, needs no
attention.
Both depend on earlier ids only.

Axes: b batch, r rows, t places, n new places, d width.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codebyte.config import ModelConfig

_FACTOR = 0x5851F42D4C957F2D  # odd 64-bit multiplier (Knuth's MMIX generator); products wrap
_MIX = 0x2545F4914F6CDD1D


def ngram_hashes(ids: Tensor, lengths: tuple[int, ...]) -> dict[int, Tensor]:
    """Hashes of the last n ids at each place; places before the start count as nothing.

    Args:
        ids: (b, t) int64; -1 stands for a place before the start.
        lengths: the n wanted.

    Returns:
        For each n a (b, t) int64 tensor, all 64 bits used.
    """
    longest = max(lengths, default=1)
    powers = torch.tensor([_wrap(_FACTOR**i) for i in range(longest)], device=ids.device)
    recent = F.pad(ids + 1, (longest - 1, 0)).unfold(1, longest, 1).flip(-1)  # the newest first
    totals = (recent * powers).cumsum(dim=-1)  # products and sums wrap
    mixed = (totals ^ (totals >> 29)) * _MIX
    mixed ^= mixed >> 32
    return {n: mixed[..., n - 1] for n in lengths}


def _wrap(value: int) -> int:
    """The signed 64-bit value of an integer modulo 2^64."""
    return (value + 2**63) % 2**64 - 2**63


def earlier_places(hashes: Tensor, new: int) -> Tensor:
    """Where the same hash stood last before each of the last `new` places; -1 if nowhere.

    Args:
        hashes: (b, t) int64.

    Returns:
        (b, new) int64.
    """
    t = hashes.shape[1]
    if new * t <= 1 << 17:  # few questions: compare with every place
        index = torch.arange(t, device=hashes.device)
        recent = hashes[:, t - new :]
        same = (hashes[:, None] == recent[:, :, None]) & (index < index[t - new :, None])
        return torch.where(same, index, -1).amax(dim=2)
    ordered, places = hashes.sort(dim=1, stable=True)
    same = ordered[:, 1:] == ordered[:, :-1]
    found = torch.where(same, places[:, :-1], -1)
    return F.pad(found, (1, 0), value=-1).gather(1, places.argsort(dim=1))[:, t - new :]


@dataclass
class History:
    """The ids fed so far and the hashes that matches are looked up by, for each row of a batch."""

    length: Tensor  # (b,)
    ids: Tensor  # (b, s)
    hashes: dict[int, Tensor] = field(default_factory=dict)  # n -> (b, s)

    def snapshot(self) -> "History":
        """Gives a copy at this length that shares the storage."""
        return History(self.length.clone(), self.ids, dict(self.hashes))


class ByteInputs(nn.Module):
    """Embeds ids together with the n-grams they end and the matches they have."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.levels[0].dim
        self.ngrams, self.buckets = config.ngrams, config.ngram_buckets
        self.matches, self.vocab_size = config.matches, config.vocab_size
        self.byte = nn.Embedding(config.vocab_size, dim)
        if config.ngrams:
            self.table = nn.Embedding(len(config.ngrams) * config.ngram_buckets, config.ngram_dim)
            self.from_table = nn.Linear(config.ngram_dim, dim, bias=False)
        if config.matches:  # one more id each: no match
            self.match = nn.Embedding(len(config.matches) * (config.vocab_size + 1), dim)

    def forward(self, ids: Tensor) -> Tensor:
        """(b, t) -> (b, t, d)."""
        hashes = ngram_hashes(ids, tuple({*self.ngrams, *self.matches}))
        found = {n: earlier_places(hashes[n], ids.shape[1]) for n in self.matches}
        return self._embed(ids, hashes, found, ids)

    def init_history(self, batch: int) -> History:
        """Gives the history of an empty sequence."""
        empty = torch.zeros(batch, 0, dtype=torch.int64, device=self.byte.weight.device)
        return History(
            torch.zeros(batch, dtype=torch.int64), empty, {n: empty for n in self.matches}
        )

    def step(self, ids: Tensor, history: History, rows: Tensor) -> Tensor:
        """(r, n) ids that follow the history of these rows -> (r, n, d)."""
        n = ids.shape[1]
        start = history.length[rows]
        reach = max((*self.ngrams, *self.matches), default=1) - 1
        back = start[:, None] + torch.arange(-reach, 0)
        batch, longest = history.length.shape[0], int(start.max()) + n
        history.ids = _grown(history.ids, batch, longest)
        before = history.ids[rows[:, None], back.clamp(min=0)].masked_fill(
            (back < 0).to(ids.device), -1
        )
        hashes = ngram_hashes(torch.cat([before, ids], dim=1), tuple({*self.ngrams, *self.matches}))
        hashes = {m: h[:, reach:] for m, h in hashes.items()}
        places = start[:, None] + torch.arange(n)
        history.ids[rows[:, None], places] = ids
        history.length[rows] = start + n
        found = {}
        for m in self.matches:
            store = history.hashes[m] = _grown(history.hashes[m], batch, longest)
            store[rows[:, None], places] = hashes[m]
            found[m] = torch.cat(
                [
                    earlier_places(store[row : row + 1, : int(first) + n], n)
                    for row, first in zip(rows.tolist(), start, strict=True)
                ]
            )
        return self._embed(ids, hashes, found, history.ids[rows])

    def _embed(
        self, ids: Tensor, hashes: dict[int, Tensor], found: dict[int, Tensor], past: Tensor
    ) -> Tensor:
        x = self.byte(ids)
        if self.ngrams:
            buckets = [
                hashes[n] % self.buckets + i * self.buckets for i, n in enumerate(self.ngrams)
            ]
            x = x + self.from_table(sum(self.table(bucket) for bucket in buckets))
        for i, n in enumerate(self.matches):
            followed = past.gather(1, (found[n] + 1).clamp(max=past.shape[1] - 1))
            followed = torch.where(found[n] >= 0, followed, self.vocab_size)
            x = x + self.match(followed + i * (self.vocab_size + 1))
        return x


def _grown(store: Tensor, batch: int, length: int) -> Tensor:
    if store.shape[1] >= length:
        return store
    new = store.new_zeros(batch, max(256, 2 * length))
    new[:, : store.shape[1]] = store
    return new
