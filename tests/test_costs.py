"""Costs on paper agree with what a real model has and does."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from codebyte.config import LevelConfig, ModelConfig, TrainConfig
from codebyte.costs import (
    Cluster,
    activation_bytes,
    flops_per_byte,
    num_parameters,
    training_bytes,
)
from codebyte.megabyte import Megabyte
from codebyte.optim import build_optimizers
from codebyte.presets import PRESETS


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


@pytest.mark.parametrize(("name", "millions"), [("base", 186), ("medium", 448), ("large", 1027)])
def test_presets_for_gpus_have_the_numbers_that_the_documents_say(name: str, millions: int) -> None:
    assert round(num_parameters(PRESETS[name]) / 1e6) == millions


@pytest.mark.parametrize("width", [32, 96])
def test_what_is_kept_for_the_backward_pass_is_what_autograd_keeps(width: int) -> None:
    config = replace(
        PRESETS["tiny"],
        levels=(
            replace(PRESETS["tiny"].levels[0], dim=width, layers=2),
            replace(PRESETS["tiny"].levels[1], dim=2 * width),
        ),
        patching="fixed",
    )
    model, kept = Megabyte(config), {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model.loss(torch.randint(0, 256, (4, 512)))
    assert loss.requires_grad
    measured = sum(size for size, _ in kept.values()) / (4 * 512)
    assert activation_bytes(config) == pytest.approx(measured, rel=0.1)


def test_hours_money_and_memory_follow_from_operations_and_numbers() -> None:
    config = PRESETS["base"]
    one, eight = Cluster(), Cluster(processors=8)
    operations = 3 * flops_per_byte(config) * 1e10
    assert one.hours(config, 1e10) == pytest.approx(operations / (989e12 * 0.35) / 3600)
    assert eight.hours(config, 1e10) == pytest.approx(one.hours(config, 1e10) / 8)
    assert eight.cost(config, 1e10) == pytest.approx(one.cost(config, 1e10))
    alike = eight.memory(config, 10**6, shared=False)
    assert alike == training_bytes(config) + 10**6 * activation_bytes(config, number=2)
    assert training_bytes(config) / 8 < eight.memory(config, 0, shared=True) < alike


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
