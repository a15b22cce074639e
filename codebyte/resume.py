"""What a run keeps so that it can go on as if it had never stopped.

    latest/model.safetensors, config.json    the model, as every command loads it
    latest/optimizer.safetensors             the optimizer's numbers by name, or, of a model that
    latest/optimizer/                        was shared out, a file of each process's part of them
    latest/run.json                          the number of steps done

Either kind resumes with any number of processes, shared out or not.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from codebyte import checkpoint, parallel
from codebyte.config import TrainConfig
from codebyte.errors import CheckpointError, ConfigError
from codebyte.megabyte import Megabyte

Optimizers = list[torch.optim.Optimizer]
FILE, PARTS = "optimizer.safetensors", "optimizer"


def save_run(
    folder: Path,
    model: Megabyte,
    optimizers: Optimizers,
    step: int,
    config: TrainConfig,
    *,
    shared: bool,
) -> None:
    """Writes beside the folder, then puts the new one in its place.

    Args:
        folder: an old one is replaced.
        model: what is saved.
        optimizers: of all of its parameters.
        step: steps done.
        config: of the run, for the model's notes.
        shared: whether each process holds a part of all this; then all of them call.
    """
    fresh, old = _beside(folder, "new"), _beside(folder, "old")
    rank = parallel.rank() if shared else 0
    if rank == 0:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
    state = {  # a number alone has no place in a file of parts
        f"{name}/{key}": value.reshape(1) if value.ndim == 0 else value
        for name, optimizer, p in _named(model, optimizers)
        for key, value in optimizer.state[p].items()
    }
    notes = {"step": step, "config": asdict(config)}
    if shared:
        weights = parallel.gathered(model.state_dict())
        parallel.wait()
        parallel.save_parts(state, fresh / PARTS)
    else:
        weights = model.state_dict()
        save_file({key: value.cpu().contiguous() for key, value in state.items()}, fresh / FILE)
    if rank == 0:
        checkpoint.save(model, fresh, training=notes, weights=weights)
        (fresh / "run.json").write_text(json.dumps({"step": step}) + "\n")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    if shared:
        parallel.wait()


def put_back(folder: Path) -> None:
    """Undoes a replacement that was cut off between its two renamings."""
    old = _beside(folder, "old")
    if not folder.exists() and old.exists():
        old.rename(folder)


def saved_config(folder: Path) -> TrainConfig:
    """The settings of the run that was saved in a folder.

    Raises:
        CheckpointError: if there is no run, or its settings are not understood.
    """
    try:
        return TrainConfig(**checkpoint.load_training(folder)["config"])
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{folder} has no settings of a run ({error}); start a new run"
        ) from error


def restore_run(folder: Path, model: Megabyte, optimizers: Optimizers) -> int:
    """Restores the optimizers; gives the number of steps done.

    Raises:
        CheckpointError: if the folder is damaged or has no optimizer.
    """
    try:
        step = int(json.loads((folder / "run.json").read_text())["step"])
        in_parts = (folder / PARTS).is_dir()
        tensors = (
            _parts(folder / PARTS, model)
            if in_parts
            else load_file(folder / FILE, device=str(model.device))
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be resumed ({error}); start a new run") from error
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, kind = key.rpartition("/")
        by_name.setdefault(name, {})[kind] = value
    for name, optimizer, p in _named(model, optimizers):
        for kind, value in by_name.get(name, {}).items():
            if value.numel() == 1 and p.numel() > 1:  # a count of steps
                optimizer.state[p][kind] = value.to(p.device, torch.float32).reshape(())
            else:
                optimizer.state[p][kind] = value if in_parts else parallel.part_of(value, p)
    return step


def _parts(folder: Path, model: Megabyte) -> dict[str, Tensor]:
    """What the files of all processes hold, shared out as the model's parameters are."""
    parameters = dict(model.named_parameters())
    like: dict[str, Tensor] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 not a dict
                if key in like:
                    continue
                p = parameters[key.rpartition("/")[0]]
                alone = file.get_slice(key).get_shape() == [1] and p.numel() > 1
                like[key] = torch.zeros(1) if alone else torch.zeros_like(p, requires_grad=False)
    parallel.load_parts(like, folder)
    return like


def _named(
    model: Megabyte, optimizers: Optimizers
) -> Iterator[tuple[str, torch.optim.Optimizer, Tensor]]:
    names = {p: name for name, p in model.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for p in group["params"]:
                yield names[p], optimizer, p


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f"{folder.name}.{ending}")
