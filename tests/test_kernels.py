"""Triton kernels under its interpreter equal their PyTorch references, gradients included."""

import pytest
import torch
from conftest import MakeModel
from torch import Tensor

from codebyte import kernels
from codebyte.config import LevelConfig, ModelConfig
from codebyte.presets import PRESETS

pytest.importorskip("triton")


def _random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 2, 8, 16), (3, 1, 1, 8), (2, 3, 16, 32), (2, 1, 19, 24)])
def test_attention_inside_patches(shape: tuple[int, ...]) -> None:
    results = []
    for function in (kernels.patch_attention_reference, kernels.patch_attention):
        q, k, v = (t.clone().requires_grad_() for t in _random(3, *shape))
        out = function(q, k, v)
        gradients = torch.autograd.grad((out * _random(*shape, seed=2)).sum(), (q, k, v))
        results.append((out, *gradients))
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("b", "m", "t", "d"), [(2, 5, 70, 16), (1, 1, 3, 24), (3, 2, 32, 8)])
def test_sums_of_rows_of_a_hash_table(b: int, m: int, t: int, d: int) -> None:
    rows = torch.randint(0, 40, (b, m, t), generator=torch.Generator().manual_seed(1))
    results = []
    for function in (kernels.hashed_rows_reference, kernels.hashed_rows):
        table = _random(50, d).requires_grad_()
        out = function(table, rows)
        (gradient,) = torch.autograd.grad((out * _random(b, t, d, seed=2)).sum(), table)
        results.append((out, gradient))
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


# the paper's wiring, whose byte level attends inside patches, and ours, whose inputs sum table rows
PAPER = ModelConfig(
    levels=(
        LevelConfig(dim=16, head_dim=8, layers=1, patch_size=4),
        LevelConfig(dim=32, head_dim=16, layers=1),
    ),
    wiring="paper",
    patching="fixed",
    context=32,
)


@pytest.mark.parametrize(
    ("config", "used"),
    [(PAPER, "patch_attention"), (PRESETS["tiny"], "hashed_rows")],
    ids=["paper", "ours"],
)
def test_a_model_takes_them_where_they_are_wanted_and_nowhere_else(
    config: ModelConfig, used: str, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("patch_attention", "hashed_rows"):
        kernel = getattr(kernels, name)
        monkeypatch.setattr(
            kernels, name, lambda *x, name=name, kernel=kernel: (calls.append(name), kernel(*x))[1]
        )
    model = make_model(config).train()
    ids = torch.randint(0, 256, (2, 32), generator=torch.Generator().manual_seed(1))

    def learned() -> list[Tensor]:
        model.zero_grad()
        loss = model.loss(ids)
        loss.backward()
        return [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]

    plain = learned()
    assert calls == []  # a CPU wants none
    monkeypatch.setattr(kernels, "wanted", lambda x: True)
    for found, expected in zip(learned(), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert used in calls


@pytest.mark.parametrize(
    ("cuda", "switch", "answer"),
    [(True, "1", True), (True, "0", False), (True, None, False), (False, "1", False)],
)
def test_kernels_are_wanted_on_cuda_where_they_are_switched_on(
    cuda: bool, switch: str | None, answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Placed(Tensor):  # a tensor that says where it is; there need be no GPU
        is_cuda = cuda

    monkeypatch.delenv("CODEBYTE_TRITON", raising=False)
    if switch is not None:
        monkeypatch.setenv("CODEBYTE_TRITON", switch)
    assert kernels.wanted(torch.zeros(1).as_subclass(Placed)) is answer
