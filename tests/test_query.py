"""What is read from a query."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebyte.errors import InputError
from codebyte.indexer.query import MAX_CHARACTERS, Query, parse_query, path_matches


def test_words_exact_text_patterns_and_filters_are_told_apart() -> None:
    text = (
        r'retry policy path:src/*.py lang:Python "raise \"Stop\"" /def \w+_fast/ repo:flask sym:App'
    )
    assert parse_query(text) == Query(
        text=text,
        words='retry policy raise "Stop"',
        exact=('raise "Stop"',),
        patterns=(r"def \w+_fast",),
        paths=("src/*.py",),
        languages=("python",),
        repos=("flask",),
        symbols=("App",),
        kind="sentence",
    )


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        (r'"a\tb"', r"a\tb"),
        (r'"C:\Users"', r"C:\Users"),
        (r'"say \"x\""', 'say "x"'),
        (r'"one\\two"', r"one\two"),
    ],
)
def test_only_quotes_and_backslashes_are_escaped_in_exact_text(text: str, exact: str) -> None:
    assert parse_query(text).exact == (exact,)


@pytest.mark.parametrize(
    "text",
    [
        "ClientSession",
        "http::Server",
        "Reader.read()",
        "_private",
        "quantize",
        "JsonReader#peek",
        "self->field",
    ],
)
def test_one_name_is_a_symbol(text: str) -> None:
    assert parse_query(text).kind == "symbol"


@pytest.mark.parametrize("text", ["where are retries", "a b", "", "1 + 1", "C++", "'quoted'"])
def test_anything_else_is_a_sentence(text: str) -> None:
    assert parse_query(text).kind == "sentence"


def test_names_inside_a_sentence_are_noticed() -> None:
    query = parse_query("how does TCPConnector call _wrap_create() for the Resolver")
    assert query.names == ("TCPConnector", "_wrap_create")


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE chunks; --", 'a" OR 1=1', "NEAR(a b, 3) AND NOT c*", "{a b} : ^x", '"']
)
def test_operators_of_sql_and_search_engines_are_words(text: str) -> None:
    query = parse_query(text)
    assert (query.words, query.exact, query.patterns) == (text, (), ())


def test_paths_are_not_taken_for_regular_expressions() -> None:
    assert parse_query("/usr/lib/python").words == "/usr/lib/python"


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", "(?P<x>a)(?P<x>b)", "x" * 600])
def test_a_wrong_or_endless_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="regular expression"):
        parse_query(f"/{pattern}/")


def test_a_query_of_100_kilobytes_is_cut() -> None:
    assert len(parse_query("word " * 20_000).words) <= MAX_CHARACTERS


@given(st.text(st.characters(exclude_characters='"/:'), max_size=300))
def test_text_without_marks_is_words(text: str) -> None:
    assert parse_query(text).words == " ".join(text.split())


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("src/app/main.py", "src/*", True),
        ("src/app/main.py", "*.py", True),
        ("src/app/main.py", "app/*.py", True),
        ("src/app/main.py", "app", True),
        ("src/app/main.py", "APP/", True),
        ("src/app/main.py", "*.go", False),
        ("src/app/main.py", "main/*", False),
        ("src/app/main.py", "./src/*", True),
        ("src/app/main.py", "src/**/main.py", True),
        ("src/main.py", "src/**/*.py", True),
        ("lib/main.py", "src/**/*.py", False),
        ("app/[id]/page.tsx", "app/[id]/page.tsx", True),
        ("app/i/page.tsx", "app/[id]/page.tsx", True),
    ],
)
def test_paths_match_globs_and_parts(path: str, pattern: str, expected: bool) -> None:
    assert path_matches(path, pattern) is expected


def test_filters_of_a_kind_are_alternatives_and_kinds_are_conditions() -> None:
    query = parse_query("x lang:go lang:rust path:src repo:tok sym:Server")
    assert query.accepts("src/a.rs", "rust", "tokio-rs/tokio", "http.Server.run")
    assert not query.accepts("src/a.py", "python", "tokio-rs/tokio", "http.Server.run")
    assert not query.accepts("lib/a.rs", "rust", "tokio-rs/tokio", "http.Server.run")
    assert not query.accepts("src/a.rs", "rust", "hyper", "http.Server.run")
    assert not query.accepts("src/a.rs", "rust", "tokio-rs/tokio", "Client")
