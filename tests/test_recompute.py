"""Keeping less for the backward pass changes memory and nothing else."""

from dataclasses import replace

import pytest
import torch
from conftest import MakeModel

from codebyte import layers
from codebyte.config import ModelConfig
from codebyte.layers import set_recompute
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS

TINY = PRESETS["tiny"]
SPARSE = replace(
    TINY,
    levels=(
        replace(TINY.levels[0], mixing="attention", head_dim=16, pattern="window", window=6),
        replace(TINY.levels[1], pattern=("strided", "dilated"), window=4),
    ),
)
IDS = torch.randint(0, 256, (2, 150), generator=torch.Generator().manual_seed(1))


def _learned(model: Megabyte) -> tuple[float, list[torch.Tensor]]:
    loss = model.train().loss(IDS)
    loss.backward()
    return loss.item(), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("config", [TINY, SPARSE], ids=["conv", "sparse"])
def test_losses_and_gradients_are_the_same(
    make_model: MakeModel, config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "PIECE", 32)
    wanted_loss, wanted = _learned(make_model(config))
    model = make_model(config)
    set_recompute(model, True)
    loss, found = _learned(model)
    assert loss == pytest.approx(wanted_loss, rel=1e-6)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_dropout_is_drawn_once(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    # what the backward pass computes again must leave out what the forward pass left out
    monkeypatch.setattr(layers, "PIECE", 32)
    config = replace(TINY, levels=tuple(replace(level, ff_dropout=0.3) for level in TINY.levels))
    gradients = []
    for again in (True, False):
        model = make_model(config).train()
        set_recompute(model, True)
        torch.manual_seed(3)
        loss = model.loss(IDS)
        if again:
            torch.rand(100)  # other draws in between
        loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_less_is_kept_for_the_backward_pass(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "PIECE", 256)
    ids = torch.randint(0, 256, (1, 4096), generator=torch.Generator().manual_seed(1))
    kept = {}
    for on in (False, True):
        model = make_model(SPARSE).train()
        set_recompute(model, on)
        storages: dict[int, int] = {}

        def note(t: torch.Tensor, storages: dict[int, int] = storages) -> torch.Tensor:
            storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            loss = model.loss(ids)
        kept[on] = sum(storages.values())
        del loss
    assert kept[True] < kept[False] / 3
