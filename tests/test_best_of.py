"""Comparing whole lines: scores are those of the model, and the line with the fewest bits wins."""

import numpy as np
import pytest
import torch

from codebyte.decoder import Decoder
from codebyte.errors import InputError
from codebyte.fim import fim_prompt
from codebyte.megabyte import Megabyte
from codebyte.scoring import surprisal
from codebyte.tasks.best_of import ENDS, TAIL, TAIL_COUNTS, LineSearch, copies
from codebyte.tasks.completion import Completer
from codebyte.vocab import VOCAB_SIZE

PREFIX = b"total = add(one)\nprint(total)\ntotal = "
SUFFIX = b"\nprint(total)\n"


def test_a_score_is_what_the_whole_text_costs_and_leaves_the_prompt(tiny_model: Megabyte) -> None:
    decoder = Decoder(tiny_model)
    decoder.prefill(PREFIX)
    for text in (b"add(two)", b"x"):
        whole = surprisal(tiny_model, PREFIX + text)[len(PREFIX) :]
        np.testing.assert_allclose(decoder.score(list(text)), whole, atol=1e-3)
        for end in (65, 66):
            last = surprisal(tiny_model, PREFIX + text + bytes([end]))[-1]
            found = decoder.score(list(text), ends=[end])
            np.testing.assert_allclose(found, [*whole, last], atol=1e-3)
        assert decoder.score(list(text), ends=range(VOCAB_SIZE))[-1] == pytest.approx(0, abs=1e-3)
    (alone,) = decoder.score([], ends=[65])
    assert alone == pytest.approx(surprisal(tiny_model, PREFIX + b"A")[-1], abs=1e-3)
    assert decoder.prefill(PREFIX)
    assert decoder.cached == len(PREFIX)


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
    prompts = fim_prompt(PREFIX, SUFFIX), fim_prompt(PREFIX, b"")
    search = LineSearch(Decoder(tiny_model), Decoder(tiny_model))
    ((best, bits), *_) = search.ranked(
        prompts,
        PREFIX,
        SUFFIX,
        tries=4,
        most=12,
        characters=True,
        cancel=lambda: False,
    )
    greedy = Completer(tiny_model).complete(PREFIX, SUFFIX, max_new_bytes=12, raw=True).text
    others = [greedy.partition(b"\n")[0], *copies(PREFIX, SUFFIX, 12)]
    assert len(bits) == len(best)
    for other in others:
        if other:
            assert bits_in_all(tiny_model, best) <= bits_in_all(tiny_model, other) + 1e-2


def test_copies_are_what_followed_before_and_after() -> None:
    prefix = b"x = foo(1)\ny = foo(2)\nz = foo("
    assert copies(prefix, b")\nw = foo(3, 4)\n", 10) == [b"2)", b"3, 4)"]
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
