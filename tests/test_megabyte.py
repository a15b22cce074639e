"""What every Megabyte promises: it sees no later id, and with caches it computes the same."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from conftest import MakeModel
from torch import Tensor

from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import InputError
from codebyte.fewbytes import FewBytes
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.vocab import EOT, FILE, PAD

TINY = PRESETS["tiny"]
_LEVEL = LevelConfig(dim=32, head_dim=16, layers=1)
_TWO = (replace(_LEVEL, patch_size=4), replace(_LEVEL, dim=48, layers=2))
_THREE = (
    replace(_LEVEL, pattern="window", window=7, encoder_layers=1, patch_size=5),
    replace(_LEVEL, mixing="conv", encoder_layers=1, patch_size=3),
    replace(_LEVEL, dim=48),
)
_PAPER = ModelConfig(levels=_TWO, wiring="paper", patching="fixed", context=64)
CONFIGS = {
    "word": TINY,
    "fixed": replace(TINY, patching="fixed"),
    "words": replace(TINY, matches=(2, 3, 5), match_words=(0, 1, 2), match_depth=4),
    "one level": replace(TINY, levels=(replace(_LEVEL, layers=2),)),
    "three levels": replace(TINY, levels=_THREE, ngrams=(), matches=(2, 4)),
    "paper": _PAPER,
    "paper, one level": replace(_PAPER, levels=(replace(_LEVEL, layers=2),)),
    "paper, three levels": replace(
        _PAPER, levels=(replace(_LEVEL, patch_size=3), replace(_LEVEL, patch_size=2), _LEVEL)
    ),
    "paper, widths that patches do not divide": replace(
        _PAPER, levels=(replace(_LEVEL, patch_size=5), replace(_LEVEL, dim=36, heads=3))
    ),
}
_CODE = b"def f(x):\n    return f(xy) + 12\n\xff\x00 \xe4\xbd\xa0 end of it"
ROWS = torch.tensor(
    [
        list(_CODE),
        [EOT, FILE, *_CODE[::-1][:44], PAD, PAD],
        [7] * 20 + list(_CODE[:28]),
    ]
)
LENGTH = ROWS.shape[1]


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest, make_model: MakeModel) -> Iterator[Megabyte]:
    with torch.no_grad():
        yield make_model(CONFIGS[request.param])


def _assert_same(found: Tensor, wanted: Tensor) -> None:
    # float32 sums of some hundred terms in another order: a few 1e-5 at logits of size 1 to 10
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_an_id_moves_only_the_logits_after_it(model: Megabyte) -> None:
    for row in ROWS[:2]:
        changed = row.repeat(LENGTH, 1)
        changed[range(LENGTH), range(LENGTH)] = torch.where(row < 256, row ^ 1, ord("a"))
        moved = (model(changed) - model(row[None])).abs().amax(dim=2)
        for place in range(LENGTH):
            assert moved[place, : place + 1].max() < 1e-5, place
            assert moved[place, place + 1] > 1e-3, place


def test_the_last_place_depends_on_the_first_id(model: Megabyte) -> None:
    other = ROWS.clone()
    other[:, 0] = ord("#")
    assert ((model(other) - model(ROWS))[:, -1].abs().amax(dim=1) > 1e-4).all()


def test_a_prefix_has_the_logits_it_has_in_the_whole(model: Megabyte) -> None:
    whole = model(ROWS)
    for length in range(LENGTH + 1):
        _assert_same(model(ROWS[:, :length]), whole[:, : length + 1])


def test_one_id_at_a_time_equals_the_whole(model: Megabyte) -> None:
    state = model.init_state(3)
    logits = [state.logits.clone()]
    for place in range(LENGTH):
        logits.append(model.step(ROWS[:, place : place + 1], state)[:, 0])
        assert state.length.tolist() == [place + 1] * 3
        torch.testing.assert_close(state.logits, logits[-1], rtol=0, atol=0)
    _assert_same(torch.stack(logits, dim=1), model(ROWS))


@pytest.mark.parametrize("last", [1, 9])
def test_two_portions_cut_anywhere_equal_the_whole(model: Megabyte, last: int) -> None:
    whole = model(ROWS)
    for cut in range(1, LENGTH - last + 1):
        state = model.init_state(3)
        first = model.step(ROWS[:, :cut], state)
        second = model.step(ROWS[:, cut : cut + last], state)
        _assert_same(torch.cat([first, second], dim=1), whole[:, 1 : cut + last + 1])


def test_rows_may_be_fed_apart_and_at_different_places(model: Megabyte) -> None:
    whole = model(ROWS)
    state = model.init_state(3)
    fed = [0, 0, 0]
    turns = [([1], 5), ([0, 2], 3), ([0, 1, 2], 1), ([2], 9), ([0, 1], 1), ([1, 0], 6), ([2, 0], 7)]
    for rows, n in [*turns, ([0, 1, 2], 4), *[([2, 0, 1], 1)] * 14]:
        ids = torch.stack([ROWS[row, fed[row] : fed[row] + n] for row in rows])
        logits = model.step(ids, state, torch.tensor(rows))
        for i, row in enumerate(rows):
            _assert_same(logits[i], whole[row, fed[row] + 1 : fed[row] + n + 1])
            fed[row] += n
            _assert_same(state.logits[row], whole[row, fed[row]])
        assert state.length.tolist() == fed


@pytest.mark.parametrize("n", [1, 9])
def test_going_back_to_a_snapshot_equals_never_having_gone_on(model: Megabyte, n: int) -> None:
    whole = model(ROWS)
    elsewhere = torch.full((3, 9), ord("z"))
    for cut in range(10, 22):
        state = model.init_state(3)
        model.step(ROWS[:, :cut], state)
        snapshot = state.snapshot()
        for start in range(0, 9, n):
            model.step(elsewhere[:, start : start + n], state)
        _assert_same(snapshot.logits, whole[:, cut])
        again = snapshot.snapshot()
        _assert_same(model.step(ROWS[:, cut : cut + n], again), whole[:, cut + 1 : cut + n + 1])
        _assert_same(model.step(ROWS[:, cut:], snapshot), whole[:, cut + 1 :])
        assert again.length.tolist() == [cut + n] * 3


def test_the_empty_prompt_has_the_logits_of_every_first_id(model: Megabyte) -> None:
    empty = model(torch.zeros(2, 0, dtype=torch.int64))
    assert empty.shape == (2, 1, model.config.vocab_size)
    _assert_same(empty[0, 0], model(ROWS)[1, 0])
    _assert_same(empty[:, 0], model.init_state(2).logits)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.uint16])
def test_ids_may_be_of_any_integer_type(model: Megabyte, kind: torch.dtype) -> None:
    torch.testing.assert_close(model(ROWS[:1].to(kind)), model(ROWS[:1]), rtol=0, atol=0)
    state = model.init_state()
    _assert_same(model.step(ROWS[:1].to(kind), state), model(ROWS[:1])[:, 1:])


def test_bfloat16_stays_close_to_float32(model: Megabyte) -> None:
    exact = model(ROWS)
    model = model.to(torch.bfloat16)
    rough = model(ROWS)
    assert rough.dtype == torch.bfloat16
    # 8 bits of mantissa, two to six layers: within 5 % of the spread of the logits
    assert (rough - exact).square().mean().sqrt() < 0.05 * exact.std()
    state = model.init_state(3)
    cached = torch.cat([model.step(ROWS[:, :9], state), model.step(ROWS[:, 9:10], state)], dim=1)
    assert (cached - exact[:, 1:11]).square().mean().sqrt() < 0.05 * exact.std()


def test_the_loss_is_the_mean_surprise_of_all_but_padding(model: Megabyte) -> None:
    chances = model(ROWS).double().softmax(dim=-1)
    surprise = -chances[:, :-1].gather(2, ROWS[:, :, None])[:, :, 0].log()
    counts = ROWS != PAD
    assert counts.sum() == 3 * LENGTH - 2
    assert counts[ROWS == 0].all()  # NUL is data
    wanted = torch.where(counts, surprise, 0.0)
    torch.testing.assert_close(model.losses(ROWS).double(), wanted, rtol=1e-4, atol=1e-5)
    assert model.loss(ROWS).item() == pytest.approx(surprise[counts].mean().item(), rel=1e-5)
    mask = torch.rand(ROWS.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    masked = surprise[counts & mask].mean().item()
    assert model.loss(ROWS, mask).item() == pytest.approx(masked, rel=1e-5)
    assert model.loss(torch.full((2, 6), PAD)) == 0


def test_a_mask_goes_where_the_ids_are() -> None:
    ids = torch.zeros(1, 3, dtype=torch.int64, device="meta")  # stands for a GPU
    assert Megabyte.counted(ids, torch.ones(1, 3, dtype=torch.bool)).device.type == "meta"


def test_the_loss_reaches_every_parameter(make_model: MakeModel) -> None:
    for name, config in CONFIGS.items():
        model = make_model(config)
        model.loss(ROWS).backward()
        still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == [], name


def test_patch_states_end_with_their_patch(make_model: MakeModel) -> None:
    model = make_model(CONFIGS["fixed"])
    ids = ROWS[:1, :32]
    states = model.patch_states(ids)
    # the implied start is a patch, then eight bytes each
    assert states.shape == (1, 5, 32)
    other = ids.clone()
    other[0, 8] ^= 1  # the first byte of the second patch
    moved = (model.patch_states(other) - states).abs().amax(dim=2)[0]
    assert (moved > 1e-4).tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("ids", [torch.zeros(5, dtype=torch.int64), torch.zeros(1, 5)])
def test_ids_of_another_shape_or_type_are_refused(tiny_model: Megabyte, ids: Tensor) -> None:
    with pytest.raises(InputError, match=r"ids of shape .*5.* must be integers of shape \(batch"):
        tiny_model(ids)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_byte_fed_by_numpy_equals_one_fed_by_torch(make_model: MakeModel, rows: int) -> None:
    level = LevelConfig(dim=32, head_dim=16, encoder_layers=1, layers=1, patch_size=5)
    sparse = replace(level, pattern=("window", "strided"), window=5, stride=2, sinks=2)
    dilated = replace(level, encoder_layers=0, pattern="dilated", window=2, dilations=(1, 2))
    model = make_model(
        ModelConfig(
            levels=(sparse, replace(level, mixing="conv", patch_size=2), dilated),
            context=64,
            ngrams=(2, 3),
            ngram_buckets=64,
            ngram_dim=16,
            matches=(2, 4),
            softcap=15.0,
        )
    )
    ids = torch.tensor([list(b"if a_b(1):\n    a_b(12)  # \xff\x00\n")] * rows)
    torched, numbered = model.init_state(rows), model.init_state(rows)
    for i in range(ids.shape[1]):
        by_torch = model.step(ids[:, i : i + 1], torched)  # gradients are wanted: torch
        with torch.no_grad():
            for row in range(rows):
                only = torch.tensor([row])
                by_numpy = model.step(ids[row : row + 1, i : i + 1], numbered, only)
                torch.testing.assert_close(by_numpy[0], by_torch[row], rtol=0, atol=1e-4)
    torch.testing.assert_close(numbered.logits, torched.logits, rtol=0, atol=1e-4)
    assert isinstance(model.wiring._few_bytes, FewBytes)
