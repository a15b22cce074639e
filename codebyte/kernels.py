"""Triton kernels for what a GPU's compiler fuses badly, each with a PyTorch reference beside it.

    patch_attention    causal attention inside thousands of sequences of a few dozen places: one
                       program does a whole sequence, and no score ever reaches memory
    hashed_rows        sums of rows of a hash table, and back into the table's gradient, without the
                       (b, t, m, d) tensor of all rows between

They are used on a CUDA device where triton is installed and CODEBYTE_TRITON=1 says so. Tests run
them under Triton's interpreter on a CPU; no GPU has run or timed them yet, hence the switch.

Axes: b sequences, h heads, n places in a sequence, c width of a head, t places, m rows summed for
each place, d width of a row.
"""

import os
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LONGEST = 64  # places of a sequence that one program can hold


def wanted(x: Tensor) -> bool:
    """Whether to use the kernels for a tensor like this one."""
    if not x.is_cuda or os.environ.get("CODEBYTE_TRITON") != "1":
        return False
    return find_spec("triton") is not None


def patch_attention_reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention, (b, h, n, c) each -> (b, h, n, c)."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def hashed_rows_reference(table: Tensor, rows: Tensor) -> Tensor:
    """(rows of the table, d), (b, m, t) -> the sums over m, (b, t, d)."""
    flat = rows.transpose(1, 2).flatten(0, 1)
    return F.embedding_bag(flat, table, mode="sum").view(rows.shape[0], rows.shape[2], -1)


def patch_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `patch_attention_reference`, for n up to LONGEST."""
    out: Tensor = _PatchAttention.apply(q, k, v)
    return out


def hashed_rows(table: Tensor, rows: Tensor) -> Tensor:
    """As `hashed_rows_reference`."""
    out: Tensor = _HashedRows.apply(table, rows)
    return out


class _PatchAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        from codebyte import triton_kernels

        q, k, v = (t.contiguous() for t in (q, k, v))
        ctx.save_for_backward(q, k, v)
        return triton_kernels.attend(q, k, v)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from codebyte import triton_kernels

        q, k, v = ctx.saved_tensors
        return triton_kernels.attend_backward(q, k, v, grad.contiguous())


class _HashedRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        from codebyte import triton_kernels

        rows = rows.contiguous()
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        return triton_kernels.gather(table.contiguous(), rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        from codebyte import triton_kernels

        (rows,) = ctx.saved_tensors
        return triton_kernels.scatter(grad.contiguous(), rows, ctx.shape), None
