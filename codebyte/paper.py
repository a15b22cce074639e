"""The paper's wiring: a model over patches, and below it one that sees nothing but its own patch.

Yu et al. 2023 (arXiv:2305.07185), for any number of levels. Two levels with patches of four:

    bytes      a b c d | e f g h | i j
    level 1    *       | abcd    | efgh   place k holds patch k - 1; its output knows all so far
    level 0    * a b c | * e f g | * i    the byte before in the patch, plus a slice of that output
    predicts   a b c d | e f g h | i j    * is a learned start, one for each level

With more levels, the places of level 1 are cut into patches of level 2 just as bytes are into
patches of level 1. The paper's own additions to this (cross-patch attention, convolution) gained
nothing on text there and are left out. Blocks are those of layers.py, so that a comparison with the
other wiring is about wiring alone: rotary positions (within the patch, or over the patches at the
topmost level) in place of learned ones, and an output layer apart from the byte embedding.

Axes: b batch, r rows, t ids, n new ids, k patches, p places in a patch, s bytes in a place, d width
of a level, g width of the level above, v vocabulary.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from codebyte.caches import KVCache
from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import InputError
from codebyte.layers import Stack, norm


@dataclass
class PaperState:
    """What the model must remember to go on, for each row of a batch."""

    length: Tensor  # (b,), ids fed so far
    recent: Tensor  # (b, s), the last ids, as many as are in one place of the topmost level
    given: list[Tensor]  # below the topmost level: (b, p, d), what came from above for the patch
    caches: list[list[KVCache]]  # below the topmost level, of the open patch only
    logits: Tensor  # (b, v), of the next id of each row

    def snapshot(self) -> "PaperState":
        """Gives a copy to go back to; it shares the big cache, that of the topmost level.

        Going back makes snapshots taken later unusable, since that cache is written over.
        """
        caches = [[cache.snapshot() for cache in level] for level in self.caches]
        for level in caches[:-1]:  # written over at every patch, so not to be shared
            for cache in level:
                cache.part()
        return PaperState(
            length=self.length.clone(),
            recent=self.recent.clone(),
            given=[given.clone() for given in self.given],
            caches=caches,
            logits=self.logits.clone(),
        )


def _empty(caches: list[KVCache], rows: Tensor) -> None:
    for cache in caches:
        cache.length[rows] = 0


class PaperLevel(nn.Module):
    """One level: what its places hold, the blocks over them, and what the level above gives."""

    def __init__(
        self, config: LevelConfig, *, place_bytes: int, vocab_size: int, above: int | None
    ) -> None:
        """Makes a level.

        Args:
            config: its settings.
            place_bytes: bytes in one of its places, s.
            vocab_size: how many ids there are.
            above: width of the level above, g; None at the topmost level.
        """
        super().__init__()
        self.patch_size, self.place_bytes = config.patch_size, place_bytes
        width = -(-config.dim // place_bytes)
        self.embed = nn.Embedding(vocab_size, width)
        self.join = _linear_unless_equal(place_bytes * width, config.dim)
        self.start = nn.Parameter(0.1 * torch.randn(config.dim))
        self.stack = Stack(config, config.layers)
        if above is not None:
            width = -(-above // config.patch_size)
            self.split = _linear_unless_equal(above, config.patch_size * width)
            self.given = nn.Linear(width, config.dim, bias=False)

    def places(self, ids: Tensor) -> Tensor:
        """Embeds whole places: (r, n s) ids -> (r, n, d)."""
        bytes_of_place = rearrange(self.embed(ids), "r (n s) w -> r n (s w)", s=self.place_bytes)
        places: Tensor = self.join(bytes_of_place)
        return places

    def shifted(self, ids: Tensor) -> Tensor:
        """The learned start, then the places: (r, n s) ids -> (r, n + 1, d)."""
        places = self.places(ids)
        return torch.cat([self.start.expand(places.shape[0], 1, -1), places], dim=1)

    def slices(self, above: Tensor) -> Tensor:
        """Cuts states of the level above into slices for places: (r, k, g) -> (r, k p, d)."""
        slices = rearrange(self.split(norm(above)), "r k (p w) -> r (k p) w", p=self.patch_size)
        given: Tensor = self.given(slices)
        return given


def _linear_unless_equal(inner: int, outer: int) -> nn.Module:
    return nn.Identity() if inner == outer else nn.Linear(inner, outer, bias=False)


class PaperWiring(nn.Module):
    """The hierarchy from ids to logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ModuleList()
        above = [level.dim for level in config.levels[1:]]
        place_bytes = 1
        for level, width in zip(config.levels, [*above, None], strict=True):
            self.levels.append(
                PaperLevel(
                    level, place_bytes=place_bytes, vocab_size=config.vocab_size, above=width
                )
            )
            place_bytes *= level.patch_size
        self.head = nn.Linear(config.levels[0].dim, config.vocab_size, bias=False)

    def _level(self, i: int) -> PaperLevel:
        level = self.levels[i]
        assert isinstance(level, PaperLevel)
        return level

    def _topmost(self, i: int) -> bool:
        return i + 1 == len(self.levels)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(norm(x))
        cap = self.config.softcap
        return cap * torch.tanh(logits / cap) if cap else logits

    def forward(self, ids: Tensor, *, ahead: bool = True) -> Tensor:
        """Gives the logits of each id and, if `ahead`, of the one that would follow.

        Args:
            ids: (b, t) int64.

        Returns:
            (b, t + 1, v), or (b, t, v) without `ahead`.
        """
        wanted = ids.shape[1] + ahead
        return self._logits(self._states(0, ids, max(wanted, 1))[:, :wanted])

    def patch_states(self, ids: Tensor) -> Tensor:
        """The states of the first level above the bytes, (b, t // p + 1, g), without decoding.

        State k knows the first k patches: the first one nothing, and none an unfinished patch.

        Raises:
            InputError: if there is no level above the bytes.
        """
        if len(self.levels) == 1:
            raise InputError("a model of one level has no patch states: it takes two levels")
        return self._states(1, ids, ids.shape[1] + 1)

    def _states(self, i: int, ids: Tensor, wanted: int) -> Tensor:
        """States of the places of level i that the first `wanted` ids (1 to t + 1) lie in."""
        level = self._level(i)
        s, p = level.place_bytes, level.patch_size
        count = -(-wanted // s)
        if self._topmost(i):
            states: Tensor = level.stack(level.shifted(ids[:, : (count - 1) * s]))
            return states
        given = level.slices(self._states(i + 1, ids, wanted))  # (b, k p, d)
        wide = F.pad(
            ids, (0, given.shape[1] * s - ids.shape[1])
        )  # no place in use sees the padding
        own = level.shifted(rearrange(wide, "b (k p) -> (b k) p", p=p * s)[:, : (p - 1) * s])
        states = level.stack(own + rearrange(given, "b (k p) d -> (b k) p d", p=p))
        return rearrange(states, "(b k) p d -> b (k p) d", b=ids.shape[0])[:, :count]

    def init_state(self, batch: int) -> PaperState:
        """Gives the state in which nothing was fed; its caches hold the learned starts."""
        weight = self.head.weight
        levels = [self._level(i) for i in range(len(self.levels))]
        caches = [level.stack.init_cache(batch) for level in levels]
        state = PaperState(
            length=torch.zeros(batch, dtype=torch.int64),
            recent=torch.zeros(
                batch, levels[-1].place_bytes, dtype=torch.int64, device=weight.device
            ),
            given=[
                weight.new_zeros(batch, level.patch_size, level.start.shape[0])
                for level in levels[:-1]
            ],
            caches=[[cache for cache in own if isinstance(cache, KVCache)] for own in caches],
            logits=torch.zeros(batch, self.config.vocab_size, device=weight.device),
        )
        rows = torch.arange(batch)
        state.logits[rows] = self._logits(self._place(0, state, rows))[:, 0].float()
        return state

    def step(self, ids: Tensor, state: PaperState, rows: Tensor) -> Tensor:
        """(r, n) ids that follow the state of these rows -> logits (r, n, v) of the ids after."""
        n, s = ids.shape[1], state.recent.shape[1]
        phases = state.length[rows] % s
        seen = torch.cat([state.recent[rows], ids], dim=1)
        state.recent[rows] = seen[:, n:]
        state.length[rows] += n
        if n == 1:
            x = self._place(0, state, rows)
        else:
            x = self.head.weight.new_empty(*ids.shape, self.head.in_features)
            for phase in sorted(set(phases.tolist())):
                same = phases == phase
                open_place = seen[same, s - phase :]
                x[same] = self._places(0, open_place, phase, phase + n, state, rows[same])
        logits = self._logits(x)
        state.logits[rows] = logits[:, -1].float()
        return logits

    def _place(self, i: int, state: PaperState, rows: Tensor) -> Tensor:
        """The state of level i's next place, (r, 1, d), of rows whose last place has just ended."""
        level = self._level(i)
        length = state.length[rows] // level.place_bytes
        place = length if self._topmost(i) else length % level.patch_size
        opens = (place == 0).to(level.start.device)
        own = level.places(state.recent[rows, -level.place_bytes :])
        x = torch.where(opens[:, None, None], level.start, own)
        if not self._topmost(i):
            fresh = rows[place == 0]
            if len(fresh):
                state.given[i][fresh] = level.slices(self._place(i + 1, state, fresh))
                _empty(state.caches[i], fresh)
            x = x + state.given[i][rows, place][:, None]
        return level.stack.step(x, state.caches[i], rows)

    def _places(
        self, i: int, ids: Tensor, known: int, end: int, state: PaperState, rows: Tensor
    ) -> Tensor:
        """The states of all new places of level i, (r, k, d), of rows that are equally far.

        Args:
            i: the level.
            ids: (r, m), all ids since the topmost level's open place began.
            known: how many of these the state knows.
            end: how many of these there are now.
            state: changed in place.
            rows: (r,).
        """
        level = self._level(i)
        s, p = level.place_bytes, level.patch_size
        first, last = known // s + 1, end // s  # the new places, both included
        if last < first:
            return level.start.new_empty(rows.shape[0], 0, level.start.shape[0])
        x = level.places(ids[:, (first - 1) * s : last * s])
        caches = state.caches[i]
        if self._topmost(i):
            return level.stack.step(x, caches, rows)
        above = self._places(i + 1, ids, known, end, state, rows)
        given = torch.cat([state.given[i][rows], level.slices(above)], dim=1)
        state.given[i][rows] = given[:, -p:]
        opens = torch.arange(first, last + 1, device=x.device) % p == 0
        offset = (first - 1) % p + 1  # in `given`, which starts with the patch of place first - 1
        x = torch.where(opens[:, None], level.start, x) + given[:, offset : offset + x.shape[1]]

        # the rest of the patch that was open, whole patches at once, and the patch now open
        rest = min(p - offset, x.shape[1])
        whole = (x.shape[1] - rest) // p * p
        parts = []
        if rest:
            parts.append(level.stack.step(x[:, :rest], caches, rows))
        if x.shape[1] > rest:
            _empty(caches, rows)
        if whole:
            patches = rearrange(x[:, rest : rest + whole], "r (k p) d -> (r k) p d", p=p)
            states = level.stack(patches)
            parts.append(rearrange(states, "(r k) p d -> r (k p) d", r=rows.shape[0]))
        if x.shape[1] > rest + whole:
            parts.append(level.stack.step(x[:, rest + whole :], caches, rows))
        return torch.cat(parts, dim=1)
