import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebyte.indexer.chunk import LONGEST_CHUNK, chunk_file, chunk_whole, cut, strip_doc
from codebyte.indexer.definitions import clean_doc
from codebyte.indexer.grammars import GRAMMARS
from codebyte.indexer.languages import language_of

SOURCES = {  # path -> content, and the names it defines with their kinds, in order
    "a.py": (
        b"""import os

# Held by hand.
@cache
def top(a, b=1):
    '''Adds.

    More.'''
    def inner():
        return a
    return inner() + b


class Box(Base):
    \"\"\"Holds things.\"\"\"

    size = 3

    async def open(self) -> int:
        return self.size
""",
        [("top", "function"), ("top.inner", "function"), ("Box", "class"), ("Box.open", "method")],
    ),
    "a.js": (
        b"""'use strict'
/** Starts it. */
export async function start(port) { return port }
const stop = (x) => {
  return x
}
exports.render = function render(view) {
  return view
}
class App extends Base {
  #x = 1
  handle(req) { return req }
}
""",
        [
            ("start", "function"),
            ("stop", "function"),
            ("render", "function"),
            ("App", "class"),
            ("App.handle", "method"),
        ],
    ),
    "a.tsx": (
        b"""export interface Props { name: string }
type Id = string | number
enum Colour { Red, Green }
abstract class Base<T> {
  abstract go(): void
  run(x: T): T { return x }
}
export const View = ({ name }: Props) => {
  return <div>{name}</div>
}
""",
        [
            ("Props", "class"),
            ("Id", "class"),
            ("Colour", "class"),
            ("Base", "class"),
            ("Base.run", "method"),
            ("View", "function"),
        ],
    ),
    "a.ts": (b"function f(x: number) { return <any>x }\n", [("f", "function")]),
    "a.go": (
        b"""package a

// Server serves.
type Server struct {
	port int
}

// Start starts it.
func (s *Server) Start(addr string) error {
	return nil
}

func New[T any](x T) *Server { return nil }
""",
        [("Server", "class"), ("Server.Start", "method"), ("New", "function")],
    ),
    "a.rs": (
        b"""/// A point.
#[derive(Debug)]
pub struct Point<T> { x: T }

impl<T> Display for Point<T> {
    /// Shows it.
    fn fmt(&self) -> String {
        String::new()
    }
}

macro_rules! go { () => {} }
pub trait Walk { fn walk(&self) { } }
""",
        [
            ("Point", "class"),
            ("Point.fmt", "method"),
            ("go", "function"),
            ("Walk", "class"),
            ("Walk.walk", "method"),
        ],
    ),
    "A.java": (
        b"""package a;
/** Keeps. */
public class Keeper<T> implements Runnable {
  private int size;
  /** Makes one. */
  public Keeper(int size) { this.size = size; }
  @Override
  public void run() { size++; }
  enum Kind { A, B }
}
""",
        [
            ("Keeper", "class"),
            ("Keeper.Keeper", "method"),
            ("Keeper.run", "method"),
            ("Keeper.Kind", "class"),
        ],
    ),
    "a.c": (
        b"""#include <a.h>
/* Adds two. */
static int *add(int a, int b)
{
  return a + b;
}
struct point { int x; };
typedef struct { int y; } other_t;
#define SQUARE(x) ((x) * (x))
""",
        [
            ("add", "function"),
            ("point", "class"),
            ("other_t", "class"),
            ("SQUARE", "function"),
        ],
    ),
    "a.cpp": (
        b"""namespace a {
template <typename T>
class Stack {
 public:
  void push(T x) { v.push_back(x); }
  ~Stack() {}
};
int Stack<int>::size() const { return 0; }
bool operator==(const A& a, const A& b) { return true; }
}
""",
        [
            ("Stack", "class"),
            ("Stack.push", "method"),
            ("Stack.~Stack", "method"),
            ("Stack.size", "method"),
            ("operator==", "function"),
        ],
    ),
    "a.h": (b"#pragma once\nclass Foo {\n public:\n  int bar() { return 1; }\n};\n",
            [("Foo", "class"), ("Foo.bar", "method")]),
    "A.cs": (
        b"""namespace A;
/// <summary>Greets.</summary>
public record Greeter(string Name);
public class Door {
    public Door() { }
    public async Task<int> Open(int n) => n;
}
""",
        [
            ("Greeter", "class"),
            ("Door", "class"),
            ("Door.Door", "method"),
            ("Door.Open", "method"),
        ],
    ),
    "a.rb": (
        b"""module Shop
  # A basket.
  class Basket < Base
    def add(item)
      @items << item
    end

    def self.empty? = true
  end
end
""",
        [
            ("Shop", "class"),
            ("Shop.Basket", "class"),
            ("Shop.Basket.add", "method"),
            ("Shop.Basket.empty", "method"),
        ],
    ),
    "a.php": (
        b"""<?php
namespace A;
/** Reads. */
class Reader {
    public function read(string $path): string { return $path; }
}
function helper(int $x) { return $x; }
""",
        [("Reader", "class"), ("Reader.read", "method"), ("helper", "function")],
    ),
    "a.sh": (
        b"""#!/bin/bash
# Greets.
greet() {
  echo hello
}
function part { echo part; }
""",
        [("greet", "function"), ("part", "function")],
    ),
}  # fmt: skip

PIECES = (
    *(b"class A:\n", b"def f(x):\n", b"    return 1\n", b"\n", b"}", b"{", b"  '''", b"\xff"),
    *(b"function g() {\n", b"# Title\n", b"x = 1\r\n", b"\x00", b"a" * 3000 + b"\n"),
)


def check_tiling(path: str, data: bytes) -> None:
    """The law of chunks: whole lines, in order, none twice, and none that says something lost."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", data)
    before = 0
    covered: set[int] = set()
    for chunk in chunk_file(path, data, language_of(path)):
        assert before < chunk.start_line <= chunk.end_line
        assert b"".join(lines[chunk.start_line - 1 : chunk.end_line]) == chunk.text
        assert data[chunk.start : chunk.end] == chunk.text
        before = chunk.end_line
        covered |= set(range(chunk.start_line, chunk.end_line + 1))
    said = {place for place, line in enumerate(lines, 1) if re.search(rb"\w|[\x80-\xff]", line)}
    assert said <= covered


@pytest.mark.parametrize("path", SOURCES)
def test_each_language_gives_its_definitions_with_the_names_around_them(path: str) -> None:
    data, wanted = SOURCES[path]
    chunks, symbols = cut(path, data, language_of(path))
    assert [(it.qualified, it.kind) for it in symbols] == wanted
    within = {"top.inner", "Walk.walk"}  # inside a function, or on its class's own line
    assert {name for name, _ in wanted} - within <= {chunk.symbol for chunk in chunks}
    check_tiling(path, data)


def test_every_grammar_is_among_the_examples() -> None:
    assert {"tsx"} | {language_of(path) for path in SOURCES} == set(GRAMMARS)


def test_a_chunk_has_its_signature_its_doc_and_what_stands_above_it() -> None:
    data, _ = SOURCES["a.py"]
    by_name = {chunk.symbol: chunk for chunk in chunk_file("a.py", data, "python")}
    top = by_name["top"]
    assert (top.start_line, top.end_line) == (3, 11)
    assert top.text.startswith(b"# Held by hand.\n@cache\ndef top")
    assert top.signature == "def top(a, b=1)"
    assert top.doc == "Adds.\n\nMore."
    assert data[top.doc_start : top.doc_end] == b"'''Adds.\n\n    More.'''"
    assert strip_doc(top) == (
        b"# Held by hand.\n@cache\ndef top(a, b=1):\n"
        b"    def inner():\n        return a\n    return inner() + b\n"
    )
    assert by_name["Box.open"].signature == "async def open(self) -> int"
    assert by_name["Box"].text == b'class Box(Base):\n    """Holds things."""\n\n    size = 3\n'


@pytest.mark.parametrize(
    ("path", "symbol", "doc"),
    [
        ("a.js", "start", "Starts it."),
        ("a.go", "Server.Start", "Start starts it."),
        ("a.rs", "Point", "A point."),
        ("a.rs", "Point.fmt", "Shows it."),
        ("A.java", "Keeper.Keeper", "Makes one."),
        ("a.c", "add", "Adds two."),
        ("a.rb", "Shop.Basket", "A basket."),
        ("a.php", "Reader", "Reads."),
        ("a.sh", "greet", "Greets."),
    ],
)
def test_a_comment_above_is_the_doc(path: str, symbol: str, doc: str) -> None:
    chunks = chunk_file(path, SOURCES[path][0], language_of(path))
    chunk = next(it for it in chunks if it.symbol == symbol)
    assert chunk.doc == doc
    assert doc.encode() not in strip_doc(chunk)


def test_a_file_that_does_not_parse_still_gives_what_is_whole_in_it() -> None:
    data = b"def whole(a):\n    return a\n\nclass Bad(:\n    x = = 3\n\ndef after():\n    pass\n"
    chunks = chunk_file("a.py", data, "python")
    assert {"whole", "after"} <= {chunk.symbol for chunk in chunks}
    check_tiling("a.py", data)


def test_a_long_function_is_cut_to_windows_that_keep_its_name() -> None:
    body = b"".join(b"    value_%d = compute(%d)\n" % (i, i) for i in range(400))
    data = b'def long():\n    """Says a lot."""\n' + body
    chunks = chunk_file("a.py", data, "python")
    assert b"".join(chunk.text for chunk in chunks) == data
    assert {chunk.symbol for chunk in chunks} == {"long"}
    assert [chunk.kind for chunk in chunks] == ["function"] + ["lines"] * (len(chunks) - 1)
    assert [chunk.doc for chunk in chunks] == ["Says a lot."] + [""] * (len(chunks) - 1)
    assert max(len(chunk.text) for chunk in chunks) <= LONGEST_CHUNK


def test_sections_know_the_headings_above_them_and_skip_code() -> None:
    data = b"""# Tool

Does things.

## Install

```sh
# not a heading
pip install tool
```

Under
-----

Text.

# Next
"""
    chunks = chunk_file("README.md", data, "markdown")
    assert [(it.symbol, it.start_line, it.end_line) for it in chunks] == [
        ("Tool", 1, 3),
        ("Tool > Install", 5, 10),
        ("Tool > Under", 12, 15),
        ("Next", 17, 17),
    ]
    rst = b"Title\n=====\n\nText.\n\nPart\n----\n\nMore.\n"
    found = [(it.symbol, it.start_line) for it in chunk_file("a.rst", rst, "rst")]
    assert found == [("Title", 1), ("Title > Part", 6)]


def test_lines_of_an_unknown_language_are_cut_after_empty_ones() -> None:
    data = b"".join(b"line %d\n" % i + (b"\n" if i % 20 == 19 else b"") for i in range(100))
    chunks = chunk_file("notes.sql", data, "sql")
    assert [(it.start_line, it.end_line) for it in chunks] == [(1, 41), (43, 83), (85, 104)]
    check_tiling("notes.sql", data)


@given(
    st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join),
    st.sampled_from(["a.py", "a.js", "a.md", "a.cpp", "a.rb", "a.toml"]),
)
def test_chunks_of_any_bytes_cover_each_line_once(data: bytes, path: str) -> None:
    check_tiling(path, data)


def test_a_document_is_one_chunk_named_after_its_first_definition() -> None:
    code = b"def read(path):\n    '''Reads.'''\n    return open(path)\n"
    chunk = chunk_whole("io.py", code, "python")
    assert (chunk.symbol, chunk.kind, chunk.text) == ("read", "function", code)
    assert (chunk.start_line, chunk.end_line, chunk.doc) == (1, 3, "Reads.")
    assert chunk_whole("x.py", b"", "python").text == b""
    method = b"  async handle(req) {\n    const inner = () => 1\n    return inner()\n  }\n"
    assert chunk_whole("a.ts", method, "typescript").symbol == "handle"


@pytest.mark.parametrize(
    ("raw", "doc"),
    [
        (b"/**\n * Reads a file.\n *\n * @param x what\n */", "Reads a file.\n\n@param x what"),
        (b"/// One.\n/// Two.", "One.\nTwo."),
        (b"# One.\n#\n# Two.", "One.\n\nTwo."),
        (b'r"""One."""', "One."),
        (b"// a * b", "a * b"),
        (b"'''It's \"it\"'''", 'It\'s "it"'),
    ],
)
def test_marks_of_comments_are_taken_off(raw: bytes, doc: str) -> None:
    assert clean_doc(raw) == doc


def test_our_own_sources_are_cut_as_the_law_says() -> None:
    for file in sorted((Path(__file__).parent.parent / "codebyte").glob("*.py"))[:12]:
        check_tiling(file.name, file.read_bytes())
