"""From a prompt to bytes: `generate` for one, `generate_batch` for many at once.

prompt -> prefill -> logits -> chosen byte -> step -> logits -> ...
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from codebyte.config import SamplingParams
from codebyte.decoder import CHUNK, PROMPT_LOOKUP, Cancel, Decoder, Prompt, check_ids
from codebyte.drafts import Draft
from codebyte.megabyte import Megabyte, State
from codebyte.sampling import Sampler
from codebyte.vocab import EOT

__all__ = ["Decoder", "generate", "generate_batch"]


def generate(
    model: Megabyte,
    prompt: Prompt,
    params: SamplingParams,
    *,
    state: State | None = None,
    cancel: Cancel | None = None,
    draft: Draft | None = PROMPT_LOOKUP,
) -> Iterator[bytes]:
    """Gives what follows the prompt, bytes as soon as it is certain that they stay.

    Once prompt and output fill the model's context, their last half takes its place.

    Args:
        model: any Megabyte.
        prompt: bytes, or ids where specials are needed; of a longer one the end is read.
        params: how to choose and when to stop; a stop string is not part of the output.
        state: of one row, to go on from; changed in place as long as it has room.
        cancel: asked between bytes; True ends the output.
        draft: guesses what comes, to write the same text sooner; None writes byte by byte.
    """
    if state is not None and int(state.length[0]) + len(prompt) >= model.config.context:
        state = None
    decoder = Decoder(model, state=state, draft=draft)
    if decoder.prefill(cropped(prompt, model.config.context, params.max_new_bytes), cancel=cancel):
        yield from decoder.generate(params, cancel=cancel)


def generate_batch(
    model: Megabyte, prompts: Sequence[Prompt], params: SamplingParams | Sequence[SamplingParams]
) -> list[bytes]:
    """Gives the whole output for each prompt, the same as one by one, in fewer steps.

    Args:
        model: any Megabyte.
        prompts: of any lengths.
        params: for all, or one for each.
    """
    settings = [params] * len(prompts) if isinstance(params, SamplingParams) else list(params)
    rows = [_Row(model, prompt, setting) for prompt, setting in zip(prompts, settings, strict=True)]
    if rows:
        _run(model, rows)
    return [bytes(row.output) for row in rows]


def cropped(prompt: Prompt, context: int, wanted: int) -> list[int]:
    """The prompt, or of one that does not fit its end, at least half a context long.

    Args:
        prompt: bytes or ids.
        context: ids the model was trained on.
        wanted: ids to come, which get room if they fit.
    """
    ids = list(prompt)
    return ids if len(ids) < context else ids[-max(context // 2, context - 1 - wanted) :]


class _Row:
    """One prompt of a batch and its output so far."""

    def __init__(self, model: Megabyte, prompt: Prompt, params: SamplingParams) -> None:
        self.ids = cropped(prompt, model.config.context, params.max_new_bytes)
        check_ids(self.ids, model.config.vocab_size)
        self.output = bytearray()
        self._params = params
        self._choose = Sampler(params)

    def take(self, logits: Tensor) -> bool:
        """Chooses the next byte; False if the row has ended."""
        if len(self.output) == self._params.max_new_bytes:
            return False
        byte = self._choose(logits.numpy())
        return byte != EOT and self._add(byte)

    def finish(self, model: Megabyte) -> None:
        """Decodes the rest by itself, from the last half of what a context holds."""
        decoder = Decoder(model)
        recent = [*self.ids, *self.output][-max(1, model.config.context // 2) :]
        decoder.prefill(recent)
        left = self._params.max_new_bytes - len(self.output)
        for byte, _ in decoder.decode(self._choose, left):
            if not self._add(byte):
                return

    def _add(self, byte: int) -> bool:
        self.output.append(byte)
        found = max((len(s) for s in self._params.stop if self.output.endswith(s)), default=0)
        del self.output[len(self.output) - found :]
        return not found


@torch.inference_mode()
def _run(model: Megabyte, rows: list[_Row]) -> None:
    state = model.init_state(len(rows))
    for i, row in enumerate(rows):
        for start in range(0, len(row.ids), CHUNK):
            model.step(torch.tensor([row.ids[start : start + CHUNK]]), state, torch.tensor([i]))
    active = list(range(len(rows)))
    while active:
        logits = state.logits.detach().cpu()
        going = [i for i in active if rows[i].take(logits[i])]
        full = [i for i in going if int(state.length[i]) + 1 >= model.config.context]
        for i in full:
            rows[i].finish(model)
        active = [i for i in going if i not in full]
        if active:
            last = [[rows[i].output[-1]] for i in active]
            model.step(torch.tensor(last), state, torch.tensor(active))
