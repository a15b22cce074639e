"""What stands in a repository, against looking for it in the plain texts."""

import gc
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codebyte.contexts import REACH, context_hashes
from codebyte.recall import COUNTED, MATCHED, Recall

TEXTS = {
    "a.py": b"def area(width, height):\n    return width * height\n" * 3,
    "b.py": b"def perimeter(width, height):\n    return 2 * (width + height)\n",
    "c.py": b"for width in range(3):\n    print(area(width, width))\n",
}
few_letters = st.text(alphabet="ab\n", max_size=60).map(str.encode)


def context_of(before: bytes) -> np.ndarray:
    return np.frombuffer(before[-REACH:].rjust(REACH, b"\0"), np.uint8)


def counted(recall: Recall, before: bytes, followed: bytes) -> list[tuple[float, float]]:
    """How often the byte, and any byte, followed each length of context."""
    candidate = np.frombuffer(followed, np.uint8).astype(np.int64)[None]
    each, all_of = recall.counts(context_of(before), candidate)
    return list(zip(each[0, 0].tolist(), all_of[0, 0].tolist(), strict=True))


def counted_slowly(texts: list[bytes], before: bytes, followed: bytes) -> list[tuple[float, float]]:
    wanted = before[-REACH:].rjust(REACH, b"\0")
    found = []
    for length in COUNTED:
        after: Counter[int] = Counter()
        for text in texts:
            padded = b"\0" * REACH + text
            after.update(
                padded[i]
                for i in range(REACH, len(padded))
                if padded[i - length : i] == wanted[-length:]
            )
        found.append((float(after[followed[0]]), float(after.total())))
    return found


def longest(recall: Recall, before: bytes) -> int:
    return int(recall.matches(context_of(before)).lengths.max())


@pytest.mark.parametrize("before", [b"def area(width", b"    return ", b"wid", b"", b"nowhere"])
def test_counts_are_those_of_a_plain_search_also_after_changes(before: bytes) -> None:
    recall = Recall()
    for name, text in TEXTS.items():
        recall.add(name, text)
    recall.add("b.py", b"width = 1\n")
    recall.remove("c.py")
    texts = [TEXTS["a.py"], b"width = 1\n"]
    for followed in (b",", b"w", b"\n"):
        assert counted(recall, before, followed) == counted_slowly(texts, before, followed)


@settings(max_examples=30, deadline=None)
@given(st.lists(few_letters, min_size=1, max_size=4), few_letters)
def test_a_match_is_as_long_as_the_texts_agree_and_tells_what_followed(
    texts: list[bytes], before: bytes
) -> None:
    recall = Recall()
    for i, text in enumerate(texts):
        recall.add(str(i), text)
    found = recall.matches(context_of(before))
    own = context_of(before).tobytes()
    for length, place, same, byte in zip(
        MATCHED, found.places[:, 0], found.lengths[:, 0], found.bytes[:, 0], strict=True
    ):
        padded = [b"\0" * REACH + text for text in texts]
        stands = any(
            text[i - length : i] == own[-length:]
            for text in padded
            for i in range(REACH, len(text))
        )
        assert (same > 0) == stands
        if same:
            assert recall.read(int(place), 1) == bytes([byte])
            wanted = own[-int(same) :] + bytes([byte])
            assert any(wanted in text for text in padded)


@settings(max_examples=30, deadline=None)
@given(few_letters, st.binary(max_size=90))
def test_one_place_is_answered_like_many(text: bytes, data: bytes) -> None:
    recall = Recall()
    recall.add("text", text * 3)
    data = text[:20] + data
    padded = np.frombuffer(b"\0" * REACH + data, np.uint8)
    together = recall.matches(padded)
    hashes = context_hashes(padded, COUNTED)
    for i in range(len(data) + 1):
        one = recall.matches(padded[i : i + REACH])
        np.testing.assert_array_equal(one.places[:, 0], together.places[:, i])
        np.testing.assert_array_equal(one.lengths[:, 0], together.lengths[:, i])
        np.testing.assert_array_equal(one.bytes[:, 0], together.bytes[:, i])
        alone = context_hashes(padded[i : i + REACH], COUNTED)
        assert [int(h[0]) for h in alone] == [int(h[i]) for h in hashes]


def test_what_hashing_needed_is_freed_at_once() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of what other tests left open
        gc.collect()
    gc.disable()
    try:
        context_hashes(np.arange(REACH + 99).astype(np.uint8), (24, 12, 6, 4))
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_what_is_removed_leaves_nothing_behind() -> None:
    recall = Recall()
    recall.add("stays", TEXTS["b.py"])
    before = [recall.matches(context_of(TEXTS["b.py"][:i])) for i in range(60)]
    counters = recall._counters.copy()
    for _ in range(3):
        recall.add("goes", TEXTS["a.py"])
        recall.remove("goes")
    assert (recall._counters == counters).all()
    for i, matches in enumerate(before):
        now = recall.matches(context_of(TEXTS["b.py"][:i]))
        np.testing.assert_array_equal(now.places, matches.places)
    recall.remove("stays")
    assert not recall._counters.any()
    assert recall.num_bytes == 0


def test_a_hidden_file_does_not_tell_but_an_older_one_does() -> None:
    recall = Recall()
    recall.add("older", b"the quick brown fox jumps over")
    recall.add("newer", b"the quick brown fox sleeps on")
    before = b"the quick brown fox "
    assert recall.read(int(recall.matches(context_of(before)).places[1, 0]), 5) == b"sleep"
    with recall.hidden("newer"):
        assert recall.read(int(recall.matches(context_of(before)).places[1, 0]), 5) == b"jumps"
        assert counted(recall, before, b"s")[0][0] == 0
        with recall.hidden("older"):
            assert longest(recall, before) == 0
    assert counted(recall, before, b"s")[0] == (1.0, 2.0)


def test_the_files_added_first_make_room() -> None:
    recall = Recall(most_bytes=100)
    for name in "abc":
        recall.add(name, name.encode() * 40)
    assert recall.names == ["b", "c"]
    recall.add("long", b"x" * 500)
    assert (recall.names, recall.num_bytes) == (["long"], 100)


def test_a_file_saved_again_and_again_does_not_fill_the_memory() -> None:
    recall = Recall()
    recall.add("other", TEXTS["a.py"])
    text = TEXTS["b.py"] * 600
    for i in range(60):
        recall.add("saved", text[i:])
    assert len(recall._text) <= 8 * recall.num_bytes + (4 << 20)
    assert recall.text("saved") == text[59:]
    assert recall.text("other") == TEXTS["a.py"]
    assert longest(recall, text[59 : 59 + 30]) >= 24


def test_reading_ends_with_the_file() -> None:
    recall = Recall()
    recall.add("one", b"alpha beta gamma")
    recall.add("two", b"delta")
    place = int(recall.matches(context_of(b"alpha beta ")).places[3, 0])
    assert recall.read(place, 100) == b"gamma"
