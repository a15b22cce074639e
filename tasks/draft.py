"""From bytes as a model gives them to the completion that is shown, piece by piece.

byte, byte, ... -> stops.py (what is safe to show, where it ends) -> Piece, Piece, ...
                -> filters.py (what the suffix already says)      -> Completion
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from codebyte.sampling import whole_characters
from codebyte.tasks import filters, stops
from codebyte.tasks.caret import HEAD, Caret, caret_between
from codebyte.tasks.recalled import Recalled
from codebyte.tasks.rulers import at_ruler

_NEWLINE = ord("\n")

Steps = Generator[tuple[int, float], None, str]  # bytes and their bits; returns why they end


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The next bytes of a completion: whole characters, never taken back."""

    text: bytes
    bits: NDArray[np.float32]  # (len(text),), surprise of each byte


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """What belongs at the caret, and how it came to end."""

    text: bytes
    bits: NDArray[np.float32]  # (len(text),), surprise of each byte: -log2 p
    # What ended it: "eot" the model, "line" or "block" the shape of the code, "suffix" that what
    # follows was repeated, "stop" a stop string, "budget" or "time" a limit, "cancel" the caller.
    stop_reason: str
    replace_suffix_bytes: int = 0  # closing brackets after the caret that the text replaces
    cached: int = 0  # ids of the prompt that the model remembered
    recalled: tuple[Recalled, ...] = ()  # lines of the repository that foretold it


def shaped(
    steps: Steps,
    prefix: bytes,
    suffix: bytes,
    *,
    several: bool,
    stop: Sequence[bytes] = (),
    characters: bool = True,
) -> Generator[Piece, None, Completion]:
    """Ends a completion where the code wants it, and takes off what follows the caret anyway.

    Args:
        steps: the bytes of a model; closed at the end.
        prefix: before the caret.
        suffix: after it.
        several: whether there may be several lines.
        stop: strings to end before.
        characters: whether the bytes are UTF-8, of which no part of a character is shown.
    """
    caret = caret_between(prefix, suffix)
    stop = [text.replace(b"\r\n", b"\n").replace(b"\n", caret.newline) for text in stop]
    draft = _Draft(caret.newline)
    rules = [*_plain_rules(stop, characters), *_shape_rules(caret, prefix, suffix, several)]
    reason = yield from draft.follow(steps, rules)
    text = draft.text[: whole_characters(draft.text)] if characters else draft.text
    if reason in ("block", "budget", "cancel"):
        text = filters.without_open_line(text)
    text = text.rstrip(b"\r")
    kept = filters.without_repeat(filters.without_next_line(text, caret), suffix, caret)
    if len(kept) > draft.shown:
        yield draft.show(len(kept))
    replaced = filters.closers_replaced(prefix, draft.text[: draft.shown], suffix)
    return draft.completion("suffix" if len(kept) < len(text) else reason, replaced)


def plain(
    steps: Steps, *, stop: Sequence[bytes] = (), characters: bool = True
) -> Generator[Piece, None, Completion]:
    """Leaves the bytes as they come, up to a stop string; the arguments are those of `shaped`."""
    draft = _Draft(None)
    reason = yield from draft.follow(steps, _plain_rules(stop, characters))
    end = whole_characters(draft.text) if characters else len(draft.text)
    if end > draft.shown:
        yield draft.show(end)
    return draft.completion(reason, 0)


def _plain_rules(stop: Sequence[bytes], characters: bool) -> list[stops.Rule]:
    strings = partial(stops.at_stop_string, stops=stop)
    return [strings, stops.at_character] if characters else [strings]


def _shape_rules(caret: Caret, prefix: bytes, suffix: bytes, several: bool) -> list[stops.Rule]:
    rules: list[stops.Rule] = [
        stops.at_loop,
        partial(at_ruler, prefix=prefix, suffix=suffix),
        partial(stops.at_next_line, caret=caret),
        partial(stops.at_rest_of_line, suffix=suffix[:HEAD], caret=caret),
    ]
    if not several:
        return [stops.at_line_end, *rules]
    blocks = (stops.at_block_end, stops.at_third_repeat)
    return [*(partial(rule, caret=caret) for rule in blocks), stops.at_wrapped_loop, *rules]


class _Draft:
    """The bytes so far, and how many of them are shown.

    Args:
        newline: what a line shall end with; None to leave line ends as they come.
    """

    def __init__(self, newline: bytes | None) -> None:
        self.shown = 0
        self._newline = newline
        self._text = bytearray()
        self._bits: list[float] = []

    @property
    def text(self) -> bytes:
        return bytes(self._text)

    def follow(self, steps: Steps, rules: Sequence[stops.Rule]) -> Generator[Piece, None, str]:
        """Yields what the rules let out, until one of them or the steps end the text.

        Returns:
            Why it ended.
        """
        try:
            while True:
                self._add(*next(steps))
                verdict = stops.judge(self.text, rules)
                if verdict.reason is not None:
                    steps.close()
                    end = max(verdict.safe, self.shown)
                    del self._text[end:], self._bits[end:]
                    return verdict.reason
                if verdict.safe > self.shown:
                    yield self.show(verdict.safe)
        except StopIteration as end_of_steps:
            return str(end_of_steps.value)

    def show(self, end: int) -> Piece:
        """Gives out the bytes up to `end`."""
        start, self.shown = self.shown, end
        return Piece(bytes(self._text[start:end]), np.array(self._bits[start:end], np.float32))

    def completion(self, reason: str, replaced: int) -> Completion:
        """All that was given out."""
        bits = np.array(self._bits[: self.shown], np.float32)
        return Completion(bytes(self._text[: self.shown]), bits, reason, replaced)

    def _add(self, byte: int, bits: float) -> None:
        if byte != _NEWLINE or self._newline is None:
            self._text.append(byte)
            self._bits.append(bits)
            return
        while self._text.endswith(b"\r"):
            bits += self._bits.pop()
            del self._text[-1]
        self._text += self._newline
        self._bits += [bits, 0.0][: len(self._newline)]  # the second byte comes by itself
