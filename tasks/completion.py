"""Completes code at a caret: a fill-in-the-middle prompt, a cached decode, a shape for the result.

prefix, suffix -> what is nearest the caret -> prompt -> Decoder -> bytes -> draft.py -> pieces
"""

import math
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from codebyte.config import SamplingParams
from codebyte.contexts import REACH
from codebyte.decoder import PROMPT_LOOKUP, Cancel, Change, Decoder
from codebyte.drafts import FirstOf
from codebyte.errors import InputError
from codebyte.fim import fim_prompt, path_header
from codebyte.megabyte import Megabyte
from codebyte.mixing import Mixer
from codebyte.sampling import Sampler
from codebyte.tasks.best_line import ranked_lines
from codebyte.tasks.best_span import ranked_spans
from codebyte.tasks.caret import caret_between, fit, opening
from codebyte.tasks.draft import Completion, Piece, Steps, plain, shaped
from codebyte.tasks.hole import Hole, Prompted, is_utf8

__all__ = ["Completer", "Completion", "How", "Piece"]

LINE_BYTES = 128  # longest completion of one line, unless told otherwise
BLOCK_BYTES = 384  # and of several
TRIES = 8  # where nobody waits for the first byte
FEW_TRIES = 2  # where one waits for the whole text: most of what eight gain, in a third of the time
ENDS = 6  # of texts inside a line, compared always: greedy decoding seldom knows where to end there
_SENTINELS = 3  # ids of a fill-in-the-middle prompt that are not bytes
_SPARE = 3  # texts written more than are wanted: some turn out the same
_SEEN = 4096  # bytes of prefix and suffix where copies are looked for


Search = Callable[[Hole], list[tuple[bytes, NDArray[np.float32]]]]


class How(TypedDict, total=False):
    """How a text is completed: arguments of `Completer.stream`, which says what they mean."""

    path: str | None
    max_new_bytes: int | None
    multiline: bool | None
    max_seconds: float | None
    sampling: SamplingParams | None
    raw: bool
    tries: int


class Completer:
    """Completes for one user: the next prompt costs only what differs from the last one.

    Not for several threads at a time. A new request ends one that is still streaming.

    Args:
        model: any Megabyte.
        mixer: knows the repository that is worked in; it is told what is open. None: the model
            alone.
    """

    def __init__(self, model: Megabyte, mixer: Mixer | None = None) -> None:
        self._context = model.config.context
        self._decoder = Decoder(model)
        self._plain = Decoder(model)  # of prompts without the suffix, where texts are compared
        self._mixer = mixer

    def complete(
        self,
        prefix: bytes,
        suffix: bytes = b"",
        *,
        cancel: Cancel | None = None,
        mixer: Mixer | None = None,
        **how: Unpack[How],
    ) -> Completion:
        """Gives what belongs between prefix and suffix; the arguments are those of `stream`."""
        items = self.stream(prefix, suffix, cancel=cancel, mixer=mixer, **how)
        while isinstance(item := next(items), Piece):
            pass
        return item

    def stream(
        self,
        prefix: bytes,
        suffix: bytes = b"",
        *,
        path: str | None = None,
        max_new_bytes: int | None = None,
        multiline: bool | None = None,
        cancel: Cancel | None = None,
        max_seconds: float | None = None,
        sampling: SamplingParams | None = None,
        raw: bool = False,
        tries: int = 1,
        mixer: Mixer | None = None,
    ) -> Generator[Piece | Completion, None, Completion]:
        """Yields pieces as soon as they are certain, then the Completion: all of them joined.

        The text is valid UTF-8, unless the prefix is not.

        Args:
            prefix: all before the caret; of a long one, the end is read.
            suffix: all after it; of a long one, the beginning is read.
            path: the file's, as the model may know it.
            max_new_bytes: the longest completion; None for 128 in one line and 384 in several.
            multiline: whether it may have several lines; None to decide by the code around.
            cancel: asked between bytes; True ends the completion.
            max_seconds: ends it after this time, reading the prompt included.
            sampling: temperature, top-k, top-p, seed and stop strings; None for greedy.
            raw: leaves out all rules and filters: the model, stop strings, limits and the beginning
                of the suffix end it.
            tries: texts that are compared, greedily, where there is a suffix: rests of a line (see
                best_line.py) or, raw, spans (best_span.py). The best one comes in one piece. Inside
                a line, before other text, some are compared anyway.
            mixer: knows the repository, for this request alone; None for the completer's own.

        Raises:
            InputError: if max_new_bytes is negative, or tries less than 1.
        """
        sampling = sampling or SamplingParams()
        caret = caret_between(prefix, suffix)
        several = caret.multiline if multiline is None else multiline
        most = (BLOCK_BYTES if several else LINE_BYTES) if max_new_bytes is None else max_new_bytes
        if most < 0:
            raise InputError(f"max_new_bytes {most} must not be negative")
        if tries < 1:
            raise InputError(f"tries {tries} must be at least 1")
        clock = _Clock(cancel, max_seconds)
        hole = self._hole(prefix, suffix, path, max_new_bytes, most, clock, mixer)
        whole = hole.middle.read()
        cached = self._decoder.cached
        stop, steps = sampling.stop, None
        if whole and most > 0 and not sampling.temperature and hole.followed:
            search: Search | None = None
            if caret.inside and not (raw or several):
                search = partial(ranked_spans, tries=max(tries, ENDS), line=True)
            elif tries > 1 and raw:
                search = partial(ranked_spans, tries=tries)
            elif tries > 1 and not several:
                search = partial(ranked_lines, tries=tries)
            steps = search and _best(hole, search, "stop" if raw else "line")
        if steps is None:
            choose = Sampler(sampling, characters=hole.characters)
            steps = hole.middle.steps(choose, most if whole else 0)
            if raw and (end := opening(suffix)):
                stop = (*stop, end)
        if raw:
            pieces = plain(steps, stop=stop, characters=hole.characters)
        else:
            pieces = shaped(
                steps, prefix, suffix, several=several, stop=stop, characters=hole.characters
            )
        shape = yield from pieces
        reason = shape.stop_reason
        if not whole or reason == "cancel":
            reason = "time" if clock.late else "cancel"
        completion = replace(shape, stop_reason=reason, cached=cached)
        yield completion
        return completion

    def alternatives(
        self,
        prefix: bytes,
        suffix: bytes = b"",
        *,
        path: str | None = None,
        most: int = 5,
        cancel: Cancel | None = None,
        max_seconds: float | None = None,
        mixer: Mixer | None = None,
    ) -> list[Completion]:
        """Several rests of the line, the best one first; none if cancelled before there is one.

        Args:
            prefix: all before the caret.
            suffix: all after it.
            path: the file's, as the model may know it.
            most: of them.
            cancel: asked between bytes.
            max_seconds: after which those that there are by then are given.
            mixer: as for `stream`.
        """
        clock = _Clock(cancel, max_seconds)
        hole = self._hole(prefix, suffix, path, None, LINE_BYTES, clock, mixer)
        whole, cached = hole.middle.read(), self._decoder.cached
        if not whole or not hole.room:
            return []
        hole = replace(hole, most=min(LINE_BYTES, hole.room))
        found: dict[bytes, Completion] = {}
        tries = most + _SPARE
        if caret_between(prefix, suffix).inside:
            ranked = ranked_spans(hole, tries, line=True, shown=tries)
        else:
            ranked = ranked_lines(hole, tries, shown=most)
        for text, bits in ranked:
            steps = _given(text, bits, hole.most, "line")
            shape = _end(shaped(steps, prefix, suffix, several=False, characters=hole.characters))
            if shape.text:
                found.setdefault(shape.text, replace(shape, cached=cached))
        return list(found.values())[:most]

    def _hole(
        self,
        prefix: bytes,
        suffix: bytes,
        path: str | None,
        max_new_bytes: int | None,
        most: int,
        cancel: Cancel,
        mixer: Mixer | None,
    ) -> Hole:
        """The hole at the caret, to be filled with at most so many bytes."""
        mixer = mixer or self._mixer
        change = self._mixed_with(mixer, path, prefix, suffix)
        known = b"" if mixer is None else mixer.propose(prefix[-REACH:], most)
        ids = [self._prompt(prefix, text, path, max_new_bytes) for text in (suffix, b"")]
        return Hole(
            middle=Prompted(decoder=self._decoder, ids=ids[0], cancel=cancel, change=change),
            plain=Prompted(decoder=self._plain, ids=ids[1], cancel=cancel, change=change),
            prefix=prefix[-_SEEN:],
            suffix=suffix[:_SEEN],
            most=most,
            characters=is_utf8(prefix[-_SEEN:]),
            known=known,
        )

    def _mixed_with(
        self, mixer: Mixer | None, path: str | None, prefix: bytes, suffix: bytes
    ) -> Change | None:
        """Tells a mixer what is open; gives what changes the model's logits."""
        self._decoder.draft = PROMPT_LOOKUP if mixer is None else FirstOf(PROMPT_LOOKUP, mixer)
        if mixer is None:
            return None
        mixer.stand_in(path, prefix, suffix)
        return partial(_mixed, mixer, prefix[-REACH:])

    def _prompt(
        self, prefix: bytes, suffix: bytes, path: str | None, max_new_bytes: int | None
    ) -> list[int]:
        """The prompt, cut to the context with some room for what is to come.

        How much does not depend on the code, so that the cuts stay where they are while one types.
        """
        wanted = BLOCK_BYTES if max_new_bytes is None else max_new_bytes
        eighth = self._context // 8
        ahead = eighth if wanted <= eighth else 2 * eighth
        header = path.encode("utf-8", "surrogateescape")[-eighth:] if path else None
        taken = 1 + ahead + (len(path_header(header)) if header else 0) + _SENTINELS
        suffix = suffix if suffix.strip() else b""
        return fim_prompt(*fit(prefix, suffix, max(0, self._context - taken)), header)


def _best(hole: Hole, search: Search, reason: str) -> Steps | None:
    """What a search finds, all at once; None if there is no room to compare texts so long."""
    if hole.room < hole.most:
        return None
    text, bits = search(hole)[0]
    return _given(text, bits, hole.most, "cancel" if hole.middle.cancel() else reason)


def _given(text: bytes, bits: NDArray[np.float32], most: int, reason: str) -> Steps:
    yield from zip(text, bits.tolist(), strict=True)
    return "budget" if len(text) >= most else reason


def _end(pieces: Generator[Piece, None, Completion]) -> Completion:
    """What a generator returns."""
    try:
        while True:
            next(pieces)
    except StopIteration as end:
        done: Completion = end.value
        return done


def _mixed(
    mixer: Mixer, before: bytes, logits: NDArray[np.float32], output: bytes
) -> NDArray[np.float32]:
    return mixer.logits(logits, before + output)


class _Clock:
    """Says when to stop: when the caller does, or when time is up."""

    def __init__(self, cancel: Cancel | None, max_seconds: float | None) -> None:
        self.late = False
        self._cancel = cancel
        self._end = math.inf if max_seconds is None else time.monotonic() + max_seconds

    def __call__(self) -> bool:
        if self._cancel is not None and self._cancel():
            return True
        self.late = time.monotonic() > self._end
        return self.late
