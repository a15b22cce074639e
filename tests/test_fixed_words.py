"""The words of lines that were fixed, and two reasons in one number."""

import numpy as np
import pytest

from codebyte.tasks.first_pass import BELIEVED, together
from codebyte.tasks.fixed_words import SHRUNK, FixedWords, word_features


def test_two_reasons_add_up_their_chances() -> None:
    odds = together(np.array([1.8]), np.array([1.5]))
    slope, offset, share = BELIEVED
    slip, fix = np.exp(slope * 1.8 + offset), np.exp(1.5 + share * 1.8)
    assert odds[0] == pytest.approx(np.log(slip + fix))


def test_an_unlikely_slip_decides_only_between_lines_as_likely_to_be_fixed() -> None:
    likelier, less, rare = together(np.array([-2.0, -4.0, -2.0]), np.array([-1.0, -1.0, -1.5]))
    assert likelier > less > rare


def test_a_words_rate_is_how_much_likelier_its_lines_were_fixed() -> None:
    words = FixedWords()
    words.add([(b"if size > 0:", True)] * 10 + [(b"if size > 0:", False)] * 90)
    words.add([(b"return size", False)] * 300)
    rates = words.rates()
    mean = 10 / 400
    assert rates[b"if"] == pytest.approx(np.log((10 + SHRUNK) / (100 * mean + SHRUNK)))
    assert rates[b"return"] == pytest.approx(np.log(SHRUNK / (300 * mean + SHRUNK)))
    assert b"size" not in rates  # 10 of 400: as likely as any
    assert rates == words.rates({b"if", b"return", b":", b">", b"0", b"never seen"})
    table = word_features([b"return if", b"", b"other"], rates)
    assert table[0] == pytest.approx(
        [rates[b"return"] + rates[b"if"], rates[b"if"], rates[b"return"]]
    )
    assert not table[1:].any()


def test_what_is_taken_away_again_was_never_there() -> None:
    words = FixedWords()
    words.add([(b"x = 1", False)] * 100 + [(b"y = 2", True)] * 50)
    before = words.rates()
    words.add([(b"y = 3", True), (b"z", False)])
    words.add([(b"y = 3", True), (b"z", False)], -1)
    assert words.rates() == before
