"""Costs on paper agree with what a real model has and does."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from codebyte.config import PRESETS, LevelConfig, ModelConfig, TrainConfig
from codebyte.costs import flops_per_byte, num_parameters, training_bytes
from codebyte.megabyte import Megabyte
from codebyte.optim import build_optimizers


def test_presets_are_counted_as_they_are_built() -> None:
    assert num_parameters(PRESETS["tiny"]) == Megabyte(PRESETS["tiny"]).num_parameters()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_exists_on_paper(name: str) -> None:
    assert training_bytes(PRESETS[name]) > 12 * num_parameters(PRESETS[name])


def test_training_memory_is_that_of_weights_gradients_and_optimizers() -> None:
    model = Megabyte(PRESETS["tiny"])
    optimizers = build_optimizers(model, TrainConfig())
    model.loss(torch.zeros(1, 32, dtype=torch.uint8)).backward()
    for optimizer in optimizers:
        optimizer.step()
    held = sum(2 * 4 * p.numel() for p in model.parameters() if p.grad is not None)
    held += sum(
        4 * value.numel()
        for optimizer in optimizers
        for state in optimizer.state.values()
        for key, value in state.items()
        if key != "step"
    )
    assert training_bytes(PRESETS["tiny"]) == held


def test_the_formula_counts_what_a_forward_pass_multiplies() -> None:
    config = ModelConfig(
        levels=(
            LevelConfig(dim=32, encoder_layers=1, layers=1, mixing="conv", patch_size=8),
            LevelConfig(dim=64, layers=2, head_dim=16),
        ),
        patching="fixed",
        context=512,
    )
    model = Megabyte(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.loss(torch.zeros(1, 512, dtype=torch.int64))
    counted = counter.get_total_flops() / 512
    assert flops_per_byte(config) == pytest.approx(counted, rel=0.05)
