"""The parts of a level: windows, positions, dropout, and steps that equal the whole."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from codebyte import layers
from codebyte.caches import KVCache
from codebyte.config import LevelConfig
from codebyte.layers import (
    Attention,
    CausalConv,
    FeedForward,
    Stack,
)
from codebyte.rotary import exact_turns, rotate
from codebyte.sparse import window_attention

FULL = LevelConfig(dim=32, head_dim=8)
WINDOW = replace(FULL, pattern="window", window=5)
STRIDED = replace(WINDOW, pattern="strided", window=4, stride=3)
DILATED = replace(WINDOW, pattern="dilated", window=4, dilations=(1, 2, 4))
MIXED = replace(WINDOW, pattern=("window", "dilated"), sinks=2)
WIDE = replace(FULL, heads=6)
CONV = replace(FULL, mixing="conv")


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _stack(config: LevelConfig, depth: int = 2) -> Stack:
    stack = Stack(config, depth)
    with torch.no_grad():
        for i, weight in enumerate(stack.parameters()):
            weight.copy_(0.2 * _random(*weight.shape, seed=i))
    return stack.eval()


@pytest.mark.parametrize("n", [1, 6, 7, 8, 14, 23])
@pytest.mark.parametrize("window", [1, 7])
def test_window_attention_equals_attention_under_a_dense_mask(n: int, window: int) -> None:
    q, k, v = _random(3, 2, 4, n, 8)
    distance = torch.arange(n)[:, None] - torch.arange(n)
    mask = (distance >= 0) & (distance < window)
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(window_attention(q, k, v, window), wanted, rtol=0, atol=1e-5)


def test_window_attention_learns_as_under_a_dense_mask() -> None:
    gradients = []
    distance = torch.arange(11)[:, None] - torch.arange(11)
    mask = (distance >= 0) & (distance < 4)
    for dense in (True, False):
        q, k, v = (t.clone().requires_grad_() for t in _random(3, 1, 2, 11, 8))
        out = (
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            if dense
            else window_attention(q, k, v, 4)
        )
        gradients.append(torch.autograd.grad(out.square().sum(), (q, k, v)))
    for wanted, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_neighbouring_positions_stay_apart_in_bfloat16() -> None:
    # bfloat16 itself has no 257: positions counted in it would give 256 twice
    x = torch.ones(1, 1, 4, 64, dtype=torch.bfloat16)
    turned = rotate(x, torch.arange(255, 259))[0, 0].double()
    first = rotate(x, torch.arange(4))[0, 0].double()
    wanted = first[0] @ first[1]
    for left, right in ((0, 1), (1, 2), (2, 3)):
        assert abs(turned[left] @ turned[right] - wanted) < 0.2  # of 64
    assert (turned[1] - turned[2]).abs().max() > 0.5


@pytest.mark.parametrize("shift", [1, 1000, 50_000, 65_533, 2**31 + 5, 2**52 + 1, 2**62])
def test_scores_depend_on_distance_alone(shift: int) -> None:
    q, k = _random(2, 1, 1, 6, 16)
    places = torch.arange(6)
    scores = rotate(q, places) @ rotate(k, places).mT
    moved = rotate(q, places + shift) @ rotate(k, places + shift).mT
    torch.testing.assert_close(moved, scores, rtol=0, atol=1e-4)


class NoDoubles(TorchDispatchMode):
    """Fails where a float64 tensor would be on an Apple GPU, which has none."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        assert not (isinstance(made, Tensor) and made.is_mps and made.dtype == torch.float64)
        return made


def test_turns_at_any_position_are_given_where_there_is_no_float64() -> None:
    with FakeTensorMode(), NoDoubles():
        found = exact_turns(4, torch.arange(5, device="mps"))
    assert (found.device.type, found.dtype, found.shape) == ("mps", torch.float32, (2, 5, 4))


def test_positions_may_differ_between_rows() -> None:
    x = _random(2, 3, 4, 8)
    places = torch.tensor([[0, 1, 2, 3], [7, 8, 9, 10]])
    both = rotate(x, places)
    for row in range(2):
        alone = rotate(x[row : row + 1], places[row])
        torch.testing.assert_close(both[row : row + 1], alone, rtol=0, atol=0)


@pytest.mark.parametrize(
    "config",
    [FULL, WINDOW, replace(WINDOW, sinks=2), STRIDED, DILATED, MIXED, WIDE, CONV],
    ids=["full", "window", "sinks", "strided", "dilated", "mixed", "wide", "conv"],
)
def test_steps_of_ragged_rows_equal_the_whole(config: LevelConfig) -> None:
    stack = _stack(config)
    x = _random(3, 90, 32)  # more than a cache first has room for
    with torch.no_grad():
        whole = stack(x)
        caches = stack.init_cache(3)
        fed = [0, 0, 0]
        turns = [([0], 1), ([2], 30), ([0, 1], 2), ([1, 2], 1), ([0, 2, 1], 7), ([1], 50)]
        for rows, n in [*turns, *[([0, 1, 2], 1)] * 5, ([2, 0], 40)]:
            part = torch.stack([x[row, fed[row] : fed[row] + n] for row in rows])
            out = stack.step(part, caches, torch.tensor(rows))
            for i, row in enumerate(rows):
                wanted = whole[row, fed[row] : fed[row] + n]
                torch.testing.assert_close(out[i], wanted, rtol=0, atol=1e-4)
                fed[row] += n


@pytest.mark.parametrize("config", [replace(WINDOW, sinks=2), STRIDED, DILATED, MIXED])
@pytest.mark.parametrize("blocks", [0, 1 << 18])
def test_a_long_row_equals_the_whole_from_a_bounded_cache(
    config: LevelConfig, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "BLOCKS", blocks)
    stack = _stack(config)
    x, row = _random(1, 900, 32), torch.tensor([0])
    with torch.no_grad():
        whole = stack(x)
        caches = stack.init_cache(1)
        out, start, back = [], 0, None
        for n in [1, 3, 40] * 20:
            out.append(stack.step(x[:, start : start + n], caches, row))
            start += n
            if start == 440:
                back = [cache.snapshot() for cache in caches]
        torch.testing.assert_close(torch.cat(out, dim=1), whole[:, :start], rtol=0, atol=1e-4)
        assert back is not None
        again = stack.step(x[:, 440:600], back, row)  # what later places did is not in the way
        torch.testing.assert_close(again, whole[:, 440:600], rtol=0, atol=1e-4)
    for cache in caches:
        assert isinstance(cache, KVCache)
        assert cache.keys is not None
        assert cache.keys.shape[2] < 300  # of 880 places


def test_a_cache_gone_back_is_written_over() -> None:
    attention = Attention(WINDOW)
    x, other = _random(2, 1, 12, 32)
    rows = torch.tensor([0])
    with torch.no_grad():
        cache = KVCache(1)
        attention.step(x[:, :6], cache, rows)
        back = cache.snapshot()
        attention.step(other[:, 6:], cache, rows)
        out = attention.step(x[:, 6:], back, rows)
        torch.testing.assert_close(out, attention(x)[:, 6:], rtol=0, atol=1e-5)
    assert (int(cache.length[0]), int(back.length[0])) == (12, 12)


def test_marks_of_a_growing_cache_hold_its_places_once() -> None:
    attention = Attention(FULL)
    x, cache, marks = _random(1, 300, 32), KVCache(1), []
    with torch.no_grad():
        for start in range(0, 300, 10):
            attention.step(x[:, start : start + 10], cache, torch.tensor([0]))
            marks.append(cache.snapshot())
        assert {id(mark.keys) for mark in marks} == {id(cache.keys)}
        assert cache.keys is not None
        assert cache.keys.shape[2] <= 1.25 * 300
        out = attention.step(x[:, 110:120], marks[10], torch.tensor([0]))
        torch.testing.assert_close(out, attention(x)[:, 110:120], rtol=0, atol=1e-5)


def test_a_convolution_is_the_sum_it_says() -> None:
    conv = CausalConv(2, dilation=4)
    with torch.no_grad():
        conv.weight.copy_(_random(4, 2))
    x = _random(1, 20, 2)
    out = conv(x)
    for place in range(20):
        wanted = sum(conv.weight[i] * x[0, place - 4 * i] for i in range(4) if place >= 4 * i)
        torch.testing.assert_close(out[0, place], wanted)


def test_heads_may_be_wider_together_than_the_level() -> None:
    attention = Attention(WIDE)
    assert attention.to_qkv.weight.shape == (3 * 48, 32)
    assert attention.to_out.weight.shape == (32, 48)


@pytest.mark.parametrize("config", [FULL, replace(WINDOW, window=3)], ids=["full", "window"])
def test_attention_dropout_leaves_out_weights_in_training_only(config: LevelConfig) -> None:
    torch.manual_seed(1)
    plain, dropping = Attention(config), Attention(replace(config, attn_dropout=0.5))
    dropping.load_state_dict(plain.state_dict())
    x = _random(1, 16, 32)
    wanted = plain(x)
    torch.testing.assert_close(dropping.eval()(x), wanted, rtol=0, atol=0)
    draws = torch.stack([dropping.train()(x) for _ in range(400)])
    assert draws.std(dim=0).min() > 0
    # what is kept is scaled up, so that the mean is that without dropout: 400 draws, 6 sigma
    error = (draws.mean(dim=0) - wanted).abs()
    assert (error < 6 * draws.std(dim=0) / 20).all()


def test_feed_forward_dropout_leaves_out_hidden_values_in_training_only() -> None:
    plain, dropping = FeedForward(32, 4), FeedForward(32, 4, 0.25)
    dropping.load_state_dict(plain.state_dict())
    x = _random(1, 4, 32)
    torch.testing.assert_close(dropping.eval()(x), plain(x), rtol=0, atol=0)
    hidden: list[Tensor] = []
    dropping.down.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    torch.manual_seed(1)
    for _ in range(100):
        dropping.train()(x)
    alive = plain.up(x) > 0
    left_out = (torch.stack(hidden) == 0)[:, alive].float().mean()
    assert abs(left_out - 0.25) < 0.02  # of some 25,000 draws
