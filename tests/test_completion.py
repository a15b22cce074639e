"""Completions of a real model, tiny and with random weights: junk, but always the same junk."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from conftest import MakeModel
from taught import ENDLESS, taught_checkpoint

from codebyte.checkpoint import load
from codebyte.config import SamplingParams
from codebyte.decode import generate
from codebyte.errors import InputError
from codebyte.fim import fim_prompt
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.scoring import surprisal
from codebyte.tasks.caret import opening
from codebyte.tasks.completion import Completer, Completion, Piece
from codebyte.tasks.rulers import COLUMNS, FEW

PREFIX = b"def area(width, height):\n    return "
BYTES = b"\xff" + PREFIX  # not UTF-8, so that bytes come unchanged
SUFFIX = b"\n\n\ndef greet(name):\n    pass\n"


@pytest.fixture
def model(make_model: MakeModel) -> Megabyte:
    """A tiny model with some room."""
    return make_model(replace(PRESETS["tiny"], context=512))


def told(completion: Completion) -> tuple[bytes, str, int]:
    return completion.text, completion.stop_reason, completion.replace_suffix_bytes


def editing() -> Iterator[tuple[bytes, bytes]]:
    """Types, takes back, accepts a few bytes, moves the caret, types again."""
    for n in range(20, len(PREFIX) + 1):
        yield PREFIX[:n], SUFFIX
    for n in range(len(PREFIX), len(PREFIX) - 5, -1):
        yield PREFIX[:n], SUFFIX
    yield PREFIX + b"width * height", SUFFIX
    whole = PREFIX + b"width" + SUFFIX
    for at in (30, 10, 50, 51, 52, len(whole), 0):
        yield whole[:at], whole[at:]
    yield b"other(", b")"
    yield b"other(x", b")"


@pytest.mark.parametrize("path", [None, "shapes.py"])
def test_a_completer_that_remembers_gives_what_a_new_one_gives(
    model: Megabyte, path: str | None
) -> None:
    remembering = Completer(model)
    for prefix, suffix in editing():
        got = remembering.complete(prefix, suffix, path=path, max_new_bytes=5)
        fresh = Completer(model).complete(prefix, suffix, path=path, max_new_bytes=5)
        assert told(got) == told(fresh)
        np.testing.assert_allclose(got.bits, fresh.bits, atol=1e-3)
        assert fresh.cached == 0


def test_typing_feeds_one_byte_and_accepting_none_but_the_last(model: Megabyte) -> None:
    completer = Completer(model)
    header = len(fim_prompt(b"", SUFFIX, "a.py"))
    completer.complete(PREFIX[:-6], SUFFIX, path="a.py", max_new_bytes=3)
    for n in range(len(PREFIX) - 5, len(PREFIX)):
        completion = completer.complete(PREFIX[:n], SUFFIX, path="a.py", max_new_bytes=3)
        assert completion.cached == header + n - 1
    shown = completer.complete(BYTES, SUFFIX, path="a.py", max_new_bytes=8, raw=True).text
    accepted = completer.complete(BYTES + shown, SUFFIX, path="a.py", max_new_bytes=3)
    assert accepted.cached == header + len(BYTES) + 7


@pytest.mark.parametrize("suffix", [b"", SUFFIX])
@pytest.mark.parametrize("path", [None, "a/b.py"])
def test_the_model_is_asked_suffix_first_after_the_path(
    model: Megabyte, suffix: bytes, path: str | None
) -> None:
    params = SamplingParams(max_new_bytes=20)
    expected = b"".join(generate(model, fim_prompt(BYTES, suffix, path), params))
    got = Completer(model).complete(BYTES, suffix, path=path, max_new_bytes=20, raw=True)
    assert got.text == expected


def test_a_blank_suffix_is_none(model: Megabyte) -> None:
    blank = Completer(model).complete(PREFIX, b" \n\n", max_new_bytes=9, raw=True)
    none = Completer(model).complete(PREFIX, max_new_bytes=9, raw=True)
    assert told(blank) == told(none)


def test_bits_are_the_surprise_that_scoring_finds(model: Megabyte) -> None:
    completion = Completer(model).complete(BYTES, max_new_bytes=30, raw=True)
    scored = surprisal(model, BYTES + completion.text)[len(BYTES) :]
    np.testing.assert_allclose(completion.bits, scored, atol=1e-3)
    assert len(completion.bits) == 30


@pytest.mark.parametrize("raw", [False, True])
def test_pieces_are_whole_characters_and_make_up_the_completion(model: Megabyte, raw: bool) -> None:
    seen = ""
    for seed in range(8):
        *pieces, last = Completer(model).stream(
            "größe = 1\n".encode(),
            SUFFIX,
            max_new_bytes=60,
            multiline=True,
            sampling=SamplingParams(temperature=2.0, seed=seed),
            raw=raw,
        )
        assert isinstance(last, Completion)
        assert all(isinstance(piece, Piece) and piece.text for piece in pieces)
        seen += "".join(piece.text.decode() for piece in pieces)
        assert b"".join(piece.text for piece in pieces) == last.text
        bits = [bit for piece in pieces for bit in piece.bits.tolist()]
        assert bits == last.bits.tolist()
    assert max(len(character.encode()) for character in seen) >= 3


def test_a_prefix_that_is_not_utf8_gets_bytes(model: Megabyte) -> None:
    params = SamplingParams(temperature=2.0, seed=1)
    latin = "größe = ".encode("latin-1")
    text = Completer(model).complete(latin, max_new_bytes=60, sampling=params, raw=True).text
    with pytest.raises(UnicodeDecodeError):
        text.decode()


def test_a_prefix_cut_inside_a_character_is_still_utf8(model: Megabyte) -> None:
    params = SamplingParams(temperature=2.0, seed=1)
    prefix = "ä".encode() * 3000  # the part that is looked at begins and ends inside one
    for text in (prefix[1:], prefix[:-1]):
        completion = Completer(model).complete(text, max_new_bytes=60, sampling=params, raw=True)
        completion.text.decode()


def test_the_budget_ends_a_completion(model: Megabyte) -> None:
    completion = Completer(model).complete(BYTES, max_new_bytes=7, raw=True)
    assert (len(completion.text), completion.stop_reason) == (7, "budget")
    nothing = Completer(model).complete(PREFIX, max_new_bytes=0)
    assert told(nothing) == (b"", "budget", 0)
    with pytest.raises(InputError, match="max_new_bytes -1 must not be negative"):
        Completer(model).complete(PREFIX, max_new_bytes=-1)


def test_a_cancelled_completion_keeps_what_it_has_and_the_next_is_right(model: Megabyte) -> None:
    completer = Completer(model)
    whole = Completer(model).complete(PREFIX, SUFFIX, max_new_bytes=30, raw=True)
    before = completer.complete(PREFIX, SUFFIX, cancel=lambda: True)
    assert told(before) == (b"", "cancel", 0)
    items: list[Piece | Completion] = []
    stream = completer.stream(
        PREFIX, SUFFIX, max_new_bytes=30, cancel=lambda: len(items) == 3, raw=True
    )
    for item in stream:
        items.append(item)
    last = items[-1]
    assert isinstance(last, Completion)
    assert last.stop_reason == "cancel"
    assert whole.text.startswith(last.text)
    assert 3 <= len(last.text) < 30
    again = completer.complete(PREFIX, SUFFIX, max_new_bytes=30, raw=True)
    assert told(again) == told(whole)


def test_a_stream_left_alone_does_not_spoil_the_next(model: Megabyte) -> None:
    completer = Completer(model)
    left = completer.stream(PREFIX, SUFFIX, max_new_bytes=30, raw=True)
    next(left)
    got = completer.complete(PREFIX + b"x", SUFFIX, max_new_bytes=9, raw=True)
    assert told(got) == told(
        Completer(model).complete(PREFIX + b"x", SUFFIX, max_new_bytes=9, raw=True)
    )
    rest = list(left)
    assert isinstance(rest[-1], Completion)
    assert rest[-1].stop_reason == "cancel"


def test_time_ends_a_completion(model: Megabyte) -> None:
    completion = Completer(model).complete(PREFIX, max_seconds=0.0)
    assert told(completion) == (b"", "time", 0)


def test_stop_strings_and_seeds_are_heeded(model: Megabyte) -> None:
    def text(seed: int, stop: tuple[bytes, ...] = ()) -> Completion:
        params = SamplingParams(temperature=1.0, seed=seed, stop=stop)
        return Completer(model).complete(PREFIX, max_new_bytes=30, sampling=params, raw=True)

    assert told(text(1)) == told(text(1)) != told(text(2))
    stop = text(1).text[9:12]
    assert told(text(1, (stop,))) == (text(1).text.partition(stop)[0], "stop", 0)


def test_one_line_is_one_line(model: Megabyte) -> None:
    for seed in range(20):
        params = SamplingParams(temperature=1.0, seed=seed)
        completion = Completer(model).complete(PREFIX, sampling=params)
        assert b"\n" not in completion.text


def test_texts_longer_than_the_context_are_read_near_the_caret(model: Megabyte) -> None:
    before = b"".join(b"line_%d = %d\n" % (i, i) for i in range(400)) + PREFIX
    after = SUFFIX * 100
    completer = Completer(model)
    first = completer.complete(before, after, max_new_bytes=9, raw=True)
    other = completer.complete(b"x" + before[1:], after + b"y", max_new_bytes=9, raw=True)
    assert told(first) == told(other)
    assert other.cached > 256


def test_typing_in_a_long_file_stays_cached(model: Megabyte) -> None:
    before = b"".join(b"line_%d = %d\n" % (i, i) for i in range(400)) + PREFIX
    completer = Completer(model)
    completer.complete(before, SUFFIX * 100, max_new_bytes=2)
    cold = 0
    for typed in range(1, 65):
        completion = completer.complete(before + b"w" * typed, SUFFIX * 100, max_new_bytes=2)
        cold += completion.cached < 256
    assert cold <= 2  # the cut moves on by an eighth of the room, 55 bytes


def test_nul_bytes_and_odd_paths_are_data(model: Megabyte) -> None:
    completer = Completer(model)
    nul = completer.complete(b"\0\0x = ", b"\0", max_new_bytes=4, raw=True)
    assert len(nul.text) == 4
    odd = completer.complete(BYTES, path="a\nb\udcff" * 200, max_new_bytes=4, raw=True)
    assert len(odd.text) == 4


def test_a_raw_completion_ends_where_the_suffix_begins() -> None:
    completer = Completer(load(taught_checkpoint()))
    before = ENDLESS.encode() * 3 + b"ti"
    alone = completer.complete(before, max_new_bytes=40, raw=True).text
    assert alone.startswith(b"ck tock tick tock")
    done = completer.complete(before, b"tick tock tick", max_new_bytes=40, raw=True)
    assert (done.text, done.stop_reason) == (b"ck tock ", "stop")


@pytest.mark.parametrize(
    ("suffix", "known_by"),
    [
        (b"return width", b"return w"),
        (b"\n        return width", b"\n        retu"),
        (b")\n\n", b""),
        (b" " * 5000 + b"return", b""),
        (b"", b""),
    ],
)
def test_a_suffix_is_known_by_some_printed_bytes(suffix: bytes, known_by: bytes) -> None:
    assert opening(suffix) == known_by


BROKEN = b"import argparse\nparser = argparse.ArgumentParser(\nparser.add_argument("


@pytest.mark.parametrize("typed", [BROKEN, b"import os\n\n\n# ------", b"t = '''\n----------"])
@pytest.mark.parametrize("suffix", [b"", b"\n"])
def test_the_packaged_model_suggests_no_line_of_marks_without_an_end(
    typed: bytes, suffix: bytes
) -> None:
    *pieces, done = Completer(load()).stream(typed, suffix, path="a.py", multiline=True)
    assert isinstance(done, Completion)
    assert b"".join(piece.text for piece in pieces if isinstance(piece, Piece)) == done.text
    lines = (typed.rpartition(b"\n")[2] + done.text).split(b"\n")
    assert max(map(len, lines)) <= COLUMNS
    assert not any(line.count(b"-") > FEW for line in done.text.split(b"\n")[1:])
