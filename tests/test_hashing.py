"""Hashes of contexts against the contexts themselves, found the slow obvious way."""

import re
from itertools import combinations

import numpy as np
import pytest
import torch

from codebyte import hashing
from codebyte.hashing import BEFORE, WORD_WINDOW, context_hashes, reach_of

TEXT = b"self.items[key] = self.it\nother = self . it(key, self.items)\n\xc3\xa9t\xc3\xa9 = key"
LENGTHS, WORDS = (2, 5), (0, 1, 2)


def hashes(text: bytes) -> torch.Tensor:
    reach = reach_of(LENGTHS, WORDS)
    ids = torch.tensor([[BEFORE] * reach + list(text)])
    return context_hashes(ids, LENGTHS, WORDS)[0]


def context(text: bytes, at: int, which: int) -> object:
    """What hash number `which` stands for at a place."""
    window = text[max(0, at + 1 - WORD_WINDOW) : at + 1]
    start = at + 1 - WORD_WINDOW <= 0
    if which < len(LENGTHS):
        n = LENGTHS[which]
        return text[max(0, at + 1 - n) : at + 1] if at + 1 >= n else ("short", text[: at + 1])
    words = re.findall(rb"[A-Za-z0-9_\x80-\xff]+", window)
    so_far = words.pop() if re.search(rb"[A-Za-z0-9_\x80-\xff]\Z", window) else b""
    k = WORDS[which - len(LENGTHS)]
    if k == 0:
        before = window[: len(window) - len(so_far)][-1:]
        return before + so_far if before or not start else ("short", so_far)
    return (so_far, *[*[b""] * k, *words][-k:])


def test_hashes_agree_where_the_contexts_do_and_nowhere_else() -> None:
    found = hashes(TEXT)
    assert found.shape == (len(LENGTHS) + len(WORDS), len(TEXT))
    for which in range(len(found)):
        for a, b in combinations(range(len(TEXT)), 2):
            same = context(TEXT, a, which) == context(TEXT, b, which)
            assert bool(found[which, a] == found[which, b]) == same, (which, TEXT[: a + 1], b)


def test_words_match_whatever_stands_between_them() -> None:
    first, second = hashes(b"x = self.it"), hashes(b"y=(self ->it")
    one_before = len(LENGTHS) + WORDS.index(1)
    assert first[one_before, -1] == second[one_before, -1]
    assert first[len(LENGTHS), -1] != second[len(LENGTHS), -1]  # .it and >it


def test_a_window_is_all_that_counts() -> None:
    rng = np.random.default_rng(0)
    tail = bytes(rng.choice(list(b"ab_ .("), reach_of(LENGTHS, WORDS) + 1))
    ends = {tuple(hashes(bytes([head]) * 7 + tail)[:, -1].tolist()) for head in b"a. "}
    assert len(ends) == 1


def test_long_rows_are_hashed_in_pieces_and_nobody_can_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for extra in (0, 1, 40):
        text = (TEXT * 3)[: 128 + extra]
        whole = hashes(text)
        with monkeypatch.context() as patch:
            patch.setattr(hashing, "_PIECE", 64)
            torch.testing.assert_close(hashes(text), whole, rtol=0, atol=0)
