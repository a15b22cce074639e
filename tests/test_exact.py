import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codebyte.errors import InputError
from codebyte.indexer.exact import literals
from codebyte.indexer.index import CodeIndex

PATTERNS = (
    r"def \w+_settings\(self",
    r"colou?r scheme",
    r"[abc]xyz{2,3}tail",
    r"(one|two)three",
    r"(group)*after it",
    r"a\.b\.c[^\n]*end\)",
    r"\bword\b \d+more",
    r"^start.*finish$",
    r"x+yyy*zzzz",
    r"\[brackets\] and \{braces\}",
    r"[]a]bcd",
    r"(?i)MixedCase",
    r"ab{0}cdef",
    r"tail\\",
    r"\x41bcd",
    r"\u0041bcd",
    r"\U00000041bcd",
    r"\012abc",
)


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_match_holds_the_literals_of_its_pattern(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(pattern), fullmatch=True))
    assert [it for it in literals(pattern) if it not in text] == []


def test_literals_are_found_where_they_are_plain() -> None:
    assert literals(r"def \w+_settings\(self") == ["def ", "_settings(self"]
    assert literals(r"colou?r scheme") == ["colo", "r scheme"]
    assert literals("(?i)MixedCase") == []


def test_capitals_make_case_count() -> None:
    index = CodeIndex.from_documents([("a.py", b"Retry = 1\n"), ("b.py", b"retry = 1\n")], None)
    for query, ids in (('"Retry"', {0}), ('"retry ="', {0, 1}), ("/Retr./", {0}), (r"/retr\S/", {0, 1})):  # fmt: skip  # noqa: E501
        assert {hit.id for hit in index.search(query)} == ids, query


def test_patterns_read_characters_and_not_bytes() -> None:
    texts = ("caf\u00e9", "caf\u00ee", "\u00e9")  # the first two begin their last with one byte
    documents = [(f"{i}.py", text.encode()) for i, text in enumerate(texts)]
    index = CodeIndex.from_documents(documents, None)
    for query, ids in (("/caf[\u00e9\u00e8]/", {0}), ("/^.$/", {2}), (r"/caf\w$/", {0, 1})):
        assert {hit.id for hit in index.search(query)} == ids, query


def test_a_pattern_that_only_the_search_refuses_is_said_so() -> None:
    index = CodeIndex.from_documents([("a.py", b"x\n")], None)
    with pytest.raises(InputError, match="is no regular expression"):
        index.search("/(?P<a>x)(?P<a>y)/")
