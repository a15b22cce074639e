r"""Log-probabilities in the form OpenAI's clients read, one byte a token.

A byte below 128 is shown as its character, any other as the text `bytes:\xNN`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte.errors import InputError
from codebyte.megabyte import Megabyte
from codebyte.vocab import NUM_BYTES


@torch.inference_mode()
def logprobs_of(
    model: Megabyte, ids: Sequence[int], shown: bytes, *, top: int
) -> dict[str, list[Any]]:
    """Scores the bytes shown, which are the last of ids.

    Args:
        model: any Megabyte.
        ids: the prompt and what came after it.
        shown: what the client is told of; where it is all of ids, the first has no logprob.
        top: how many of the likeliest bytes to tell for each.

    Raises:
        InputError: if there are more ids than the model reads at once.
    """
    if len(ids) > model.config.context:
        raise InputError(
            f"logprobs are for at most {model.config.context} bytes of prompt and completion, "
            f"these are {len(ids)}"
        )
    found: list[float | None] = []
    likeliest: list[dict[str, float] | None] = []
    if shown:
        rows = model(torch.tensor([list(ids)]))[0, :-1].float().log_softmax(-1)[-len(shown) :]
        found = rows.gather(1, torch.tensor(list(shown))[:, None])[:, 0].tolist()
        for values, places in zip(*rows[:, :NUM_BYTES].topk(top), strict=True):
            likeliest.append(dict(zip(_tokens(places), values.tolist(), strict=True)))
        if len(shown) == len(ids):
            found[0] = likeliest[0] = None
    return _listed(shown, found, likeliest, 0)


def logprobs_from(bits: NDArray[np.float32], shown: bytes, offset: int) -> dict[str, list[Any]]:
    """Tells the surprise of the bytes of a stream, of which only the chosen ones are known.

    Args:
        bits: of each byte shown.
        shown: the bytes.
        offset: characters that were sent before.
    """
    found = (-math.log(2) * bits).tolist()
    return _listed(shown, found, [None] * len(shown), offset)


def _listed(
    shown: bytes, found: list[Any], likeliest: list[Any], offset: int
) -> dict[str, list[Any]]:
    starts = []
    for byte in shown:
        offset += byte & 0xC0 != 0x80  # every byte but a continuation begins a character
        starts.append(offset - 1)
    return {
        "tokens": _tokens(shown),
        "token_logprobs": found,
        "top_logprobs": likeliest,
        "text_offset": starts,
    }


def _tokens(data: Any) -> list[str]:
    return [chr(byte) if byte < 0x80 else f"bytes:\\x{byte:02x}" for byte in map(int, data)]
