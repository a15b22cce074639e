"""Triton kernels under its interpreter equal their PyTorch references, gradients included."""

import pytest
import torch
from torch import Tensor

from codebyte import kernels

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


def test_kernels_are_for_cuda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEBYTE_TRITON", "1")
    assert not kernels.wanted(torch.zeros(1))
