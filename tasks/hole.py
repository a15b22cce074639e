"""A hole in a text: the two prompts that tell of it, and what may stand there.

best_line.py and best_span.py write some texts, and choose by what the model makes of the whole.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codebyte.config import SamplingParams
from codebyte.decoder import Cancel, Change, Decoder
from codebyte.sampling import Sampler, whole_characters
from codebyte.tasks.draft import Steps

TAIL = 32  # bytes of the suffix that a text should lead to
BEHIND = 6.0  # bits: a text further behind the best, before the suffix is asked, does not catch up
_SHORTEST_COPY = 4  # bytes before the caret that must stand elsewhere too


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompted:
    """A prompt, and the cache that it is fed to."""

    decoder: Decoder
    ids: list[int]
    cancel: Cancel
    change: Change | None = None  # as for `Decoder.decode`

    @property
    def room(self) -> int:
        """How many ids fit after the prompt."""
        return self.decoder.model.config.context - 1 - len(self.ids)

    def read(self) -> bool:
        """Whether all of the prompt was read, or is known; not if cancelled."""
        return self.decoder.prefill(self.ids, cancel=self.cancel)

    def steps(self, choose: Sampler, most: int, start: bytes = b"") -> Steps:
        """Bytes that follow prompt and start, each with its bits; see `Decoder.decode`."""
        return self.decoder.decode(choose, most, cancel=self.cancel, change=self._after(start))

    def write(self, start: bytes, choose: Sampler, most: int, *, line: bool = False) -> bytes:
        """What the model writes after prompt and start, of at most so many bytes, with the start.

        Args:
            start: what it goes on from.
            choose: says which id comes next.
            most: bytes, without the start.
            line: whether it ends before a newline.
        """
        if line and start.endswith(b"\n"):
            return start[:-1]
        if not self.decoder.prefill([*self.ids, *start], cancel=self.cancel):
            return start
        text = bytearray(start)
        steps = self.steps(choose, most, start)
        for byte, _ in steps:
            if line and byte == ord("\n"):
                break
            text.append(byte)
        steps.close()
        return bytes(text)

    def bits(self, text: bytes, start: bytes = b"") -> NDArray[np.float32]:
        """Surprise of every id in place of each byte of the text, and after it, (n + 1, v).

        Args:
            text: after the start; may be empty.
            start: after the prompt.
        """
        self.decoder.prefill([*self.ids, *start])
        return self.decoder.bits(text, change=self._after(start))

    def _after(self, start: bytes) -> Change | None:
        """The change, told of a text that begins with the start."""
        change = self.change
        if change is None or not start:
            return change
        return lambda logits, output: change(logits, start + output)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hole:
    """What stands around, and how to write and score what may belong between.

    Args:
        middle: the prompt of prefix and suffix.
        plain: that of the prefix alone.
        prefix: before the hole, the end of it.
        suffix: after it, the beginning.
        most: bytes of a text.
        characters: whether the texts must be UTF-8.
        known: what the repository has after the same prefix.
    """

    middle: Prompted
    plain: Prompted
    prefix: bytes
    suffix: bytes
    most: int
    characters: bool
    known: bytes = b""
    followed: bool = field(init=False)  # whether the suffix says anything

    def __post_init__(self) -> None:
        object.__setattr__(self, "followed", self.middle.ids != self.plain.ids)

    @property
    def greedy(self) -> Sampler:
        """Chooses the likeliest bytes."""
        return Sampler(SamplingParams(), characters=self.characters)

    @property
    def room(self) -> int:
        """Longest text that can be scored with the suffix after it."""
        return max(0, min(self.middle.room, self.plain.room) - TAIL)

    def copies(self) -> list[bytes]:
        """Texts that stand elsewhere after what is before the hole, here or in the repository."""
        found = [*copies(self.prefix, self.suffix, self.most), self.known[: self.most]]
        return [text for text in found if text and (not self.characters or is_utf8(text))]


def copies(prefix: bytes, suffix: bytes, most: int) -> list[bytes]:
    r"""What followed the longest end of the prefix where it stands elsewhere: up to two texts.

    They are the nearest before the caret, and the first after it. For example `x = f(1)\ny = f(`
    has ` = f(` twice, and gives `1)\ny = f(`.
    """
    found: list[bytes] = []
    for where, find in ((prefix, bytes.rfind), (suffix, bytes.find)):
        place = -1
        for length in range(_SHORTEST_COPY, len(prefix)):
            end = len(where) - (where is prefix)
            at = find(where, prefix[-length:], 0, end)
            if at < 0:
                break
            place = at + length
        if place >= 0:
            found.append(where[place : place + most])
    return found


def is_utf8(text: bytes) -> bool:
    """Whether it is, but for the characters that are cut at its ends."""
    start = next((i for i, byte in enumerate(text[:4]) if byte & 0xC0 != 0x80), 0)
    try:
        text[start : whole_characters(text)].decode()
    except UnicodeDecodeError:
        return False
    return True


def bits_along(bits: NDArray[np.float32], text: bytes) -> NDArray[np.float32]:
    """Of each byte of a text, (n,); the bits are those that `Prompted.bits` gives for it."""
    return bits[np.arange(len(text)), np.frombuffer(text, np.uint8)]
