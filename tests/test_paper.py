"""The paper's wiring against a slow reading of it; what all models promise is in test_megabyte."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from conftest import MakeModel
from torch import Tensor

from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import ConfigError, InputError
from codebyte.layers import norm
from codebyte.megabyte import Megabyte
from codebyte.paper import PaperLevel, PaperWiring

LEVEL = LevelConfig(dim=32, head_dim=16, layers=1)
TWO = ModelConfig(
    levels=(replace(LEVEL, patch_size=4), replace(LEVEL, dim=48, layers=2)),
    wiring="paper",
    patching="fixed",
    context=64,
)
FOUR = replace(
    TWO,
    levels=(
        replace(LEVEL, patch_size=2),
        replace(LEVEL, dim=16, patch_size=3),
        replace(LEVEL, dim=48, patch_size=2),
        LEVEL,
    ),
)
UNEVEN = replace(
    TWO, softcap=3.0, levels=(replace(LEVEL, patch_size=5), replace(LEVEL, dim=36, heads=3))
)
IDS = torch.randint(0, 256, (2, 30), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def two(make_model: MakeModel) -> Iterator[Megabyte]:
    with torch.no_grad():
        yield make_model(TWO)


def _levels(model: Megabyte) -> list[PaperLevel]:
    return [level for level in model.wiring.levels if isinstance(level, PaperLevel)]


def _next_id_by_the_paper(model: Megabyte, ids: list[int]) -> Tensor:
    """Logits of the id after `ids` in a model of two levels, computed for this one place, (v,)."""
    wiring = model.wiring
    assert isinstance(wiring, PaperWiring)
    low, top = _levels(model)
    p = low.patch_size
    patch, place = divmod(len(ids), p)
    patches = [torch.tensor(ids[k * p : (k + 1) * p]) for k in range(patch)]
    embedded = [top.join(top.embed(one).flatten()) for one in patches]
    above = norm(top.stack(torch.stack([top.start, *embedded])[None])[0, -1])
    own = [low.start, *(low.embed(torch.tensor(one)) for one in ids[patch * p :])]
    slices = low.split(above).chunk(p)
    local = torch.stack([own[i] + low.given(slices[i]) for i in range(place + 1)])
    logits = wiring.head(norm(low.stack(local[None])[0, -1]))
    cap = model.config.softcap
    return cap * torch.tanh(logits / cap) if cap else logits


@pytest.mark.parametrize("config", [TWO, UNEVEN], ids=["even", "uneven"])
def test_every_logit_is_what_the_paper_computes(make_model: MakeModel, config: ModelConfig) -> None:
    with torch.no_grad():
        model = make_model(config)
        logits = model(IDS[:1])[0]
        for place in range(31):
            wanted = _next_id_by_the_paper(model, IDS[0, :place].tolist())
            torch.testing.assert_close(logits[place], wanted, rtol=0, atol=1e-4)


def test_four_levels_are_causal_and_equal_their_steps(make_model: MakeModel) -> None:
    with torch.no_grad():
        model = make_model(FOUR)
        whole = model(IDS)
        for cut in range(1, 29):
            state = model.init_state(2)
            portions = [IDS[:, :cut], IDS[:, cut : cut + 1], IDS[:, cut + 1 :]]
            steps = torch.cat([model.step(ids, state) for ids in portions], dim=1)
            torch.testing.assert_close(steps, whole[:, 1:], rtol=0, atol=1e-4)
        changed = IDS[0].repeat(30, 1)
        changed[range(30), range(30)] ^= 1
        moved = (model(changed) - whole[:1]).abs().amax(dim=2)
        assert moved.tril().max() < 1e-5  # row: the place changed; column: the place predicted
        assert moved[:, 1:].diagonal().min() > 1e-3


def test_without_the_level_above_patches_know_nothing_of_each_other(two: Megabyte) -> None:
    _levels(two)[0].given.weight.zero_()
    before = two(IDS)
    for patch in range(7):
        other = IDS.clone()
        other[:, 4 * patch : 4 * patch + 4] ^= 1
        moved = (two(other) - before).abs().amax(dim=(0, 2)) > 1e-6
        assert moved.nonzero().flatten().tolist() == [4 * patch + i for i in (1, 2, 3)]


def test_without_their_own_bytes_patches_know_those_before_and_not_themselves(
    two: Megabyte,
) -> None:
    _levels(two)[0].embed.weight.zero_()
    before = two(IDS)
    for place in range(30):
        other = IDS.clone()
        other[:, place] ^= 1
        moved = (two(other) - before).abs().amax(dim=(0, 2)) > 1e-6
        next_patch = place // 4 * 4 + 4
        # from the first byte of the very next patch on: no state is a patch late
        assert moved.tolist() == [i >= next_patch for i in range(31)]


def test_every_byte_of_a_patch_gets_its_own_slice(two: Megabyte) -> None:
    low, top = _levels(two)
    above = torch.randn(1, 2, 48, generator=torch.Generator().manual_seed(1))
    slices = low.slices(above)
    assert slices.shape == (1, 8, 32)
    other = above.clone()
    other[0, 1, 12:24] = other[0, 1, 12:24].flip(0)  # same size, so that the norm stays
    moved = (low.slices(other) - slices).abs().amax(dim=2)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == [5]
    assert isinstance(top.join, torch.nn.Identity)  # four bytes of width 12 side by side


def test_widths_that_patches_do_not_divide_are_projected(make_model: MakeModel) -> None:
    low, top = _levels(make_model(UNEVEN))
    assert top.embed.weight.shape == (272, 8)
    assert [tuple(m.weight.shape) for m in (top.join, low.split)] == [(36, 40), (40, 36)]


def test_patch_states_know_the_patches_before_them(two: Megabyte) -> None:
    states = two.patch_states(IDS)
    assert states.shape == (2, 8, 48)  # seven whole patches of four, and what is known before any
    other = IDS.clone()
    other[:, 9] ^= 1
    moved = (two.patch_states(other) - states).abs().amax(dim=(0, 2)) > 1e-5
    assert moved.tolist() == [k >= 3 for k in range(8)]
    torch.testing.assert_close(two.patch_states(IDS[:, :28]), states)


def test_one_level_has_no_patch_states(make_model: MakeModel) -> None:
    with pytest.raises(InputError, match="a model of one level has no patch states"):
        make_model(replace(TWO, levels=(LEVEL,))).patch_states(IDS)


def test_a_snapshot_costs_no_more_than_the_open_patch(two: Megabyte) -> None:
    state = two.init_state(1)
    two.step(IDS[:1].repeat(1, 10), state)
    low, top = state.snapshot().caches
    assert low[0].keys is not None
    assert low[0].keys.shape == (1, 2, 1, 16)  # at a patch's first place
    assert top[0].keys is state.caches[1][0].keys


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patching": "word"}, "'paper' needs patching 'fixed'"),
        ({"ngrams": (2,)}, "no ngrams"),
        ({"matches": (4,)}, "no matches"),
        ({"levels": (replace(LEVEL, mixing="conv"), LEVEL)}, "'paper' needs full attention"),
        ({"levels": (replace(LEVEL, pattern="window"), LEVEL)}, "'paper' needs full attention"),
        ({"levels": (replace(LEVEL, encoder_layers=1), LEVEL)}, "no encoder_layers"),
    ],
)
def test_what_the_paper_has_not_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(TWO, **change)
