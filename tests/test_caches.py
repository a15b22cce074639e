"""Which prompt cache is lent for a request."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebyte.apps.caches import Caches, common
from codebyte.megabyte import Megabyte
from codebyte.tasks.completion import Completer

TEXT = b"def area(width, height):\n    return width * height\n"


@pytest.fixture
def caches(tiny_model: Megabyte) -> Caches:
    return Caches(tiny_model, most=3)


def lent(
    caches: Caches,
    prefix: bytes,
    suffix: bytes = b"",
    *,
    client: str = "ada",
    cancel: threading.Event | None = None,
) -> Completer:
    with caches.taken(client, prefix, suffix, None, cancel or threading.Event()) as cache:
        return cache.completer


def test_whoever_types_on_gets_the_same_cache_back(caches: Caches) -> None:
    first = lent(caches, TEXT[:20])
    assert lent(caches, TEXT[:21]) is first
    assert lent(caches, TEXT[:19], client="another connection") is first
    assert lent(caches, TEXT[:21], b"another suffix") is not first


def test_another_text_gets_another_cache_and_both_are_kept(caches: Caches) -> None:
    first, second = lent(caches, TEXT), lent(caches, b"import json\n" * 3)
    assert first is not second
    assert lent(caches, TEXT + b"#") is first
    assert lent(caches, b"import json\n" * 3 + b"i") is second


def test_half_of_a_text_must_be_known(caches: Caches) -> None:
    first = lent(caches, b"12345678")
    assert lent(caches, b"1234abcd") is not first
    assert lent(caches, b"12345abc") is first


def test_the_one_unused_for_longest_goes_first(caches: Caches) -> None:
    texts = [bytes([letter]) * 10 for letter in b"abc"]
    a, b, c = (lent(caches, text, client=str(text)) for text in texts)
    assert lent(caches, texts[0]) is a
    assert lent(caches, b"d" * 10) is b
    assert lent(caches, texts[2]) is c
    assert len(caches) == 3


def test_a_client_gives_up_its_own_before_those_of_others(caches: Caches) -> None:
    other = lent(caches, b"x" * 10, client="bob")
    for letter in b"abcdef":
        lent(caches, bytes([letter]) * 10)
    assert lent(caches, b"x" * 11, client="bob") is other


def test_no_cache_serves_two_requests_at_once(caches: Caches) -> None:
    with ExitStack() as open_requests:
        completers = [
            open_requests.enter_context(
                caches.taken("ada", TEXT, b"", None, threading.Event())
            ).completer
            for _ in range(5)
        ]
        assert len({id(completer) for completer in completers}) == 5
    lent(caches, b"")
    assert len(caches) == 3


def test_a_cache_whose_request_was_given_up_is_waited_for(caches: Caches) -> None:
    cancel, found = threading.Event(), []

    def wait() -> None:
        found.append(lent(caches, TEXT + b"#"))

    with caches.taken("ada", TEXT, b"", None, cancel) as lent_first:
        cancel.set()
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.05)
        assert found == []
    thread.join()
    assert found == [lent_first.completer]


@given(st.binary(max_size=20), st.binary(max_size=5), st.binary(max_size=5))
def test_a_common_beginning_is_the_longest(start: bytes, one: bytes, other: bytes) -> None:
    def slowly() -> Iterator[int]:
        for length in range(min(len(start + one), len(start + other)) + 1):
            if (start + one)[:length] == (start + other)[:length]:
                yield length

    assert common(start + one, start + other) == max(slowly())
