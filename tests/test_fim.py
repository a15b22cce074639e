from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebyte.fim import (
    FIM_EXTRA,
    MAX_SPAN_BYTES,
    SPAN_KINDS,
    apply_fim,
    arrange,
    choose_span,
    fim_prompt,
    restore,
)
from codebyte.vocab import EOT, FILE, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX

CODE = (
    b'''def total(prices, tax=0.19):
    """The sum of prices with tax."""
    subtotal = sum(prices)

    if subtotal < 0:
        raise ValueError(f"prices add up to {subtotal}")
    return subtotal * (1 + tax)
'''
    * 20
)


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def test_the_two_orders_are_those_of_the_docstring() -> None:
    psm = arrange(array(b"abcde"), 2, 4, suffix_first=False)
    spm = arrange(array(b"abcde"), 2, 4, suffix_first=True)
    assert psm.tolist() == [FIM_PREFIX, *b"ab", FIM_SUFFIX, *b"e", FIM_MIDDLE, *b"cd", EOT]
    assert spm.tolist() == [FIM_PREFIX, FIM_SUFFIX, *b"e", FIM_MIDDLE, *b"ab", *b"cd", EOT]
    assert psm.dtype == spm.dtype == np.uint16


@given(st.binary(min_size=1, max_size=300), st.integers(0, 2**32))
def test_taking_the_sentinels_out_gives_the_document_back(data: bytes, seed: int) -> None:
    ids = apply_fim(array(data), np.random.default_rng(seed))
    assert restore(ids).tobytes() == data
    assert len(ids) == len(data) + FIM_EXTRA
    specials = Counter(ids[ids > 255].tolist())
    assert specials == {FIM_PREFIX: 1, FIM_SUFFIX: 1, FIM_MIDDLE: 1, EOT: 1}


def test_training_in_suffix_first_order_starts_with_the_prompt_that_is_served() -> None:
    ids = arrange(array(CODE), 100, 140, suffix_first=True).tolist()
    prompt = fim_prompt(CODE[:100], CODE[140:])
    assert ids == [*prompt, *CODE[100:140], EOT]


def test_both_orders_occur_about_equally_often() -> None:
    rng = np.random.default_rng(0)
    first = [int(apply_fim(array(CODE), rng)[1] == FIM_SUFFIX) for _ in range(1000)]
    assert 450 < sum(first) < 550  # 3 standard deviations of 1,000 fair coins are 47


def test_spans_occur_in_their_shares() -> None:
    rng = np.random.default_rng(0)
    kinds = Counter(choose_span(array(CODE), rng)[0] for _ in range(2000))
    assert set(kinds) == set(SPAN_KINDS)
    assert 0.08 < kinds["identifier"] / 2000 < 0.12
    assert 0.12 < kinds["lines"] / 2000 < 0.18
    assert 0.32 < kinds["line end"] / 2000 < 0.43  # of 40 %, those drawn on a newline are none
    assert 0.32 < kinds["characters"] / 2000 < 0.46  # 35 %, and those that take another's place


def test_each_kind_of_span_is_what_its_name_says() -> None:
    rng = np.random.default_rng(1)
    whole_lines = CODE.split(b"\n")
    for _ in range(1000):
        kind, start, end = choose_span(array(CODE), rng)
        middle = CODE[start:end]
        assert 0 <= start < end <= len(CODE)
        if kind == "characters":
            assert len(middle) <= MAX_SPAN_BYTES
        elif kind == "line end":
            assert b"\n" not in middle
            assert CODE[end : end + 1] == b"\n"
        elif kind == "lines":
            assert CODE[:start].strip(b" ")[-1:] in (b"", b"\n")
            assert CODE[end : end + 1] == b"\n"
            first, *rest = middle.split(b"\n")
            assert any(line.endswith(first) for line in whole_lines)
            assert all(line in whole_lines for line in rest)
        else:
            assert middle.decode("ascii").isidentifier()


def test_no_cut_falls_inside_a_character() -> None:
    text = "größer = été + 世界 # мир 🎈\n" * 10
    rng = np.random.default_rng(2)
    for _ in range(500):
        _, start, end = choose_span(array(text.encode()), rng)
        text.encode()[:start].decode()
        text.encode()[start:end].decode()


@pytest.mark.parametrize("data", [b"\x80", b"\x80" * 50, b"\n", b" ", b"\xf0\x9f\x8e"])
def test_documents_without_characters_lines_or_names_are_cut_somewhere(data: bytes) -> None:
    for seed in range(50):
        assert restore(apply_fim(array(data), np.random.default_rng(seed))).tobytes() == data


def test_a_prompt_without_suffix_is_its_prefix_and_a_path_goes_first() -> None:
    assert fim_prompt(b"ab", b"") == [*b"ab"]
    assert fim_prompt(b"ab", b"", "x.py") == [FILE, *b"x.py\n", *b"ab"]
    middle = [FIM_PREFIX, FIM_SUFFIX, *b"c", FIM_MIDDLE, *b"ab"]
    assert fim_prompt(b"ab", b"c", "x.py") == [FILE, *b"x.py\n", *middle]
    assert fim_prompt(b"", b"c", b"new\nline") == [
        *[FILE, *b"new line\n"],
        *[FIM_PREFIX, FIM_SUFFIX, *b"c", FIM_MIDDLE],
    ]
