r"""How likely a text would be had something else stood at a place: many edits of a row at once.

A row is read once and what its layers saw is kept. An edit is then scored by running only the
bytes from its first difference to the end of a window; the places before come from what was kept:

    row      d e f   a r e a ( w ,   h ) :   r e t u r n   w   *   w \n   .   .   .
    edit                                                         [h \n   .   .] window
             '------------------ read from the row -------------'

Scores are exactly those of reading the edited row up to the end of the window from the start.

Axes: b edits, n new places of an edit, k patches, s patches of the row, d width, h heads, c width
of a head.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn

from codebyte.hashing import BEFORE
from codebyte.hierarchy import ContextWiring
from codebyte.layers import Attention, Block, CausalConv, norm
from codebyte.megabyte import Megabyte
from codebyte.patching import borders, patches, previous, word_ends
from codebyte.tasks.matches import Matches
from codebyte.vocab import EOT

BATCH_PLACES = 4096  # new places computed together

Bits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Change:
    """What to put in the place of ids [start, end) of a row, and how far to score behind it."""

    start: int
    end: int
    replacement: bytes
    stop: int  # the window ends before this id of the row


class Row:
    """A row that was read, for questions about edits of it."""

    def __init__(self, model: Megabyte, ids: Sequence[int]) -> None:
        self.ids = np.asarray(ids, np.int64)
        self._model = model
        with torch.inference_mode():
            self._kept = _Kept(model.wiring, self.ids) if _is_plain(model) else None
            if self._kept is not None:
                log_p = self._kept.log_p
            else:
                logits = model(torch.from_numpy(self.ids)[None])[0]
                log_p = logits.float().log_softmax(-1).cpu().numpy()
        log_p /= math.log(2)
        self.log2_p: Bits = log_p  # (n + 1, v), of every id at every place
        self.bits: Bits = -log_p[np.arange(len(self.ids)), self.ids]  # (n,)
        # (k,), places of the ids that patches end with, and (k, `states_width`); none of a model
        # whose width is 0
        self.patch_ends = np.zeros(0, np.int64)
        self.patch_states = np.zeros((0, 0), np.float32)
        if self._kept is not None:
            self.patch_ends, self.patch_states = self._kept.ends, self._kept.states

    @torch.inference_mode()
    def bits_of(self, changes: Sequence[Change]) -> list[Bits]:
        """Surprise of each byte from the start of each change to the end of its window."""
        results: list[Bits] = [np.zeros(0, np.float32)] * len(changes)
        asked: list[tuple[int, int, int, NDArray[np.int64]]] = []
        for i, change in enumerate(changes):
            new = np.concatenate(
                [
                    np.frombuffer(change.replacement, np.uint8).astype(np.int64),
                    self.ids[change.end : change.stop],
                ]
            )
            old = self.ids[change.start : change.start + len(new)]
            differs = np.flatnonzero(new[: len(old)] != old)
            same = int(differs[0]) if len(differs) else len(old)
            results[i] = self.bits[change.start : change.start + same].copy()
            if same < len(new):
                asked.append((len(new) - same, i, change.start + same, new[same:]))
        asked.sort(key=lambda question: (question[0], question[2]))
        while asked:
            count = max(1, BATCH_PLACES // asked[-1][0])
            group, asked = asked[-count:], asked[:-count]
            starts = [start for _, _, start, _ in group]
            news = [new for _, _, _, new in group]
            found = self._after(starts, news)
            for (_, i, _, _), bits in zip(group, found, strict=True):
                results[i] = np.concatenate([results[i], bits])
        return results

    def _after(self, starts: list[int], news: list[NDArray[np.int64]]) -> list[Bits]:
        if self._kept is not None:
            return self._kept.after(starts, news)
        found = []
        for start, new in zip(starts, news, strict=True):
            ids = torch.from_numpy(np.concatenate([self.ids[:start], new]))[None]
            losses = self._model.losses(ids)[0, start:]
            found.append((losses / math.log(2)).cpu().numpy())
        return found


def states_width(model: Megabyte) -> int:
    """Numbers in a patch's state: what the trunk has halfway up, and at its end."""
    return 2 * model.config.levels[1].dim if _is_plain(model) else 0


def _is_plain(model: Megabyte) -> bool:
    """Whether the model has the one shape that the quick way knows: bytes below, one trunk."""
    wiring = model.wiring
    if not isinstance(wiring, ContextWiring) or wiring.levels.above is None:
        return False
    low, trunk = wiring.levels, wiring.levels.above
    blocks = [*low.encoder.blocks, *low.decoder.blocks]
    return (
        trunk.above is None
        and not trunk.encoder.blocks
        and all(isinstance(block.mix, CausalConv) for block in blocks)
        and all(isinstance(block.mix, Attention) for block in trunk.decoder.blocks)
        and wiring.config.levels[1].pattern == "full"
        and wiring.head.weight.device.type == "cpu"
    )


class _Kept:
    """What the layers saw of a row. Places count the implied start of the row, so id i is i + 1."""

    def __init__(self, wiring: nn.Module, ids: NDArray[np.int64]) -> None:
        assert isinstance(wiring, ContextWiring)
        self._wiring, self._low = wiring, wiring.levels
        assert self._low.above is not None
        self._trunk = self._low.above
        self._word = wiring.config.patching == "word"
        self._seq = torch.cat([torch.tensor([EOT]), torch.from_numpy(ids)])
        seq = self._seq[None]
        self._matches = Matches(wiring.inputs, self._seq)
        self._tails: list[Tensor] = []  # (n, d), what the convolution of each byte block was given
        x = wiring.inputs(seq)
        x = self._blocks(self._low.encoder.blocks, x)
        natural = word_ends(seq, previous(seq, EOT)) if self._word else torch.zeros_like(seq) > 0
        border, self._distance = borders(natural, self._low.patch_size, torch.tensor([-1]))
        layout = patches(border, self._distance, self._low.patch_size)
        self._sums = F.pad(x[0].double().cumsum(0), (0, 0, 1, 0))  # before each place
        self._count = border[0].cumsum(0)
        ends = layout.ends[0]
        begins = F.pad(ends[:-1] + 1, (1, 0))
        pooled = (self._sums[ends + 1] - self._sums[begins]).float()
        self._begin = torch.zeros(len(self._seq), dtype=torch.int64)  # of the patch still open
        opened = torch.where(border[0], torch.arange(len(self._seq)) + 1, 0)
        self._begin = opened.cummax(0).values
        states = self._low._patch(x[0, ends][None], pooled[None])
        self._keys: list[Tensor] = []  # (h, s, c)
        self._values: list[Tensor] = []
        places = torch.arange(states.shape[1])
        halfway = states
        for number, block in enumerate(self._trunk.decoder.blocks, 1):
            states = self._attend(block, states, places)
            if number == (len(self._trunk.decoder.blocks) + 1) // 2:
                halfway = states
        self.ends = ends.numpy() - 1
        self.states: Bits = torch.cat([halfway[0], states[0]], dim=1).numpy()
        self._given = self._low.from_patch(norm(states[0]))  # (s, d)
        x = x + self._given[layout.latest] + self._low.place(layout.place)
        x = self._blocks(self._low.decoder.blocks, x)
        self.log_p: Bits = wiring._logits(x[0]).log_softmax(-1).numpy()

    def _blocks(self, blocks: Iterable[Any], x: Tensor) -> Tensor:
        for block in blocks:
            normed = norm(x)
            self._tails.append(normed[0])
            x = x + block.mix(normed)
            x = x + block.feed_forward(norm(x))
        return x

    def _attend(self, block: Any, x: Tensor, places: Tensor) -> Tensor:
        mix = block.mix
        q, k, v = mix._qkv(norm(x), places, len(places))
        self._keys.append(k[0])
        self._values.append(v[0])
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + mix.to_out(rearrange(out, "b h n c -> b n (h c)"))
        return x + block.feed_forward(norm(x))

    def after(self, starts: list[int], news: list[NDArray[np.int64]]) -> list[Bits]:
        """Surprise of the ids `news[i]`, had they followed the row's first `starts[i]` ids."""
        lengths = [len(new) for new in news]
        first = self.log_p[starts, [new[0] for new in news]]  # already in bits
        results = [
            np.full(length, -p, np.float32) for length, p in zip(lengths, first, strict=True)
        ]
        if max(lengths) > 1:
            ids = torch.zeros(len(news), max(lengths) - 1, dtype=torch.int64)
            wanted = torch.zeros_like(ids)
            for i, new in enumerate(news):
                ids[i, : len(new) - 1] = torch.from_numpy(new[:-1])
                wanted[i, : len(new) - 1] = torch.from_numpy(new[1:])
            logits = self._logits(torch.tensor(starts), ids)
            losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
            rows = (losses.view(ids.shape) / math.log(2)).numpy()
            for result, row in zip(results, rows, strict=True):
                result[1:] = row[: len(result) - 1]
        return results

    def _logits(self, last: Tensor, ids: Tensor) -> Tensor:
        """Logits after each of (b, n) ids, that follow the places up to `last` (b,) of the row."""
        low = self._low
        before = self._seq[last]
        x = self._embed(last, ids)
        blocks = [*low.encoder.blocks, *low.decoder.blocks]
        split = len(low.encoder.blocks)
        for i in range(split):
            x = self._block(i, blocks[i], x, last)
        natural = word_ends(ids, previous(ids, before)) if self._word else torch.zeros_like(ids) > 0
        border, distance = borders(natural, low.patch_size, self._distance[0, last])
        count = border.cumsum(1)
        given = self._given[self._count[last] - 1][:, None]
        if k := int(count[:, -1].max()):
            given = torch.cat([given, self._patches(x, border, count, k, last)], dim=1)
        given = given.gather(1, count[..., None].expand(-1, -1, given.shape[2]))
        x = x + given + low.place(distance % low.patch_size)
        for i in range(split, len(blocks)):
            x = self._block(i, blocks[i], x, last)
        return self._wiring._logits(x)

    def _embed(self, last: Tensor, ids: Tensor) -> Tensor:
        inputs = self._wiring.inputs
        if not inputs.ngrams + inputs.matches:
            return inputs.embed(ids[..., None])
        back = torch.arange(-inputs.reach + 1, 1)
        places = last[:, None] + back
        recent = torch.where(places >= 0, self._seq[places.clamp(min=0)], BEFORE)
        hashes = inputs.hashes(torch.cat([recent, ids], dim=1))
        followed = self._matches.followed(last, ids, hashes[:, inputs.ngrams :])
        return inputs.embed(inputs.table_rows(ids, hashes[:, : inputs.ngrams], followed))

    def _block(self, index: int, block: Any, x: Tensor, last: Tensor) -> Tensor:
        conv: CausalConv = block.mix
        places = last[:, None] + torch.arange(-conv.reach + 1, 1)
        tail = self._tails[index][places.clamp(min=0)] * (places >= 0)[..., None]
        x = x + conv._convolve(torch.cat([tail, norm(x)], dim=1), x.shape[1])
        return x + block.feed_forward(norm(x))

    def _patches(self, x: Tensor, border: Tensor, count: Tensor, k: int, last: Tensor) -> Tensor:
        """What the trunk gives after each of the k patches that end in the new places."""
        b, n, d = x.shape
        row = torch.arange(b)[:, None]
        own = (count - border.long() + row * (k + 1)).flatten()
        pooled = x.new_zeros(b * (k + 1), d).index_add(0, own, x.reshape(b * n, d))
        pooled = pooled.view(b, k + 1, d)[:, :k].clone()
        pooled[:, 0] += (self._sums[last + 1] - self._sums[self._begin[last]]).float()
        places = torch.where(border, torch.arange(n), n)
        ends = places.sort(dim=1).values[:, :k].clamp(max=n - 1)
        states = self._low._patch(x.gather(1, ends[..., None].expand(-1, -1, d)), pooled)
        seen = self._count[last]  # (b,), patches of the row that came before
        positions = seen[:, None] + torch.arange(k)
        most = int(seen.max())
        hidden = torch.arange(most) >= seen[:, None]  # (b, s)
        for i, block in enumerate(self._trunk.decoder.blocks):
            assert isinstance(block, Block) and isinstance(block.mix, Attention)
            mix = block.mix
            q, own_k, own_v = mix._qkv(norm(states), positions, int(positions.max()) + 1)
            out = _attention(q, own_k, own_v, self._keys[i][:, :most], self._values[i], hidden)
            states = states + mix.to_out(rearrange(out, "b h n c -> b n (h c)"))
            states = states + block.feed_forward(norm(states))
        return self._low.from_patch(norm(states))


def _attention(
    q: Tensor, own_k: Tensor, own_v: Tensor, keys: Tensor, values: Tensor, hidden: Tensor
) -> Tensor:
    """Causal attention of new places to each other and to those of the row, which all share.

    Args:
        q, own_k, own_v: (b, h, n, c).
        keys: (h, s, c), of the row; values may have more places.
        hidden: (b, s), which places of the row an edit does not have before it.
    """
    b, _, n, c = q.shape
    s = keys.shape[1]
    flat = rearrange(q, "b h n c -> h (b n) c") * c**-0.5
    old = rearrange(flat @ keys.transpose(1, 2), "h (b n) s -> b h n s", b=b)
    old = old.masked_fill(hidden[:, None, None], -math.inf)
    own = (q * c**-0.5) @ own_k.transpose(2, 3)
    own = own.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -math.inf)
    weights = torch.cat([old, own], dim=-1).softmax(-1)
    seen = rearrange(weights[..., :s], "b h n s -> h (b n) s") @ values[:, :s]
    return rearrange(seen, "h (b n) c -> b h n c", b=b) + weights[..., s:] @ own_v
