"""Several processes that train one model together, each on its rows of every batch.

Started by `torchrun`, which sets RANK, LOCAL_RANK and WORLD_SIZE; without it there is one process
and nothing to do. Either each process holds the whole model (data parallel), or, after `share_out`,
a part of every weight, gradient and number of the optimizer (FSDP2): a block's weights come
together when it is their turn, and its gradients are added up and taken apart again.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

from codebyte.layers import Stack

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store
    from torch.distributed.tensor import DTensor

LONGEST_WAIT = timedelta(minutes=5)  # for another process; then all fail, and torchrun starts again


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """With the other processes that torchrun started; gives this one's rank and how many there are.

    Inside another `joined` it changes nothing. After an error nothing is closed in good order: it
    would wait for others that wait for this process.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or dist.is_initialized():
        yield rank(), world
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(
        backend,
        store=_meeting_place(),
        rank=int(os.environ["RANK"]),
        world_size=world,
        timeout=LONGEST_WAIT,
    )
    yield rank(), world
    dist.destroy_process_group()


def _meeting_place() -> "Store":
    """Where processes leave their addresses, apart for each time that torchrun starts them.

    torchrun keeps one store for all its restarts, in which a process may find where another was
    before the restart and wait there. On several machines restarts are counted on each, so they
    share one place.
    """
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=LONGEST_WAIT))
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if alone else "all"
    return PrefixStore(f"restart_{restart}", store)


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait() -> None:
    """Until all processes are here."""
    if dist.is_initialized():
        dist.barrier()


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


def share_out(model: nn.Module) -> None:
    """Leaves each process its part of a model that all of them hold alike, changed in place.

    Gradients of a backward pass are then the mean over the processes.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    for stack in model.modules():
        if isinstance(stack, Stack):
            for block in stack.blocks:
                fully_shard(block, mesh=mesh)
                register_fsdp_forward_method(block, "thrifty")
    fully_shard(model, mesh=mesh, reshard_after_forward=True)  # or validation leaves it whole
    register_fsdp_forward_method(model, "losses")


def whole(value: Tensor) -> Tensor:
    """A tensor of which each process may hold a part, put together for all of them."""
    return value.full_tensor() if _is_part(value) else value


def gathered(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same in full and on the CPU for the first process, one after the other; all call."""
    found = {}
    for name, value in tensors.items():
        full = whole(value.detach())
        if rank() == 0:
            found[name] = full.cpu()
    return found


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """What this process holds of a tensor that all have, if `like` is shared out."""
    if not _is_part(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    # every process has the values already: nothing is sent
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def divided(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """What a function makes of each item of a batch, the items divided among the processes.

    Args:
        function: works on each of (n, ...) alone and keeps their shape.
        batch: (n, ...), the same in all processes.
    """
    if not dist.is_initialized():
        return function(batch)
    world, n = dist.get_world_size(), len(batch)
    share = -(-n // world)
    padded = torch.cat([batch, batch.new_zeros(share * world - n, *batch.shape[1:])])
    out = torch.empty_like(padded)
    dist.all_gather_single(out, function(padded.split(share)[dist.get_rank()]))
    return out[:n]


def save_parts(tensors: dict[str, Tensor], folder: Path) -> None:
    """Writes a folder of safetensors files to which each process adds what it holds."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    save(tensors, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))


def load_parts(like: dict[str, Tensor], folder: Path) -> None:
    """Fills tensors from a folder of `save_parts`, however many processes wrote it.

    Args:
        like: by name; shared out or not, as this run has them.
        folder: may hold more than is asked for.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    with warnings.catch_warnings():  # that one process alone may not be meant
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        load(
            like,
            storage_reader=HuggingFaceStorageReader(str(folder)),
            no_dist=not dist.is_initialized(),
        )


def _is_part(value: Tensor) -> "TypeGuard[DTensor]":
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)
