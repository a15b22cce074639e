"""The kernels of kernels.py; imported only where triton is."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

import torch
import triton
import triton.language as tl
from torch import Tensor

_LEAST = 16  # what a matrix product of a GPU has at least along each side
_PLACES = 32  # places that one program of the hash table works on


@triton.jit
def _weights(q, k, n: tl.constexpr, size: tl.constexpr, scale):
    """Softmax of the causal scores of one sequence, (size, size) float32."""
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    place = tl.arange(0, size)
    seen = (place[None, :] <= place[:, None]) & (place[None, :] < n)
    scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, axis=1)[:, None])
    return weights / tl.sum(weights, axis=1)[:, None]


@triton.jit
def _attend(
    q_ptr, k_ptr, v_ptr, out_ptr, scale,
    n: tl.constexpr, c: tl.constexpr, size: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    place, column = tl.arange(0, size), tl.arange(0, width)
    at = tl.program_id(0).to(tl.int64) * n * c + place[:, None] * c + column[None, :]
    inside = (place[:, None] < n) & (column[None, :] < c)
    q = tl.load(q_ptr + at, mask=inside, other=0.0)
    k = tl.load(k_ptr + at, mask=inside, other=0.0)
    v = tl.load(v_ptr + at, mask=inside, other=0.0)
    weights = _weights(q, k, n, size, scale)
    out = tl.dot(weights.to(v.dtype), v, input_precision="ieee")
    tl.store(out_ptr + at, out.to(q.dtype), mask=inside)


@triton.jit
def _attend_backward(
    q_ptr, k_ptr, v_ptr, grad_ptr, dq_ptr, dk_ptr, dv_ptr, scale,
    n: tl.constexpr, c: tl.constexpr, size: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    place, column = tl.arange(0, size), tl.arange(0, width)
    at = tl.program_id(0).to(tl.int64) * n * c + place[:, None] * c + column[None, :]
    inside = (place[:, None] < n) & (column[None, :] < c)
    q = tl.load(q_ptr + at, mask=inside, other=0.0)
    k = tl.load(k_ptr + at, mask=inside, other=0.0)
    v = tl.load(v_ptr + at, mask=inside, other=0.0)
    grad = tl.load(grad_ptr + at, mask=inside, other=0.0)
    weights = _weights(q, k, n, size, scale)
    dv = tl.dot(tl.trans(weights).to(v.dtype), grad, input_precision="ieee")
    d_weights = tl.dot(grad, tl.trans(v), input_precision="ieee")
    along = tl.sum(d_weights * weights, axis=1)[:, None]
    d_scores = (weights * (d_weights - along) * scale).to(q.dtype)
    dq = tl.dot(d_scores, k, input_precision="ieee")
    dk = tl.dot(tl.trans(d_scores), q, input_precision="ieee")
    tl.store(dq_ptr + at, dq.to(q.dtype), mask=inside)
    tl.store(dk_ptr + at, dk.to(q.dtype), mask=inside)
    tl.store(dv_ptr + at, dv.to(q.dtype), mask=inside)


@triton.jit
def _gather(
    table_ptr, rows_ptr, out_ptr, t,
    m: tl.constexpr, d: tl.constexpr, places: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * places + tl.arange(0, places)
    batch = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, width)
    inside = (place[:, None] < t) & (column[None, :] < d)
    total = tl.zeros((places, width), dtype=tl.float32)
    for i in tl.static_range(m):
        row = tl.load(rows_ptr + (batch * m + i) * t + place, mask=place < t, other=0)
        at = row[:, None] * d + column[None, :]
        total += tl.load(table_ptr + at, mask=inside, other=0.0).to(tl.float32)
    out = out_ptr + (batch * t + place[:, None]) * d + column[None, :]
    tl.store(out, total.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _scatter(
    grad_ptr, rows_ptr, out_ptr, t,
    m: tl.constexpr, d: tl.constexpr, places: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * places + tl.arange(0, places)
    batch = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, width)
    inside = (place[:, None] < t) & (column[None, :] < d)
    at = grad_ptr + (batch * t + place[:, None]) * d + column[None, :]
    grad = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    for i in tl.static_range(m):
        row = tl.load(rows_ptr + (batch * m + i) * t + place, mask=place < t, other=0)
        tl.atomic_add(out_ptr + row[:, None] * d + column[None, :], grad, mask=inside)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of contiguous (b, h, n, c)."""
    out = torch.empty_like(q)
    b, h, n, c = q.shape
    _attend[(b * h,)](q, k, v, out, c**-0.5, n, c, _size(n), _size(c))
    return out


def attend_backward(q: Tensor, k: Tensor, v: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v."""
    dq, dk, dv = (torch.empty_like(q) for _ in range(3))
    b, h, n, c = q.shape
    sizes = (n, c, _size(n), _size(c))
    _attend_backward[(b * h,)](q, k, v, grad, dq, dk, dv, c**-0.5, *sizes)
    return dq, dk, dv


def gather(table: Tensor, rows: Tensor) -> Tensor:
    """(_, d), (b, m, t) int64 -> (b, t, d), the sums over m."""
    (b, m, t), d = rows.shape, table.shape[1]
    out = table.new_empty(b, t, d)
    grid = (triton.cdiv(t, _PLACES), b)
    _gather[grid](table, rows, out, t, m, d, _PLACES, triton.next_power_of_2(d))
    return out


def scatter(grad: Tensor, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(b, t, d), (b, m, t) int64 -> the gradient of the table, in its shape."""
    (b, m, t), d = rows.shape, shape[1]
    out = torch.zeros(shape, dtype=torch.float32, device=grad.device)
    grid = (triton.cdiv(t, _PLACES), b)
    _scatter[grid](grad, rows, out, t, m, d, _PLACES, triton.next_power_of_2(d))
    return out.to(grad.dtype)


def _size(length: int) -> int:
    return max(_LEAST, triton.next_power_of_2(length))
