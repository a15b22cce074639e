"""Drafts: bytes that may well come next, read in one go and kept only as far as the model agrees.

    context     ... total = first + sec|
    draft                               ond)
    the model                           ond;    three were right, and the fourth is known too

What is written is what would have been written without drafts, to the last bit of every logit (see
fewbytes.py); a draft only decides how many bytes are read at once.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte.fewbytes import MOST, Tried
from codebyte.hierarchy import ContextState, ContextWiring
from codebyte.megabyte import Megabyte, State

LENGTHS = (24, 12, 7)  # bytes that must stand before, tried in turn; shorter ones mislead
FIRST, FEWEST = 8, 4  # bytes of a first draft, and of one after a wrong one
MOST_PAUSE = 64  # bytes without a draft after many wrong ones


class Draft(Protocol):
    """Says what may come next."""

    def propose(self, context: bytes, most: int) -> bytes:
        """Gives at most `most` bytes that may follow the context; b"" for no idea."""


class PromptLookup:
    """What followed the last bytes when they stood before: in the context, else in other texts."""

    def __init__(self, texts: Sequence[bytes] = ()) -> None:
        self._texts = texts

    def propose(self, context: bytes, most: int) -> bytes:
        """Gives what followed; text that repeats itself is taken to go on so."""
        for length in LENGTHS:
            if len(context) <= length:
                continue
            tail = context[-length:]
            at = context.rfind(tail, 0, len(context) - 1)
            if at >= 0:
                followed = context[at + length : at + length + most]
                return (followed * (most // len(followed) + 1))[:most]
            for text in self._texts:
                at = text.rfind(tail)
                if at >= 0 and at + length < len(text):
                    return text[at + length : at + length + most]
        return b""


class FirstOf:
    """Asks several sources in turn and takes the first proposal."""

    def __init__(self, *drafts: Draft) -> None:
        self._drafts = drafts

    def propose(self, context: bytes, most: int) -> bytes:
        """Gives the first source's proposal that is not empty."""
        return next((d for draft in self._drafts if (d := draft.propose(context, most))), b"")


class Guesser:
    """Decides when to ask for a draft, and for how much, by how the last ones fared.

    Reading bytes that are then thrown away takes time: after a wrong draft it waits, twice as long
    each time in a row, so that text that cannot be guessed costs next to nothing.
    """

    def __init__(self, draft: Draft | None) -> None:
        self._draft = draft
        self._most = FIRST
        self._wrong = self._pause = 0

    def guess(self, context: bytes, room: int) -> bytes:
        """Gives a draft of at most `room` bytes, to the end of a line at most."""
        if self._draft is None or room <= 0:
            return b""
        if self._pause:
            self._pause -= 1
            return b""
        found = self._draft.propose(context, min(self._most, room))
        return found[: found.find(b"\n") + 1] or found

    def learn(self, guessed: int, right: int) -> None:
        """Says how many bytes of the last draft were right."""
        if right == guessed:
            self._most = min(MOST - 1, 2 * max(self._most, FIRST))
            self._wrong = 0
        elif right:
            self._most = max(FEWEST, right + FEWEST)
            self._wrong = 0
        else:
            self._most = FEWEST
            self._wrong += 1
            self._pause = min(MOST_PAUSE, 2**self._wrong)


class Verifier:
    """Reads bytes into a state of one row so that they may be taken back."""

    def __init__(self, model: Megabyte, state: State, ids: Sequence[int]) -> None:
        self._model, self._state, self._ids = model, state, list(ids)
        self._tried: Tried | None = None
        if isinstance(model.wiring, ContextWiring) and isinstance(state, ContextState):
            self._tried = model.wiring.try_(ids, state)
        self.logits: NDArray[np.float32]  # (n, v), after each
        if self._tried is not None:
            self.logits = self._tried.logits
            return
        self._base = state.snapshot()
        logits = model.step(torch.tensor([self._ids]), state)
        self._whole = dict(vars(state))
        self.logits = logits[0].float().cpu().numpy()

    def accept(self, count: int) -> None:
        """Lets the first `count` ids stay in the state; again only with a larger number."""
        if self._tried is not None:
            self._tried.accept(count)
        elif count == len(self._ids):
            vars(self._state).update(self._whole)
        else:
            part = self._base.snapshot()
            self._model.step(torch.tensor([self._ids[:count]]), part)
            vars(self._state).update(vars(part))
