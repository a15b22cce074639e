"""Terms of code and of questions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebyte.indexer.abbreviations import ABBREVIATIONS, STOP_WORDS
from codebyte.indexer.words import (
    MAX_PARTS,
    count_terms,
    exact_name,
    parts,
    question_terms,
    split_words,
    terms,
    terms_of,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("parseHTTPResponse", ["parse", "HTTP", "Response"]),
        ("parse_http_response", ["parse", "http", "response"]),
        ("HTTPServer2", ["HTTP", "Server2"]),
        ("URLs", ["URLs"]),
        ("x", ["x"]),
        ("SCREAMING_CASE", ["SCREAMING", "CASE"]),
        ("sha256sum", ["sha256", "sum"]),
        ("großeÄnderung", ["großeÄnderung"]),
        ("__init__", ["init"]),
    ],
)
def test_names_are_split_at_their_borders(name: str, expected: list[str]) -> None:
    assert parts(name) == expected


def test_camel_and_snake_give_the_same_terms_with_the_whole_name() -> None:
    assert terms("parseHTTPResponse") == terms("parse_http_response")
    assert terms("parseHTTPResponse")[-1] == "parsehttpresponse"


@pytest.mark.parametrize(
    ("short", "long"),
    [("cfg", "configuration"), ("msgs", "message"), ("ctx", "contexts"), ("retries", "retry")],
)
def test_short_forms_and_inflections_meet_the_word(short: str, long: str) -> None:
    assert terms(short) == terms(long)


def test_there_are_more_than_75_abbreviations_and_none_leads_to_another() -> None:
    assert len(ABBREVIATIONS) > 75
    assert not {word for word in ABBREVIATIONS.values() if ABBREVIATIONS.get(word, word) != word}


def test_a_word_with_digits_gives_its_letters_too() -> None:
    assert terms("utf8") == ["utf", "utf8"]


def test_words_that_say_nothing_are_left_out_of_code_and_marked_in_questions() -> None:
    assert terms("return self") == []
    assert question_terms("returns whether the file is open") == [
        "~return",
        "~whether",
        "~the",
        "file",
        "~is",
        "open",
    ]


def test_chinese_is_searched_by_pairs_of_characters() -> None:
    assert terms("配置文件") == ["配置", "置文", "文件"]


def test_long_runs_are_data() -> None:
    assert terms("a" * 200) == []
    assert len(parts("aB" * 60)) == MAX_PARTS


@pytest.mark.parametrize(
    "written", ["io.Reader.read", "Reader::read()", "reader->read", "read", "lib/Reader#read!"]
)
def test_the_exact_name_is_the_last_part(written: str) -> None:
    assert exact_name(written) == "=read"


@given(st.text(max_size=200))
def test_counting_agrees_with_the_list_for_any_text(text: str) -> None:
    counts: dict[str, int] = {}
    for word in split_words(text):
        for term in terms_of(word):
            counts[term] = counts.get(term, 0) + 1
    assert count_terms(text) == counts
    assert count_terms(text.encode("utf-8", "replace")) == count_terms(
        text.encode("utf-8", "replace").decode()
    )
    assert not counts.keys() & STOP_WORDS - {term for w in STOP_WORDS for term in terms_of(w + "s")}
