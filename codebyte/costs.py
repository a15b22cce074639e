"""What a model costs: arithmetic per byte, and memory in training.

Formulas, not measurements: a matrix of m n numbers takes 2 m n operations per place forward and
twice that backward; attention takes 4 d operations per place and place seen, half of which are
ahead and masked.
"""

from collections.abc import Iterator

import torch
from torch import nn

from codebyte.config import LevelConfig, ModelConfig
from codebyte.layers import Stack
from codebyte.megabyte import Megabyte
from codebyte.sparse import Pattern

WORD_PATCH = 7.2  # bytes per word patch, measured over 2 MB of validation Python


def bytes_per_place(config: ModelConfig) -> list[float]:
    """How many bytes one place of each level stands for, the finest level first."""
    sizes = [1.0]
    for i, level in enumerate(config.levels[:-1]):
        by_word = i == 0 and config.patching == "word"
        sizes.append(sizes[-1] * (WORD_PATCH if by_word else level.patch_size))
    return sizes


def flops_per_byte(config: ModelConfig) -> float:
    """Operations forward for each byte of a row of full length; training takes thrice that."""
    sizes = bytes_per_place(config)
    total = 0.0
    for i, (level, size) in enumerate(zip(config.levels, sizes, strict=True)):
        total += 2 * _matrix_numbers(level) / size
        if level.mixing == "attention":
            places = config.context / size
            if config.wiring == "paper" and i < len(config.levels) - 1:
                places = level.patch_size
            layers = range(level.encoder_layers + level.layers)
            seen = sum(Pattern.of(level, layer).places_seen(places) for layer in layers)
            total += 4 * level.dim * seen / size
        if i + 1 < len(config.levels):  # to the level above and back
            total += 2 * 3 * level.dim * config.levels[i + 1].dim / sizes[i + 1]
    total += 2 * config.levels[0].dim * config.vocab_size
    if config.ngrams:
        total += 2 * config.ngram_dim * config.levels[0].dim
    return total


def _matrix_numbers(level: LevelConfig) -> int:
    mixing = 4 * level.dim**2 if level.mixing == "attention" else 4 * level.dim
    layer = mixing + 2 * level.ff_mult * level.dim**2
    return layer * (level.encoder_layers + level.layers)


def num_parameters(config: ModelConfig) -> int:
    """How many numbers a model of this shape learns; builds none of them."""
    return _on_paper(config).num_parameters()


def training_bytes(config: ModelConfig) -> int:
    """Memory in float32 for weights, gradients and optimizer; activations come on top."""
    model = _on_paper(config)
    by_muon = sum(p.numel() for p in _block_matrices(model))
    return 4 * (4 * (model.num_parameters() - by_muon) + 3 * by_muon)


def _block_matrices(model: nn.Module) -> Iterator[torch.Tensor]:
    for stack in model.modules():
        if isinstance(stack, Stack):
            yield from (m.weight for m in stack.modules() if isinstance(m, nn.Linear))


def _on_paper(config: ModelConfig) -> Megabyte:
    with torch.device("meta"):
        return Megabyte(config)
