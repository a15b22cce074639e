import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebyte.tasks.bag import MAX_BYTES, WORD_BYTES, features, fields, parts, stem, word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"parseHTTPResponse", [b"parse", b"HTTP", b"Response"]),
        (b"read_utf8_lines", [b"read", b"utf", b"8", b"lines"]),
        (b"XMLHttpRequest2", [b"XML", b"Http", b"Request", b"2"]),
        (b"a.b->c(1)", [b"a", b"b", b"c", b"1"]),
        ("Menü_größe".encode(), ["Menü".encode(), "größe".encode()]),
        (b"\x00 \xff\n", [b"\xff"]),
        (b"", []),
    ],
)
def test_names_split_where_case_digits_and_marks_do(text, expected):
    assert parts(text) == expected


@given(st.binary(max_size=200))
def test_parts_are_the_text_without_what_lies_between_them(text):
    between = bytes(c for c in text if not ((chr(c).isalnum() and c < 128) or c >= 128))
    assert b"".join(parts(text)) == text.translate(None, between)


@pytest.mark.parametrize(
    "family",
    [
        (b"retry", b"retries", b"retried"),
        (b"parse", b"parses", b"parsed", b"parsing", b"parser"),
        (b"stop", b"stops", b"stopped", b"stopping"),
        (b"initialize", b"initialise", b"initialising", b"initialization"),
        (b"validate", b"validator", b"validation", b"validates"),
        (b"box", b"boxes"),
    ],
)
def test_words_of_a_family_share_a_stem(family):
    assert len({stem(each) for each in family}) == 1


@pytest.mark.parametrize(
    "pair", [(b"use", b"user"), (b"as", b"a"), (b"pass", b"pas"), (b"id", b"i")]
)
def test_short_words_keep_their_endings(pair):
    assert stem(pair[0]) != stem(pair[1])


@given(st.binary(min_size=1, max_size=60))
def test_a_word_is_short_and_in_lower_case(text):
    for part in parts(text):
        assert len(word(part)) <= WORD_BYTES
        assert word(part) == word(part).lower()
        assert word(part.upper()) == word(part)


def test_long_numbers_are_one_word():
    assert word(b"123456") == word(b"98765") != word(b"123")


def test_features_are_the_vocabularys_rows_then_buckets():
    vocabulary = {b"retries": 0, b"~retry": 1, b"other": 2}
    found = features(b"retries", vocabulary, 7)
    assert found[:2] == [0, 1]
    assert all(3 <= row < 10 for row in found[2:])
    # "<retries>" has 9 bytes: 7 + 6 + 5 n-grams, all different
    assert len(found) == 2 + 18
    assert features(b"retries", vocabulary, 0) == [0, 1]
    assert features(b"unknown", {}, 0) == []


@pytest.mark.parametrize(
    ("code", "symbol"),
    [
        (b"def greet(name):\n    pass\n", b"greet"),
        (b"    async def wait(self): ...", b"wait"),
        (b"class Server(Base):\n    x = 1\n", b"Server"),
        (b"func (s *Server) Next(n int) int {", b"Server.Next"),
        (b"pub(crate) fn read_line<T>(r: T) {", b"read_line"),
        (b"public static int add(int a, int b) {", b"add"),
        (b"static char *copy(const char *s)\n{", b"copy"),
        (b"export default function parse(a) {}", b"parse"),
        (b"x = 3\n", b""),
    ],
)
def test_the_first_definition_names_a_chunk(code, symbol):
    assert fields(code).symbol == symbol


def test_a_first_line_names_a_chunk_and_is_no_part_of_it():
    found = fields(b"\x1esrc/a.py\x1fServer.start\ndef other():\n    return 1\n")
    assert (found.path, found.symbol) == (b"src/a.py", b"Server.start")
    assert found.signature == b"def other():"
    assert found.body == b"def other():\n    return 1\n"


@given(st.binary(max_size=300))
def test_any_bytes_come_apart(text):
    found = fields(text)
    assert text.endswith(found.body)


def test_a_long_chunk_is_read_to_a_limit():
    assert len(fields(b"x" * (1 << 20)).body) == MAX_BYTES
