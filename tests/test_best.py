"""Comparing whole texts: scores are those of the model, and the one with the fewest bits wins."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import MakeModel
from taught import ENDLESS, TEXT, taught_checkpoint

from codebyte.checkpoint import load
from codebyte.config import SamplingParams
from codebyte.decoder import Decoder
from codebyte.errors import InputError
from codebyte.fim import fim_prompt
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.sampling import whole_characters
from codebyte.scoring import surprisal
from codebyte.tasks.best_line import ENDS, TAIL_COUNTS, ranked_lines
from codebyte.tasks.best_span import BEHIND, NEAR, NOTHING, ranked_spans
from codebyte.tasks.completion import Completer
from codebyte.tasks.hole import TAIL, Hole, Prompted, bits_along, copies
from codebyte.vocab import VOCAB_SIZE

PREFIX = b"total = add(one)\nprint(total)\ntotal = "
SUFFIX = b"\nprint(total)\n"


def test_bits_are_what_the_whole_text_costs_and_leave_the_prompt(tiny_model: Megabyte) -> None:
    decoder = Decoder(tiny_model)
    decoder.prefill(PREFIX)
    for text in (b"add(two)", b"x", b""):
        bits = decoder.bits(text)
        assert bits.shape == (len(text) + 1, VOCAB_SIZE)
        np.testing.assert_allclose(np.exp2(-bits).sum(axis=1), 1, atol=1e-3)
        for end in (65, 66):
            whole = surprisal(tiny_model, PREFIX + text + bytes([end]))[len(PREFIX) :]
            found = [*bits_along(bits, text), bits[-1, end]]
            np.testing.assert_allclose(found, whole, atol=1e-3)
    assert decoder.prefill(PREFIX)
    assert decoder.cached == len(PREFIX)


def hole_of(model: Megabyte, most: int, known: bytes = b"") -> Hole:
    middle, plain = (
        Prompted(decoder=Decoder(model), ids=fim_prompt(PREFIX, suffix), cancel=lambda: False)
        for suffix in (SUFFIX, b"")
    )
    return Hole(
        middle=middle,
        plain=plain,
        prefix=PREFIX,
        suffix=SUFFIX,
        most=most,
        characters=True,
        known=known,
    )


def bits_in_all(model: Megabyte, text: bytes) -> float:
    """What the search compares, without its caches."""
    prompt = fim_prompt(PREFIX, SUFFIX)
    chances = [
        np.exp(
            -float(
                model.losses(torch.tensor([[*prompt, *text, end]]))[0, len(prompt) :].sum().detach()
            )
        )
        for end in ENDS
    ]
    tail = float(surprisal(model, PREFIX + text + SUFFIX[:TAIL])[len(PREFIX + text) :].sum())
    return -np.log2(sum(chances)) + TAIL_COUNTS * tail


def test_the_best_line_costs_no_more_than_greedy_decoding_or_a_copy(tiny_model: Megabyte) -> None:
    ((best, bits), *_) = ranked_lines(hole_of(tiny_model, 12), 4)
    greedy = Completer(tiny_model).complete(PREFIX, SUFFIX, max_new_bytes=12, raw=True).text
    assert len(bits) == len(best)
    for text in (greedy, *copies(PREFIX, SUFFIX, 12)):
        if other := text.partition(b"\n")[0]:
            assert bits_in_all(tiny_model, best) <= bits_in_all(tiny_model, other) + 1e-2


def test_the_bits_of_every_line_are_those_of_the_model(tiny_model: Megabyte) -> None:
    hole = hole_of(tiny_model, 24, b"add(two)\n")
    found = ranked_lines(hole, 4)
    assert len(found) > 1
    prompt = fim_prompt(PREFIX, SUFFIX)
    for text, own in found:
        whole = tiny_model.losses(torch.tensor([[*prompt, *text]]))[0, len(prompt) :].detach()
        np.testing.assert_allclose(own, whole / np.log(2), atol=1e-3)


def test_where_nothing_is_missing_nothing_is_written() -> None:
    completer = Completer(load(taught_checkpoint()))
    lines = TEXT.encode().splitlines(keepends=True)
    ends = range(2, len(lines))
    finished = 0
    for end in ends:
        before, after = b"".join(lines[:end])[:-1], b"\n" + b"".join(lines[end:])
        if before.endswith((b":", b"\n", b"(")):
            continue
        one, *others = (
            completer.complete(before, after, multiline=False, tries=tries).text
            for tries in (1, 2, 8)
        )
        if not one:
            finished += 1
            assert others == [b"", b""], before[-20:]
    assert finished


def test_copies_are_what_followed_before_and_after() -> None:
    prefix = b"x = foo(1)\ny = foo(2)\nz = foo("
    assert copies(prefix, b")\nw = foo(3, 4)\n", 7) == [b"2)\nz = ", b"3, 4)\n"]
    assert copies(prefix, b"\n", 1) == [b"2"]
    assert copies(b"abc", b"abcd", 10) == []


def test_one_try_is_greedy_and_none_is_refused(tiny_model: Megabyte) -> None:
    completer = Completer(tiny_model)
    one = completer.complete(PREFIX, SUFFIX, multiline=False, max_new_bytes=20, tries=1)
    default = completer.complete(PREFIX, SUFFIX, multiline=False, max_new_bytes=20)
    assert one.text == default.text
    with pytest.raises(InputError, match="tries 0 must be at least 1"):
        completer.complete(PREFIX, SUFFIX, tries=0)


def test_a_searched_line_has_one_line_and_bits_for_each_byte(tiny_model: Megabyte) -> None:
    done = Completer(tiny_model).complete(
        PREFIX, SUFFIX, multiline=False, max_new_bytes=16, tries=5
    )
    assert b"\n" not in done.text
    assert len(done.text) == len(done.bits)
    done.text.decode()


@pytest.mark.parametrize("line", [False, True])
def test_the_best_span_is_the_likeliest_with_the_suffix_after_it(
    tiny_model: Megabyte, line: bool
) -> None:
    known = b"add(two)\ntotal = add(three)\n"
    hole = hole_of(tiny_model, 24, known)
    texts = [hole.middle.write(b"", hole.greedy, hole.most), *copies(PREFIX, SUFFIX, 24)]
    texts.append(known[:24])
    if line:
        texts = [text.partition(b"\n")[0] for text in texts]
    ends = {
        text[:end]
        for text in texts
        for end in range(len(text) + 1)
        if (line or text[:end].strip()) and whole_characters(text[:end]) == end
    }

    def bits(text: bytes, tail: int) -> float:
        whole = surprisal(tiny_model, PREFIX + text + SUFFIX[:tail])[len(PREFIX) :]
        return float(whole.sum()) + (0.0 if text else NOTHING)

    ((best, own),) = ranked_spans(hole, 999, line=line)
    first = {text: bits(text, 1) for text in ends}
    near = [text for text in ends if first[text] <= min(first.values()) + BEHIND - 1e-2]
    tail = NEAR if line else TAIL
    assert 1 < len(near) < len(ends)
    assert first[best] <= min(first.values()) + BEHIND + 1e-2
    assert bits(best, tail) <= min(bits(text, tail) for text in near) + 1e-2
    prompt = fim_prompt(PREFIX, SUFFIX)
    whole = tiny_model.losses(torch.tensor([[*prompt, *best]]))[0, len(prompt) :].detach()
    np.testing.assert_allclose(own, whole / np.log(2), atol=1e-3)


def test_a_span_ends_where_the_suffix_begins_though_the_model_writes_on() -> None:
    completer = Completer(load(taught_checkpoint()))
    before = ENDLESS.encode() * 3 + b"ti"
    for tries in (1, 4):
        done = completer.complete(
            before, b"tick tock tick", max_new_bytes=40, raw=True, tries=tries
        )
        assert (done.text, done.stop_reason) == (b"ck tock ", "stop")
        assert len(done.bits) == len(done.text)
    short = completer.complete(before, b"tick tock tick", max_new_bytes=3, raw=True, tries=4)
    assert before + short.text in ENDLESS.encode() * 5


def test_a_span_may_be_stopped_and_ends_before_a_stop_string() -> None:
    completer = Completer(load(taught_checkpoint()))
    before, after = ENDLESS.encode() * 3 + b"ti", b"tick tock tick"
    asked: list[int] = []
    late = completer.complete(
        before, after, raw=True, tries=4, cancel=lambda: asked.append(1) or len(asked) > 9
    )
    assert late.stop_reason == "cancel"
    stopped = completer.complete(
        before, after, raw=True, tries=4, sampling=SamplingParams(stop=(b"oc",))
    )
    assert (stopped.text, stopped.stop_reason) == (b"ck t", "stop")


def test_where_there_is_no_room_to_compare_nothing_is_lost(make_model: MakeModel) -> None:
    model = make_model(replace(PRESETS["tiny"], context=128))
    before = PREFIX * 9  # fills what the context has for it
    for raw in (False, True):
        one, several = (
            Completer(model).complete(
                before, SUFFIX, multiline=False, max_new_bytes=60, raw=raw, tries=tries
            )
            for tries in (1, 4)
        )
        assert several.text == one.text
    long = Completer(model).complete(PREFIX, SUFFIX, max_new_bytes=500, raw=True, tries=4)
    assert long.text
    assert Completer(model).alternatives(before, SUFFIX) == []
