"""Checkpoints: a folder with `model.safetensors` and `config.json`, enough to rebuild a model.

    config.json        {"format": 1, "model": the ModelConfig, "training": notes, may be empty}
    model.safetensors  the weights by name, as float32, bfloat16, float16 or int8

Reading runs no code from the files, and compares every shape with the file's header before it
allocates, so a damaged or hostile checkpoint costs an error and no memory.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from codebyte.config import ModelConfig
from codebyte.device import pick_device
from codebyte.errors import CheckpointError, ConfigError, InputError
from codebyte.megabyte import Megabyte
from codebyte.quantize import SCALE, STORED_AS, restored, stored

FORMAT = 1
CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"

_PICKLES = {".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"}
_FLOATS = {"F32", "BF16", "F16"}
_CONFIG_BYTES = 1 << 20  # far above any real config.json


def save(
    model: Megabyte,
    path: str | os.PathLike[str],
    *,
    quantize: str | None = None,
    training: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a checkpoint; at every moment the folder holds whole files, the old or the new ones.

    Args:
        model: on any device.
        path: a folder; made if missing, its other files are left alone.
        quantize: how weights are stored; None keeps float32. "int8" stores matrices and tables in
            one byte a number and the rest as bfloat16 (see codebyte/quantize.py).
        training: what to remember about how the model was made; values that JSON can hold.
        weights: by name, in place of the model's own, of which it may hold a part only.

    Raises:
        CheckpointError: if weights are NaN or infinite, or the folder cannot be written.
        ConfigError: for another `quantize`.
        InputError: for a model inside a wrapper (DDP, torch.compile).
    """
    if quantize not in (None, *STORED_AS):
        raise ConfigError(f"quantize {quantize!r} must be None, 'bfloat16' or 'int8'")
    if not isinstance(model, Megabyte):  # a wrapper's weights have names that load cannot find
        raise InputError(f"a {type(model).__name__} cannot be saved; give the Megabyte inside it")
    folder = Path(path).expanduser()
    config = {"format": FORMAT, "model": model.config.to_json(), "training": dict(training or {})}
    text = json.dumps(config, indent=2) + "\n"
    tensors: dict[str, Tensor] = {}
    for name, weight in (model.state_dict() if weights is None else weights).items():
        weight = weight.detach().cpu()
        if not weight.isfinite().all():
            raise CheckpointError(
                f"{name} holds NaN or infinity, so nothing was saved to {folder}; "
                "go back to an earlier checkpoint and train with lower rates"
            )
        tensors.update(stored(name, weight, quantize))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The last named takes its place first: where there is a config, its weights are there too.
        with _replacing(folder / CONFIG_NAME) as head, _replacing(folder / WEIGHTS_NAME) as body:
            head.write_text(text, encoding="utf-8")
            save_file(tensors, body, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} could not be written ({error}); give a folder with room"
        ) from error


def load(
    path: str | os.PathLike[str] | None = None, device: str | torch.device | None = None
) -> Megabyte:
    """Gives the model of a checkpoint, in float32 and ready for use (`eval` mode).

    Args:
        path: a folder that `save` wrote, or the `.safetensors` file in it; None for the packaged
            model.
        device: where to put it; None picks one.

    Raises:
        CheckpointError: if the checkpoint is missing, damaged, too new, or not one of codebyte's.
    """
    place = pick_device(device)
    config_path, weights_path = _locate(path)
    config = _model_config(_read_config(config_path), config_path)
    try:
        with safe_open(weights_path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 not a dict
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            types = {name: str(part.get_dtype()) for name, part in slices.items()}
            model = _outline(config, len(slices), config_path)
            _compare(model, shapes, types, weights_path)
            weights = {name: restored(name, file.get_tensor) for name in model.state_dict()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{weights_path} is cut short or is not a safetensors file ({error}); "
            "copy or train it again"
        ) from error
    model.load_state_dict(weights, assign=True)
    assert not any(buffer.is_meta for buffer in model.buffers()), "a buffer that is not saved"
    return model.to(place).eval()


def load_training(path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Gives the notes that `save` was given about how the model was made.

    Raises:
        CheckpointError: as for `load`; the weights are not read.
    """
    config_path, _ = _locate(path)
    notes = _read_config(config_path).get("training", {})
    return notes if isinstance(notes, dict) else {}


def _locate(path: str | os.PathLike[str] | None) -> tuple[Path, Path]:
    """The paths of the config and of the weights, both existing files."""
    if path is None:
        folder = Path(str(files("codebyte") / "weights"))
        if not (folder / WEIGHTS_NAME).is_file():
            raise CheckpointError(
                f"{folder / WEIGHTS_NAME}, the packaged model, is missing; "
                "install a released wheel, or give a checkpoint made by train_code.py"
            )
    else:
        folder = Path(path).expanduser()
    if folder.suffix.lower() in _PICKLES:
        raise CheckpointError(
            f"{folder} is of a kind that can run code when it is read, so codebyte does not; "
            f"give a folder with {WEIGHTS_NAME} and {CONFIG_NAME}"
        )
    weights = folder / WEIGHTS_NAME
    if folder.suffix.lower() == ".safetensors" and not folder.is_dir():
        folder, weights = folder.parent, folder
    for wanted in (weights, folder / CONFIG_NAME):
        if not wanted.is_file():
            raise CheckpointError(
                f"there is no checkpoint at {folder}: {wanted.name} is missing; "
                f"give a folder that codebyte.save wrote"
            )
    return folder / CONFIG_NAME, weights


def _read_config(path: Path) -> dict[str, Any]:
    """The whole config.json, its format known to be one that can be read."""
    foreign = f"{path} is not a codebyte config; give a folder that codebyte.save wrote"
    try:
        with path.open("rb") as file:
            text = file.read(_CONFIG_BYTES + 1)
        data = json.loads(text) if len(text) <= _CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(foreign) from error
    if not isinstance(data, dict):
        raise CheckpointError(foreign)
    version = data.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, newer than the {FORMAT} this codebyte reads; "
            "upgrade codebyte"
        )
    if version != FORMAT or not isinstance(data.get("model"), dict):
        raise CheckpointError(foreign)
    return data


def _model_config(data: dict[str, Any], path: Path) -> ModelConfig:
    try:
        return ModelConfig.from_json(data["model"])
    except ConfigError as error:
        raise CheckpointError(f"{path} describes no usable model: {error}") from error


def _outline(config: ModelConfig, num_tensors: int, path: Path) -> Megabyte:
    """The model without memory for its weights."""
    blocks = sum(level.encoder_layers + level.layers for level in config.levels)
    if blocks > num_tensors:
        raise CheckpointError(
            f"{path} describes {blocks} layers but the weights hold only {num_tensors} tensors; "
            "keep both files of one checkpoint together"
        )
    try:
        with torch.device("meta"), Undrawn():
            return Megabyte(config)
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"{path} describes no usable model: {error}") from error


class Undrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights.

    On the meta device torch imports its compiler for it: 800 modules, 70 MB and half the time of
    loading.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _compare(
    model: Megabyte, shapes: dict[str, tuple[int, ...]], types: dict[str, str], path: Path
) -> None:
    """Raises unless the file holds just the model's tensors, in their shapes and a known type."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in list(wanted):
        if types.get(name) == "I8":
            wanted[name + SCALE] = wanted[name][:-1]
    for name, shape in wanted.items():
        if name not in shapes:
            raise CheckpointError(
                f"{path} lacks the tensor {name}; keep {WEIGHTS_NAME} and {CONFIG_NAME} of one "
                "checkpoint together"
            )
        if shapes[name] != shape:
            raise CheckpointError(
                f"{path} has {name} in shape {shapes[name]} where {CONFIG_NAME} says {shape}; keep "
                "both files of one checkpoint together"
            )
        if types[name] not in _FLOATS and not (types[name] == "I8" and name + SCALE in wanted):
            raise CheckpointError(
                f"{path} has {name} as {types[name]}; "
                "weights must be float32, bfloat16, float16 or int8"
            )
    if unknown := sorted(shapes.keys() - wanted.keys()):
        raise CheckpointError(
            f"{path} has the tensor {unknown[0]}, for which {CONFIG_NAME} has no place; "
            "keep both files of one checkpoint together"
        )


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which replaces `path` at the end, or vanishes on an error."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.touch()
        mode = fresh.stat().st_mode
        yield fresh
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        fresh.chmod(mode)  # safetensors makes files that only their owner can read
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
