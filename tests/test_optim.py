"""Optimizers: what they do to a parameter, and how fast at which step."""

import pytest
import torch
from torch import nn

from codebyte.config import LevelConfig, ModelConfig, TrainConfig
from codebyte.megabyte import Megabyte
from codebyte.optim import Muon, build_optimizers, decay_start, orthogonal, rate_at
from codebyte.presets import PRESETS


@pytest.mark.parametrize("shape", [(8, 8), (48, 16), (16, 48), (3, 32, 16)])
def test_orthogonal_keeps_directions_and_evens_out_their_sizes(shape: tuple[int, ...]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    singular = (left.mT @ orthogonal(matrix) @ right.mT).diagonal(dim1=-2, dim2=-1)
    assert singular.min() > 0.7
    assert singular.max() < 1.25
    torch.testing.assert_close(orthogonal(matrix * 1e-3), orthogonal(matrix), rtol=0, atol=5e-2)


def test_a_first_muon_step_is_the_rate_times_the_orthogonal_gradient() -> None:
    weight = nn.Parameter(torch.ones(32, 8))
    weight.grad = torch.randn(32, 8, generator=torch.Generator().manual_seed(2))
    left, _, right = torch.linalg.svd(weight.grad, full_matrices=False)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    decayed = 1 - 0.1 * 0.5
    expected = decayed - 0.1 * 2.0 * left @ right  # 2 = sqrt(32 / 8)
    torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=0.02)


def test_every_parameter_has_one_optimizer_and_blocks_have_muon() -> None:
    model = Megabyte(PRESETS["tiny"])
    optimizers = build_optimizers(model, TrainConfig())
    given = [
        p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]
    ]
    assert len(given) == len(set(given))
    assert set(given) == set(model.parameters())
    by_muon = {p for p in optimizers[0].param_groups[0]["params"]}
    named = {name for name, p in model.named_parameters() if p in by_muon}
    assert named == {
        name
        for name, p in model.named_parameters()
        if "blocks" in name and p.ndim == 2 and not name.endswith("mix.weight")
    }


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_wiring_without_blocks_is_trained_without_muon(kind: str) -> None:
    level = LevelConfig(dim=32, head_dim=16, patch_size=4)
    shape = ModelConfig(levels=(level, level), wiring="lucidrains", patching="fixed", context=64)
    model = Megabyte(shape)
    (optimizer,) = build_optimizers(model, TrainConfig(matrix_optimizer=kind))
    given = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(given) == len(set(given))
    assert set(given) == set(model.parameters())


def test_the_rate_warms_up_stays_and_falls_to_nothing() -> None:
    config = TrainConfig(steps=100, warmup=3, decay=0.4)
    assert [rate_at(step, config) for step in (0, 1, 2, 3, 59)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert decay_start(config) == 60
    assert rate_at(60, config) == 1.0
    assert rate_at(80, config) == 0.5
    assert rate_at(99, config) == 1 / 40
    assert rate_at(99, TrainConfig(steps=100, decay=0.0)) == 1.0
