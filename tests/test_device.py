"""Devices are picked by what the machine has."""

import pytest
import torch

from codebyte.device import pick_device, training_dtype
from codebyte.errors import ConfigError


def test_without_a_name_the_fastest_kind_here_is_picked() -> None:
    if torch.cuda.is_available():
        expected = "cuda"
    elif torch.backends.mps.is_available():
        expected = "mps"
    else:
        expected = "cpu"
    assert pick_device() == torch.device(expected)


@pytest.mark.parametrize("name", ["cpu", torch.device("cpu")])
def test_a_named_device_is_taken(name: str | torch.device) -> None:
    assert pick_device(name) == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "abacus", "cuda:x"])
def test_an_unknown_device_is_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"device '{name}' is not known; here are: .*cpu"):
        pick_device(name)


@pytest.mark.parametrize("name", ["cuda:99", "xpu", "meta"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}' is not on this machine"):
        pick_device(name)


def test_a_cpu_trains_in_bfloat16_only_if_it_has_the_instructions() -> None:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        pytest.skip("this system does not list its processor's instructions in /proc/cpuinfo")
    expected = torch.bfloat16 if {"amx_tile", "avx512_bf16"} & set(flags) else torch.float32
    assert training_dtype(torch.device("cpu")) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_from_ampere_on_trains_in_bfloat16() -> None:
    expected = torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float32
    assert training_dtype(torch.device("cuda")) == expected
