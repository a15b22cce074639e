"""Weights trained by MEGABYTE-pytorch 0.3.6, as a model of this package."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import CheckpointError
from codebyte.megabyte import Megabyte


def from_lucidrains(
    weights: Mapping[str, Tensor], *, max_seq_len: Sequence[int], dim_head: int = 64
) -> Megabyte:
    """Gives a model with weights trained by MEGABYTE-pytorch 0.3.6, and the logits it had there.

    Its first id is predicted as it was trained to be, which is not what `forward_empty` gave there.

    Args:
        weights: the original's state dict, such as `torch.load(file, weights_only=True)` gives.
        max_seq_len: as the original was made with.
        dim_head: as the original was made with.

    Raises:
        CheckpointError: if the weights are not of such a model.
    """
    config = _config_of(weights, max_seq_len=tuple(max_seq_len), dim_head=dim_head)
    model = Megabyte(config)
    try:
        model.wiring.load_state_dict(dict(weights))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"these weights do not fit max_seq_len {max_seq_len} and dim_head {dim_head} ({reason})"
        ) from error
    return model.eval()


def _config_of(
    weights: Mapping[str, Tensor], *, max_seq_len: tuple[int, ...], dim_head: int = 64
) -> ModelConfig:
    """Reads the shape of a MEGABYTE-pytorch 0.3.6 model from its state dict.

    Args:
        weights: of `MEGABYTE.state_dict()`.
        max_seq_len: as the model was made with, coarsest first; the weights do not tell it.
        dim_head: as the model was made with.

    Raises:
        CheckpointError: if these are not weights of such a model.
    """
    try:
        levels = []
        for i, size in enumerate(max_seq_len):
            layer = f"transformers.{i}.layers.0."
            dim = weights[f"start_tokens.{i}"].shape[0]
            count = sum(
                f"transformers.{i}.layers.{n}.0.to_q.weight" in weights for n in range(len(weights))
            )
            levels.append(
                LevelConfig(
                    dim=dim,
                    layers=count,
                    head_dim=dim_head,
                    heads=weights[layer + "0.to_q.weight"].shape[0] // dim_head,
                    ff_mult=weights[layer + "1.1.weight"].shape[0] // dim,
                    patch_size=size,
                )
            )
        learned, rotary = "pos_embs.0.weight", "transformers.0.rotary_emb.inv_freq"
        return ModelConfig(
            levels=tuple(reversed(levels)),
            wiring="lucidrains",
            patching="fixed",
            positions=(*(["learned"] * (learned in weights)), *(["rotary"] * (rotary in weights))),
            context=math.prod(max_seq_len),
            vocab_size=weights["to_logits.weight"].shape[0],
        )
    except (KeyError, IndexError) as error:
        raise CheckpointError(
            f"these are not weights of MEGABYTE-pytorch 0.3.6 with max_seq_len {max_seq_len}: "
            f"{error} is missing"
        ) from error
