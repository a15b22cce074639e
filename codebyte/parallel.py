"""Several processes that train one model together, each on its rows of every batch (data parallel).

Started by `torchrun`, which sets RANK and WORLD_SIZE; without it there is one process and nothing
to do.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def join() -> tuple[int, int]:
    """Joins the processes that torchrun started; gives this one's rank and how many there are."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), world


def leave() -> None:
    """Ends what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()


def add_up(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes; changed in place."""
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def add_up_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces every gradient by its sum over all processes, in one message."""
    if not dist.is_initialized():
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(part.view_as(grad))
