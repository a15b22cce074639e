"""Which device to compute on, and in which number format to train there."""

import torch

from codebyte.errors import ConfigError


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """Gives the device named, or the fastest one here: CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: if the name is not a device, or that device is not here.
    """
    if name is None:
        return torch.device(_kinds()[0])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"device {str(name)!r} is not known; here are: {', '.join(_kinds())}"
        ) from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in _kinds() or (device.index or 0) >= count:
        raise ConfigError(
            f"device {str(name)!r} is not on this machine; here are: {', '.join(_kinds())}"
        )
    return device


def training_dtype(device: torch.device) -> torch.dtype:
    """Gives bfloat16 where the device multiplies it faster than float32, else float32.

    A CPU without AMX or AVX512-BF16 computes bfloat16 by converting to float32 and back.
    """
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere and later
    elif device.type == "cpu":
        fast = _cpu_has("_is_amx_tile_supported") or _cpu_has("_is_avx512_bf16_supported")
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def _kinds() -> list[str]:
    """The kinds of device on this machine, fastest first."""
    kinds = ["cpu"]
    if torch.backends.mps.is_available():
        kinds.insert(0, "mps")
    if torch.cuda.is_available():
        kinds.insert(0, "cuda")
    return kinds


def _cpu_has(probe: str) -> bool:
    """Whether one of torch's private probes says yes; one that torch no longer has says no."""
    asked = getattr(torch.cpu, probe, None)
    return bool(asked()) if callable(asked) else False
