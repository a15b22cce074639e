"""What the model knows of a byte before any layer: itself, its n-grams, and what followed before.

N-grams are hashed into tables (BLT, arXiv:2412.09871). A match looks up where the last n ids stood
before in the same row and shows which id followed there: copying, which code is full of, needs no
attention. Both depend on earlier ids only.

Axes: b batch, r rows, t places, n new places, m lengths of n-grams or matches, d width.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from codebyte import kernels
from codebyte.config import ModelConfig
from codebyte.followed import Followed
from codebyte.hashing import BEFORE, context_hashes, reach_of
from codebyte.views import Viewed


def earlier_places(hashes: Tensor, new: int, depth: int) -> Tensor:
    """Where the same hash stood before each of the last `new` places, the last time and before.

    Args:
        hashes: (..., t) int64.
        new: how many places are asked about.
        depth: how many times are looked back.

    Returns:
        (..., depth, new) int64, the last time first; -1 if it did not stand so often.
    """
    t = hashes.shape[-1]
    times: list[Tensor] = []
    if new * t <= 1 << 16:  # few questions: compare with every place
        index = torch.arange(1, t + 1, device=hashes.device)
        same = hashes[..., None, :] == hashes[..., t - new :, None]  # (..., new, t)
        before = index[t - new :]
        for _ in range(depth):
            same &= index < before[..., None]
            before = (same * index).amax(dim=-1)
            times.append(before - 1)
        return torch.stack(times, dim=-2)
    ordered, places = hashes.sort(dim=-1, stable=True)
    same = ordered[..., 1:] == ordered[..., :-1]
    found = F.pad(torch.where(same, places[..., :-1], -1), (1, 0), value=-1)
    found = found.gather(-1, places.argsort(dim=-1))
    times.append(found)
    while len(times) < depth:
        once_more = found.gather(-1, times[-1].clamp(min=0))
        times.append(torch.where(times[-1] >= 0, once_more, -1))
    return torch.stack(times, dim=-2)[..., t - new :]


@dataclass
class History(Viewed):
    """The ids fed so far and the hashes that matches are looked up by, for each row of a batch.

    Only the last ids stay where matches reach no further back.
    """

    length: Tensor  # (b,), ids fed, on the CPU
    dropped: Tensor  # (b,), ids that are no longer held, on the CPU
    recent: Tensor  # (b, reach), the last ids
    ids: Tensor  # (b, s)
    hashes: Tensor  # (b, m, s)
    followed: dict[int, Followed] = field(default_factory=dict)  # by row; belongs to the storage

    def snapshot(self) -> "History":
        """Gives a copy at this length that shares the storage."""
        length, dropped = self.length.clone(), self.dropped.clone()
        recent = self.recent.clone()
        return History(length, dropped, recent, self.ids, self.hashes, self.followed)

    def forget(self, rows: Tensor) -> None:
        """Must come before what lies behind the end of these rows is written over."""
        if self.followed:
            for row, end in zip(rows.tolist(), (self.length - self.dropped)[rows], strict=True):
                if row in self.followed:
                    self.followed[row].forget(int(end), self.view("hashes")[row])

    def make_room(self, n: int, rows: Tensor, keep: int | None) -> None:
        """Makes room for n more ids in each of some rows.

        Args:
            n: ids to come.
            rows: (r,).
            keep: ids that must stay; None for all.
        """
        before = self.ids
        held = self.length - self.dropped
        most = int(held[rows].max())
        if keep is not None and most + n > self.ids.shape[1] and most >= 2 * keep:
            more = (held - keep).clamp(min=0)
            index = torch.arange(int((held - more).max())) + more[:, None]
            index = index.clamp(max=self.ids.shape[1] - 1).to(self.ids.device)
            self.dropped = self.dropped + more
            self.ids = self.ids.gather(1, index)
            kept = index[:, None].expand(-1, self.hashes.shape[1], -1)
            self.hashes = self.hashes.gather(2, kept)
            most = int((held - more)[rows].max())
        self.ids, self.hashes = grown(self.ids, most + n), grown(self.hashes, most + n)
        if self.ids is not before:
            self.followed = {}


class ByteInputs(nn.Module):
    """Embeds ids together with the n-grams they end and the matches they have."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.levels[0].dim
        self.ngrams, self.buckets = len(config.ngrams), config.ngram_buckets
        self.matches = len(config.matches) + len(config.match_words)
        self.vocab_size = config.vocab_size
        self.depth = config.match_depth
        self.lengths = (*config.ngrams, *config.matches)
        self.words = config.match_words
        self.reach = reach_of(self.lengths, self.words)
        self.match_reach = config.match_reach or None  # ids
        self.keep = self.match_reach if self.matches else 1  # of a history; None: all of it
        self.byte = nn.Embedding(config.vocab_size, dim)
        if config.ngrams:
            self.table = nn.Embedding(len(config.ngrams) * config.ngram_buckets, config.ngram_dim)
            self.from_table = nn.Linear(config.ngram_dim, dim, bias=False)
        if self.matches:  # one more id each: no match
            count = self.matches * config.match_depth
            self.match = nn.Embedding(count * (config.vocab_size + 1), dim)

    def forward(self, ids: Tensor) -> Tensor:
        """(b, t) -> (b, t, d)."""
        return self.embed(self.rows(ids))

    @torch.no_grad()
    def rows(self, ids: Tensor) -> Tensor:
        """Which rows of the tables stand for each place: no weight is needed to tell.

        Args:
            ids: (b, t).

        Returns:
            (b, t, c) int64: the id, rows of the n-grams' table, rows of the matches' table.
        """
        if not self.ngrams + self.matches:
            return ids[..., None]
        hashes = self.hashes(F.pad(ids, (self.reach, 0), value=BEFORE))
        found = earlier_places(hashes[:, self.ngrams :], ids.shape[1], self.depth)
        followed = self._followed(self._near(found, 0), ids)
        return self.table_rows(ids, hashes[:, : self.ngrams], followed)

    def hashes(self, ids: Tensor) -> Tensor:
        """(b, reach + t) ids -> (b, m, t), those of the n-grams before those of the matches."""
        return context_hashes(ids, self.lengths, self.words)

    def init_history(self, batch: int) -> History:
        """Gives the history of an empty sequence."""
        nothing = torch.zeros(batch, 0, dtype=torch.int64, device=self.byte.weight.device)
        return History(
            length=torch.zeros(batch, dtype=torch.int64),
            dropped=torch.zeros(batch, dtype=torch.int64),
            recent=nothing.new_full((batch, self.reach), BEFORE),
            ids=nothing,
            hashes=nothing.new_zeros(batch, self.matches, 0),
        )

    def step(self, ids: Tensor, history: History, rows: Tensor) -> Tensor:
        """(r, n) ids that follow the history of these rows -> (r, n, d)."""
        n = ids.shape[1]
        history.make_room(n, rows, self.keep)
        history.forget(rows)
        start = history.length[rows] - history.dropped[rows]
        history.length[rows] += n
        places = start[:, None] + torch.arange(n)
        history.ids[rows[:, None], places] = ids
        if not self.ngrams + self.matches:
            return self.embed(ids[..., None])
        joined = torch.cat([history.recent[rows], ids], dim=1)
        history.recent[rows] = joined[:, n:]
        hashes = self.hashes(joined)
        kept = rearrange(hashes[:, self.ngrams :], "r m n -> r n m")
        history.hashes[rows[:, None], :, places] = kept
        found = []
        for row, first in zip(rows.tolist(), start.tolist(), strict=True):
            low = 0 if self.keep is None else max(0, first - self.keep)
            back = earlier_places(history.hashes[row, :, low : first + n], n, self.depth)
            found.append(self._near(torch.where(back >= 0, back + low, -1), first))
        followed = self._followed(torch.stack(found), history.ids[rows])
        return self.embed(self.table_rows(ids, hashes[:, : self.ngrams], followed))

    def _near(self, found: Tensor, first: int) -> Tensor:
        """Leaves out what was found too far back: (..., n), of places from `first` on."""
        if self.match_reach is None:
            return found
        place = torch.arange(first, first + found.shape[-1], device=found.device)
        return torch.where(place - found <= self.match_reach, found, -1)

    def table_rows(self, ids: Tensor, hashes: Tensor, followed: Tensor) -> Tensor:
        """As `rows`, of what is known already.

        Args:
            ids: (b, t).
            hashes: (b, m, t), of the n-grams.
            followed: (b, depth m, t), the id that followed each match; vocab_size: no match.
        """
        rows = [ids[:, None]]
        if self.ngrams:
            rows.append(hashes % self.buckets + self._offsets(self.ngrams, self.buckets))
        if self.matches:
            rows.append(followed + self._offsets(followed.shape[1], self.vocab_size + 1))
        return rearrange(torch.cat(rows, dim=1), "b c t -> b t c").contiguous()

    def _followed(self, found: Tensor, past: Tensor) -> Tensor:
        """(b, m, depth, t) places in (b, s) past -> (b, depth m, t), the ids there."""
        found = rearrange(found, "b m depth t -> b (depth m) t")
        places = rearrange(found + 1, "b m t -> b (m t)").clamp(max=past.shape[1] - 1)
        followed = past.gather(1, places).view(found.shape)
        return torch.where(found >= 0, followed, self.vocab_size)

    def embed(self, rows: Tensor) -> Tensor:
        """(b, t, c) of `rows` -> (b, t, d)."""
        x = self.byte(rows[..., 0])
        if self.ngrams:
            x = x + self.from_table(_sum_of(self.table, rows[..., 1 : 1 + self.ngrams]))
        if self.matches:
            x = x + _sum_of(self.match, rows[..., 1 + self.ngrams :])
        return x

    def _offsets(self, count: int, size: int) -> Tensor:
        """Where each of `count` tables of `size` rows begins, (count, 1)."""
        return torch.arange(0, count * size, size, device=self.byte.weight.device)[:, None]


def _sum_of(table: nn.Embedding, rows: Tensor) -> Tensor:
    """The sums over m of the rows named, (b, t, m) -> (b, t, d)."""
    if kernels.wanted(table.weight):
        return kernels.hashed_rows(table.weight, rearrange(rows, "b t m -> b m t"))
    flat = rearrange(rows, "b t m -> (b t) m")
    return F.embedding_bag(flat, table.weight, mode="sum").view(*rows.shape[:2], -1)


def grown(store: Tensor, length: int) -> Tensor:
    """A store with room for `length` places along its last axis."""
    if store.shape[-1] >= length:
        return store
    return F.pad(store, (0, max(256, 2 * length) - store.shape[-1]))
