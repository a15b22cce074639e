"""A prompt cache: the state of what was fed last, and marks to go back to.

The next prompt is fed from where it differs, so that one more byte typed costs one more step:

    fed       d e f _ a d d ( a | , _ b ) :     prompt, then what was generated
    marks     ^               ^ ^
    next      d e f _ a d d ( a )               goes back to the last mark, feeds one byte
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from codebyte.config import SamplingParams
from codebyte.drafts import Draft, Guesser, PromptLookup, Verifier
from codebyte.errors import InputError
from codebyte.megabyte import Megabyte, State
from codebyte.sampling import Sampler, bits_of, until_stop
from codebyte.vocab import EOT

Cancel = Callable[[], bool]
# (n, v) logits of n places in a row, the output before the last of them -> (n, v)
Change = Callable[[NDArray[np.float32], bytes], NDArray[np.float32]]
# (n + 1, v) logits along a guess of n bytes -> ids and their bits, as far as the guess was right
Decide = Callable[[NDArray[np.float32], bytes], list[tuple[int, float]]]
Prompt = bytes | Sequence[int]

CHUNK = 512  # ids fed at once, with a mark after them: by 256, a prompt takes a third longer
KEPT = 256  # of the marks that keystrokes left, those at its multiples stay
BACK = 16  # ids before the end of a prompt where there is a mark, for a few bytes taken back
MOST_MARKS = 128
NEWLINE = ord("\n")
PROMPT_LOOKUP = PromptLookup()


class Decoder:
    """A prompt cache over one state of one row. For one user at a time, not for several threads.

    Args:
        model: any Megabyte.
        state: of one row, to go on from.
        draft: guesses what comes, to write the same text sooner; None writes byte by byte.
    """

    def __init__(
        self,
        model: Megabyte,
        *,
        state: State | None = None,
        draft: Draft | None = PROMPT_LOOKUP,
    ) -> None:
        self.model = model
        self.draft = draft
        self.cached = 0  # ids of the last prompt that did not have to be fed
        self._request = 0
        self._begin(state)

    @property
    def room(self) -> int:
        """How many more ids can be fed."""
        return self.model.config.context - 1 - self._before - len(self._ids)

    @torch.inference_mode()
    def _begin(self, state: State | None = None) -> None:
        self._state = self.model.init_state() if state is None else state
        self._before = int(self._state.length[0])  # ids that a given state came with
        self._ids: list[int] = []  # all that was fed since: a prompt, and output after it
        self._text = bytearray()  # the same, with one byte for any special
        self._prompt = 0  # how many of them are the prompt
        self._marks: list[tuple[int, State]] = []  # by rising number of ids
        self._mark()

    def prefill(self, ids: Prompt, *, cancel: Cancel | None = None) -> bool:
        """Makes `ids` the prompt, feeding only what differs from what was fed last.

        Args:
            ids: bytes or ids; fewer than the context.
            cancel: asked between chunks; what was fed until then is kept for the next prompt.

        Returns:
            Whether all of the prompt was fed.

        Raises:
            InputError: if there are too many ids or unknown ones.
        """
        self._request += 1
        ids = list(ids)
        check_ids(ids, self.model.config.vocab_size)
        most = self.model.config.context - 1 - self._before
        if len(ids) > most:
            raise InputError(f"a prompt of {len(ids)} ids is too long, it may have at most {most}")
        same = _same(self._ids, ids)
        if same < len(self._ids):
            self._go_back(same)
        self.cached = len(self._ids)
        while len(self._ids) < len(ids):
            if cancel is not None and cancel():
                break
            start = len(self._ids)
            end = min((start // CHUNK + 1) * CHUNK, len(ids))
            if start < len(ids) - BACK < end:
                end = len(ids) - BACK
            self._feed(ids[start:end])
            self._mark()
        if self._marks[-1][0] < len(self._ids):  # the prompt is what was generated
            self._mark()
        self._prompt = len(self._ids)
        return self._prompt == len(ids)

    def generate(self, params: SamplingParams, *, cancel: Cancel | None = None) -> Iterator[bytes]:
        """Gives what follows the prompt, as the function `generate` does."""
        steps = self.decode(Sampler(params), params.max_new_bytes, cancel=cancel)
        return until_stop((byte for byte, _ in steps), params.stop)

    def decode(
        self,
        choose: Sampler,
        most: int,
        *,
        cancel: Cancel | None = None,
        change: Change | None = None,
    ) -> Generator[tuple[int, float], None, str]:
        """Yields each byte that follows the prompt, with its surprise in bits.

        Prompt and output stay in the cache, for a next prompt that goes on from there. A later use
        of this decoder ends the stream.

        Args:
            choose: says which id comes next.
            most: bytes.
            cancel: asked between bytes; True ends the output.
            change: gives other logits for the model's, as a mixer does. It is also asked about
                places along a guess that turns out wrong.

        Returns:
            Why it ended: "eot", "budget" or "cancel".
        """
        self._request += 1
        request = self._request
        if self._prompt < len(self._ids):
            self._go_back(self._prompt)
        output = bytearray()
        guesser = Guesser(self.draft)

        def decide(rows: NDArray[np.float32], guess: bytes) -> list[tuple[int, float]]:
            if change is not None:
                rows = change(rows, bytes(output) + guess)
            found: list[tuple[int, float]] = []
            for logits in rows:
                byte = choose(logits)
                if byte != EOT:
                    output.append(byte)
                found.append((byte, bits_of(logits, byte)))
                if len(found) > len(guess) or byte != guess[len(found) - 1]:
                    break
            return found

        decoder = self
        decided: list[tuple[int, float]] = []  # and not yielded yet, the next one last
        byte = EOT
        for count in range(most):
            if request != self._request or (cancel is not None and cancel()):
                return "cancel"
            if not decided:
                if count:
                    decoder, decided = decoder._after(byte, guesser, decide, most - count - 1)
                else:
                    decided = decide(decoder._state.logits.detach().cpu().numpy(), b"")
            byte, bits = decided.pop()
            if byte == EOT:
                return "eot"
            yield byte, bits
        return "budget"

    @torch.inference_mode()
    def bits(self, text: bytes, *, change: Change | None = None) -> NDArray[np.float32]:
        """Surprise of what may come after the prompt and each byte of a text; the prompt stays.

        Args:
            text: at most as long as there is room for.
            change: as for `decode`.

        Returns:
            (n + 1, v), -log2 p of every id: first in place of the first byte, last after all.
        """
        if self._prompt < len(self._ids):
            self._go_back(self._prompt)
        rows = self._state.logits
        if text:
            rest = self.model.step(torch.tensor([list(text)]), self._state.snapshot())[0]
            rows = torch.cat([rows, rest])
        if change is not None:
            rows = torch.from_numpy(change(rows.float().cpu().numpy(), text))
        bits: NDArray[np.float32] = (rows.float().log_softmax(-1) / -math.log(2)).cpu().numpy()
        return bits

    @torch.inference_mode()
    def _after(
        self, byte: int, guesser: Guesser, decide: Decide, most: int
    ) -> "tuple[Decoder, list[tuple[int, float]]]":
        """Feeds a byte and those guessed after it that turn out right.

        In a full context it feeds a decoder of its own that knows the last half.

        Returns:
            The decoder to go on with; what was decided after the byte, the first one last.
        """
        if self.room <= 0:
            other = Decoder(self.model, draft=self.draft)
            other.prefill([*self._ids, byte][-max(1, self.model.config.context // 2) :])
            return other, decide(other._state.logits.detach().cpu().numpy(), b"")
        guess = guesser.guess(bytes(self._text) + bytes((byte,)), min(most, self.room - 1))
        ids = [byte, *guess]
        try:
            verifier = Verifier(self.model, self._state, ids)
            decided = decide(verifier.logits, guess)
            kept = ids[: len(decided)]
            if byte == NEWLINE:
                verifier.accept(1)
                self._note(kept[:1])
                self._mark()  # where what is taken of the output may end
                kept = kept[1:]
            if kept:
                verifier.accept(len(decided))
                self._note(kept)
                if kept[-1] == NEWLINE:  # of a guess only the last byte may be one
                    self._mark()
        except BaseException:  # a half-fed state is of no use
            self._begin()
            raise
        if guess:
            guesser.learn(len(guess), len(decided) - 1)
        return self, decided[::-1]

    @torch.inference_mode()
    def _feed(self, ids: list[int]) -> None:
        try:
            self.model.step(torch.tensor([ids]), self._state)
        except BaseException:  # a half-fed state is of no use
            self._begin()
            raise
        self._note(ids)

    def _note(self, ids: list[int]) -> None:
        self._ids += ids
        self._text += bytes(min(i, 255) for i in ids)

    @torch.inference_mode()
    def _mark(self) -> None:
        self._marks.append((len(self._ids), self._state.snapshot()))
        if len(self._marks) > MOST_MARKS:  # of those that keystrokes and newlines left, the oldest
            places = [i for i in range(1, MOST_MARKS) if self._marks[i][0] != self._prompt]
            oldest = (i for i in places if self._marks[i][0] % KEPT)
            del self._marks[next(oldest, places[0])]

    @torch.inference_mode()
    def _go_back(self, length: int) -> None:
        while self._marks[-1][0] > length:
            self._marks.pop()
        marked, snapshot = self._marks[-1]
        self._state = snapshot.snapshot()  # the mark stays as it is
        del self._ids[marked:], self._text[marked:]


def check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """Refuses ids that a model does not know.

    Raises:
        InputError: if one is out of range.
    """
    if ids and not 0 <= min(ids) <= max(ids) < vocab_size:
        wrong = next(i for i in ids if not 0 <= i < vocab_size)
        raise InputError(f"id {wrong} of the prompt must be from 0 to {vocab_size - 1}")


def _same(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
