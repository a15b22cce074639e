"""What a model costs: arithmetic per byte, memory and hours in training.

Formulas, not measurements: a matrix of m n numbers takes 2 m n operations per place forward and
twice that backward; attention takes 4 d operations per place and place seen, half of which are
ahead and masked. `benchmarks/scaling.py` prints them for the presets.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from codebyte.config import LevelConfig, ModelConfig
from codebyte.layers import Stack
from codebyte.megabyte import Megabyte
from codebyte.sparse import Pattern

WORD_PATCH = 7.2  # bytes per word patch, measured over 2 MB of validation Python
# numbers that a block keeps of each place for the backward pass, over its width
KEPT = {"attention": 19, "conv": 11}
KEPT_OUTSIDE = 5  # the same of what stands before and after the byte level's blocks


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
    return layer * _layers(level)


def num_parameters(config: ModelConfig) -> int:
    """How many numbers a model of this shape learns; builds none of them."""
    return _on_paper(config).num_parameters()


def training_bytes(config: ModelConfig) -> int:
    """Memory in float32 for weights, gradients and optimizer; activations come on top."""
    model = _on_paper(config)
    by_muon = sum(p.numel() for p in _block_matrices(model))
    return 4 * (4 * (model.num_parameters() - by_muon) + 3 * by_muon)


def activation_bytes(config: ModelConfig, *, number: int = 4) -> float:
    """Memory for each byte of a batch between the forward and the backward pass, no recompute.

    Args:
        config: of a model of wiring "context".
        number: bytes of a number: 4, or 2 in bfloat16.
    """
    total: float = config.vocab_size + KEPT_OUTSIDE * config.levels[0].dim
    for level, size in zip(config.levels, bytes_per_place(config), strict=True):
        total += KEPT[level.mixing] * level.dim * _layers(level) / size
    return number * total


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Processors that train one model together."""

    processors: int = 1
    peak: float = 989e12  # operations a second of one (an H100's in bfloat16, by its data sheet)
    share: float = 0.35  # of the peak that is reached; an assumption, not measured here
    price: float = 2.5  # of an hour of one; likewise

    def hours(self, config: ModelConfig, num_bytes: float) -> float:
        """How long it takes to train on so many bytes, each read once."""
        operations = 3 * flops_per_byte(config) * num_bytes
        return operations / (self.processors * self.peak * self.share) / 3600

    def cost(self, config: ModelConfig, num_bytes: float) -> float:
        """What that costs."""
        return self.hours(config, num_bytes) * self.processors * self.price

    def memory(self, config: ModelConfig, held: int, *, shared: bool) -> float:
        """Bytes of memory of one processor, with activations in bfloat16.

        Args:
            config: of the model.
            held: bytes of text that it works on at once.
            shared: whether each holds a part of the weights; the largest block's come together.
        """
        state: float = training_bytes(config)
        if shared:
            widest = max(_matrix_numbers(level) / _layers(level) for level in config.levels)
            tables = len(config.ngrams) * config.ngram_buckets * config.ngram_dim
            state = state / self.processors + 2 * 4 * max(widest, tables)
        return state + held * activation_bytes(config, number=2)


def _layers(level: LevelConfig) -> int:
    return level.encoder_layers + level.layers


def _block_matrices(model: nn.Module) -> Iterator[torch.Tensor]:
    for stack in model.modules():
        if isinstance(stack, Stack):
            yield from (m.weight for m in stack.modules() if isinstance(m, nn.Linear))


def _on_paper(config: ModelConfig) -> Megabyte:
    with torch.device("meta"):
        return Megabyte(config)
