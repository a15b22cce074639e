"""Definitions read off the head of a piece of code."""

import time

import pytest

from codebyte.indexer.symbols import definition


@pytest.mark.parametrize(
    ("code", "symbol", "signature"),
    [
        ("def f(a,\n      b=1):\n    pass", "f", "def f(a, b=1)"),
        ("@cache\n@app.route('/')\nasync def go() -> int:\n  ...", "go", "async def go() -> int"),
        ("class A(B):\n    x = 1", "A", "class A(B)"),
        ("func (s *Server) Serve(l net.Listener) error {", "Server.Serve", None),
        ("func New[T any](n int) *T {\n", "New", None),
        ("pub(crate) async fn run<T: Send>(self) -> io::Result<()> {", "run", None),
        ("#[inline]\npub const unsafe fn get(&self) -> u8 {", "get", None),
        ("impl<T> fmt::Display for Wrapper<T> {", "Wrapper", None),
        ("@Override\npublic static <T> List<T> of(T one) throws X {\n}", "of", None),
        ("/** Says. */\nexport default async function load(url) {", "load", None),
        ("export const useThing = async (a: string): Promise<void> => {", "useThing", None),
        ("Route.prototype.match = function match(path) {", "Route.match", None),
        ("exports.render = function (view) {", "render", None),
        ("static void\nuv__drain(uv_stream_t* stream) {", "uv__drain", None),
        ("Status DBImpl::Get(const Slice& key) {", "DBImpl.Get", None),
        ("Table::~Table() { delete rep_; }", "Table.~Table", "Table::~Table()"),
        ("  def self.call(env)\n    env\n  end", "call", None),
        ("function install_all() {\n  true\n}", "install_all", "function install_all()"),
        ("public function handle(Request $r): Response {", "handle", None),
        ("#define MAX(a, b) ((a) > (b))", "MAX", None),
        ("x = 1\n", "", ""),
        ("", "", ""),
        ("if (ready) { go(); }", "", ""),
    ],
)
def test_heads_of_many_languages_are_read(code: str, symbol: str, signature: str | None) -> None:
    found = definition(code)
    assert found == definition(code.encode())
    assert found.symbol == symbol
    if signature is not None:
        assert found.signature == signature


@pytest.mark.parametrize(
    "code",
    ["impl " + " " * 5000, "(" * 5000, "a " * 3000 + "(", "pub " * 2000, "@" * 5000, "\0\xff"],
)
def test_hostile_code_takes_no_time(code: str) -> None:
    began = time.perf_counter()
    definition(code)
    assert time.perf_counter() - began < 0.5
