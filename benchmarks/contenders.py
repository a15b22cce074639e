"""The models that are compared: MEGABYTE-pytorch 0.3.6, and ours of the same size and context."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import nn

import codebyte
from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import CheckpointError, CodebyteError
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS

CONTEXT = 2048
PATCH = 8
LARGEST_DIFFERENCE = 0.05  # of parameter counts that are called the same


def theirs(context: int = CONTEXT, *, flash: bool = True) -> nn.Module:
    """MEGABYTE-pytorch with about 20 million parameters, two levels, patches of 8 bytes.

    Without `pos_emb`, its default, no weight depends on the context. NUL is data: pad_id is 256.
    """
    from MEGABYTE_pytorch import MEGABYTE

    return MEGABYTE(
        num_tokens=257,
        dim=(384, 192),
        depth=(8, 4),
        max_seq_len=(context // PATCH, PATCH),
        pad_id=256,
        flash_attn=flash,
    )


def ours_by_parameters() -> ModelConfig:
    """The packaged model's design with n-gram tables that bring it to theirs' parameter count."""
    config = replace(PRESETS["small"], context=CONTEXT)
    with torch.device("meta"):
        wanted = sizes(theirs())["parameters"]
        without = sizes(Megabyte(replace(config, ngram_buckets=1)))["parameters"]
    row = len(config.ngrams) * config.ngram_dim
    return replace(config, ngram_buckets=1 + round((wanted - without) / row))


def ours_by_layers() -> ModelConfig:
    """The same design so wide and deep that the parameters outside tables are as many as theirs."""
    byte_level, patch_level = PRESETS["small"].levels
    levels: tuple[LevelConfig, ...] = (
        replace(byte_level, dim=256),
        replace(patch_level, dim=384, layers=10),
    )
    return replace(PRESETS["small"], context=CONTEXT, levels=levels)


def sizes(model: nn.Module) -> dict[str, int]:
    """How many numbers a model learns, and how many of them are in tables that are looked up."""
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "in_tables": sum(table.numel() for table in tables),
    }


def forward_flops(model: nn.Module, run: Callable[[], Any]) -> int:
    """Floating-point operations of one pass, counted as it runs.

    Two for each weight of a linear layer and each place that goes through it; four for each channel
    of causal attention and each pair of places of which one sees the other. A training step has
    three times as many. Lookups, convolutions, norms and the optimizer are not counted.

    Args:
        model: ours or theirs; its attention layers have a `to_out`.
        run: calls the model once.
    """
    total = 0

    def linear(module: nn.Linear, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        total += 2 * module.weight.numel() * (inputs[0].numel() // module.in_features)

    def attention(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        rows, n, _ = inputs[0].shape
        total += 4 * module.to_out.in_features * rows * (n * (n + 1) // 2)

    hooks = [
        module.register_forward_hook(linear if isinstance(module, nn.Linear) else attention)
        for module in model.modules()
        if isinstance(module, nn.Linear) or isinstance(getattr(module, "to_out", None), nn.Linear)
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return total


def load_ours(checkpoint: str | None, device: str | None = None) -> tuple[Megabyte, str]:
    """A model and what to say of it: the checkpoint's, the packaged one, or else a random one."""
    try:
        model = codebyte.load(checkpoint, device)
        text = (
            f"{checkpoint or 'the packaged model'}, {model.num_parameters() / 1e6:.1f}M parameters"
        )
    except CheckpointError as error:
        if checkpoint is not None:
            fail(error)
        torch.manual_seed(1)
        model = Megabyte(PRESETS["small"]).eval()
        if device is not None:
            model = model.to(device)
        text = "an untrained model of preset small, since there is no packaged one"
    return model, text


def fail(error: CodebyteError | str) -> NoReturn:
    """Ends the program with one line."""
    sys.exit(f"{sys.argv[0]}: {error}")
