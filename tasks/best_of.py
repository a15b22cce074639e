"""The best of several rests of a line: greedy decoding, its likeliest alternatives, and copies.

Greedy decoding commits to each byte before it knows what comes of it. Here some texts are written
out and compared by what the model makes of the whole. The fewest bits win, added up over

    text, end of the line            after the fill-in-the-middle prompt
    0.7 of beginning of the suffix   after prefix and text alone: does it go on from the text?

Not all of the second, because the prompt of the first has told of the suffix already. Of 339 lines
of held-out files this found 27.7 %; adding the bits of text and EOT after the first prompt, and of
text and suffix after the second, found 23.9 %.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codebyte.config import SamplingParams
from codebyte.decoder import Cancel, Change, Decoder
from codebyte.sampling import Sampler, bits_of, whole_characters
from codebyte.vocab import EOT, NUM_BYTES

TAIL = 64  # bytes of the suffix that a text should lead to
TAIL_COUNTS = 0.7  # of the bits of these
ENDS = (EOT, ord("\n"), ord("\r"))  # any of them may follow the rest of a line
_BRANCHES = 24  # bytes of the greedy text at which another may branch off
_OTHERS = 3  # bytes at each place that may begin another
_SHORTEST_COPY = 4  # bytes before the caret that must stand elsewhere too


class LineSearch:
    """Looks for the likeliest rest of a line, with two prompt caches of one model."""

    def __init__(self, middle: Decoder, plain: Decoder) -> None:
        self._middle, self._plain = middle, plain

    def ranked(
        self,
        prompts: tuple[list[int], list[int]],
        prefix: bytes,
        suffix: bytes,
        *,
        tries: int,
        most: int,
        characters: bool,
        cancel: Cancel,
        change: Change | None = None,
        others: Sequence[bytes] = (),
        shown: int | None = None,
    ) -> list[tuple[bytes, NDArray[np.float32]]]:
        """Gives some texts, up to a newline, and the bits of their bytes; the best one first.

        Args:
            prompts: to fill in the middle, and the same without the suffix.
            prefix: before the caret.
            suffix: after it.
            tries: texts that the model writes; copies come on top.
            most: bytes of a text.
            characters: whether the texts must be UTF-8.
            cancel: asked between bytes; True ranks what there is.
            change: as for `Decoder.decode`.
            others: texts to compare, too; with characters, those that are UTF-8.
            shown: greedy decoding's, which one may have seen, is among the first so many.
        """
        watching = _Watching(characters)
        found = [_line(self._middle, prompts[0], b"", watching, most, cancel, change)]
        if prompts[0] != prompts[1] and tries > 1:
            choose = Sampler(SamplingParams(), characters=characters)
            found.append(_line(self._plain, prompts[1], b"", choose, most, cancel, change))
        for start in watching.branches(found[0], tries - len(found)):
            choose = Sampler(SamplingParams(), characters=characters)
            left = most - len(start)
            found.append(_line(self._middle, prompts[0], start, choose, left, cancel, change))
        found += copies(prefix, suffix, most)
        found += [text for text in others if not characters or _is_utf8(text)]
        kept = list(dict.fromkeys(text for text in found if text)) or [b""]
        if cancel() or (len(kept) == 1 and kept[0] == found[0]):
            kept = [found[0]]
        self._middle.prefill(prompts[0])
        scored = [self._middle.score(list(text), ends=ENDS, change=change) for text in kept]
        totals = np.array([float(bits.sum()) for bits in scored])
        if len(kept) > 1 and prompts[0] != prompts[1]:
            self._plain.prefill(prompts[1])
            for i, text in enumerate(kept):
                bits = self._plain.score([*text, *suffix[:TAIL]], change=change)
                totals[i] += TAIL_COUNTS * float(bits[len(text) :].sum())
        order = totals.argsort(kind="stable").tolist()
        if shown is not None and kept[0] == found[0] and order.index(0) >= shown:
            order.remove(0)
            order.insert(shown - 1, 0)
        return [(kept[i], scored[i][:-1]) for i in order]


def copies(prefix: bytes, suffix: bytes, most: int) -> list[bytes]:
    r"""What followed the longest end of the prefix where it stands elsewhere: up to two texts.

    They are the nearest before the caret, and the first after it. For example `x = f(1)\ny = f(`
    has ` = f(` twice, and gives `1)`.
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
            found.append(where[place : place + most].partition(b"\n")[0].rstrip(b"\r"))
    return found


class _Watching(Sampler):
    """Chooses greedily, and keeps in mind what else could have been chosen."""

    def __init__(self, characters: bool) -> None:
        super().__init__(SamplingParams(), characters=characters)
        self._spent = 0.0
        self._others: list[list[tuple[float, int]]] = []  # bits of the way there, the byte

    def __call__(self, logits: NDArray[np.float32]) -> int:
        chosen = super().__call__(logits)
        second = logits[:NUM_BYTES].copy()
        if chosen < NUM_BYTES:
            second[chosen] = -np.inf
        likely = np.argpartition(second, -_OTHERS)[-_OTHERS:].tolist()
        self._others.append([(self._spent + bits_of(logits, other), other) for other in likely])
        self._spent += bits_of(logits, chosen)
        return chosen

    def branches(self, text: bytes, most: int) -> Iterator[bytes]:
        """The likeliest beginnings of other texts; ASCII, so that no character is cut."""
        ranked = sorted(
            (bits, place, other)
            for place, others in enumerate(self._others[: min(_BRANCHES, len(text) + 1)])
            for bits, other in others
            if other < 128 and text[:place].isascii()
        )
        for _, place, other in ranked[: max(0, most)]:
            yield text[:place] + bytes([other])


def _is_utf8(text: bytes) -> bool:
    try:
        text[: whole_characters(text)].decode()
    except UnicodeDecodeError:
        return False
    return True


def _line(
    decoder: Decoder,
    prompt: list[int],
    start: bytes,
    choose: Sampler,
    most: int,
    cancel: Cancel,
    change: Change | None,
) -> bytes:
    """What the model writes after the prompt and a beginning, up to a newline."""
    if start.endswith(b"\n") or not decoder.prefill([*prompt, *start], cancel=cancel):
        return start.rstrip(b"\r\n")
    text = bytearray(start)

    def changed(logits: NDArray[np.float32], output: bytes) -> NDArray[np.float32]:
        return logits if change is None else change(logits, start + output)

    steps = decoder.decode(choose, most, cancel=cancel, change=changed)
    for byte, _ in steps:
        if byte == ord("\n"):
            break
        text.append(byte)
    steps.close()
    return bytes(text).rstrip(b"\r")
