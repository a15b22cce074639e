"""What is made of the bytes a model gives, with the bytes written out here."""

import re
from collections.abc import Generator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codebyte.tasks.caret import caret_between
from codebyte.tasks.draft import Completion, Piece, Steps, plain, shaped


def written(data: bytes, end: str) -> Steps:
    """A model that gives these bytes, of one bit, two bits, three ..., and then ends."""
    for i, byte in enumerate(data):
        yield byte, float(i + 1)
    return end


def complete(
    prefix: bytes,
    data: bytes,
    suffix: bytes = b"",
    *,
    end: str = "eot",
    several: bool | None = None,
    stop: tuple[bytes, ...] = (),
) -> Completion:
    lines = caret_between(prefix, suffix).multiline if several is None else several
    pieces = shaped(written(data, end), prefix, suffix, several=lines, stop=stop)
    return collected(pieces)


def collected(pieces: Generator[Piece, None, Completion]) -> Completion:
    shown = []
    while True:
        try:
            shown.append(next(pieces))
        except StopIteration as stopped:
            completion: Completion = stopped.value
            break
    assert b"".join(piece.text for piece in shown) == completion.text  # nothing is taken back
    assert [bit for piece in shown for bit in piece.bits] == completion.bits.tolist()
    assert len(completion.bits) == len(completion.text)
    return completion


PY = b"def f(x):\n    "
C = b"void f() {\n    if (x) {"


@pytest.mark.parametrize(
    ("prefix", "data", "suffix", "text", "reason"),
    [
        # one line, since the line has begun or goes on
        (b"x = ", b"1\ny = 2", b"", b"1", "line"),
        (b"x = ", b"1 + 2", b" + 2\n", b"1", "suffix"),
        (b"x = 1", b"\ny = 2", b"\n", b"", "line"),
        (b"x = ", b"1\r\ny", b"", b"1", "line"),
        (b"x = ", b"1", b"", b"1", "eot"),
        # several lines, to the end of the block that the caret is in
        (PY, b"return x\nprint(1)", b"", b"return x", "block"),
        (PY, b"y = x\n    return y\n\n\n    z", b"", b"y = x\n    return y", "block"),
        (PY, b"y = x\n\n    return y\n# end", b"", b"y = x\n\n    return y", "block"),
        (PY, b"if x:\n        y\n    z\nw", b"", b"if x:\n        y\n    z", "block"),
        (PY, b"return x\n", b"", b"return x\n", "eot"),
        (b"def f():\n\t", b"if x:\n\t\ty\n    z\nw", b"", b"if x:\n\t\ty", "block"),
        (b"", b"\n\n\n\nx = 1", b"", b"", "block"),
        (b"import a\n", b"\n\ndef f():\n    b\n\n\nc", b"", b"\n\ndef f():\n    b", "block"),
        # or that it opens
        (b"def f(x):", b"\n    return x\nprint", b"", b"\n    return x", "block"),
        (b"def f(x):", b" return x\nprint", b"", b" return x", "block"),
        (b"    f(", b"\n        a,\n    )\n    b", b"", b"\n        a,\n    )", "block"),
        (C, b"\n        y();\n    }\n    z();", b"", b"\n        y();\n    }", "block"),
        (C, b"\n        y();\n}", b"", b"\n        y();", "block"),
        (
            C,
            b"\n        y();\n    } else {\n        z();\n    }\n    w();",
            b"",
            b"\n        y();\n    } else {\n        z();\n    }",
            "block",
        ),
        # up to what follows
        (PY, b"y = 1\n    return y\n    z", b"\n    return y\n", b"y = 1", "suffix"),
        (PY, b"y = 1\n    return yes\n", b"\n    return y\n", b"y = 1\n    return yes\n", "eot"),
        (PY, b"return y", b"\n\n    return y\n", b"", "suffix"),
        (C, b"\n        y();\n    }", b"\n    }\n}\n", b"\n        y();", "suffix"),
        (b"f(", b"x, y)", b", y)\n", b"x", "suffix"),
        (b"f(", b"x, y) # more", b", y)\n", b"x, y) # more", "eot"),  # short: may be meant
        (b"f(", b"0, first, second) + 1", b"first, second)\n", b"0, ", "suffix"),
        (b"a", b"b = compute(1)", b"\n", b"b = compute(1)", "eot"),
        # without going round in circles
        (PY, b"go()\n    go()\n    go()\n    stop()", b"", b"go()", "block"),
        (PY, b"go()\n    go()\n    stop()", b"", b"go()\n    go()\n    stop()", "eot"),
        (b"xs = [", b"\n    0,\n    0,\n    0,\n", b"", b"\n    0,", "block"),
        (
            b"x = ",
            b"a + b and a + b and a + b and a + b and c",
            b"",
            b"a + b and a + b and",
            "block",
        ),
        (
            PY,
            b"a = 1\n    b = 2\n    " * 5,
            b"",
            b"a = 1\n    b = 2\n    a = 1\n    b = 2",
            "block",
        ),
        (PY, b" " * 300, b"", b"", "block"),
        # in the file's own kind of lines
        (b"def f():\r\n    ", b"a\n    b\r\nc", b"", b"a\r\n    b", "block"),
        (PY, b"a\r\n    b", b"", b"a\n    b", "eot"),
        (PY, b"a\r", b"", b"a", "eot"),
        # in any alphabet
        ("größe = ".encode(), "größe\n".encode(), b"", "größe".encode(), "line"),
        (b"a = b'\0", b"\0'\n", b"", b"\0'", "line"),
    ],
)
def test_a_completion_ends_where_the_code_wants_it(
    prefix: bytes, data: bytes, suffix: bytes, text: bytes, reason: str
) -> None:
    completion = complete(prefix, data, suffix)
    assert (completion.text, completion.stop_reason) == (text, reason)


ADD = b"parser.add_argument("
RULED = b"# " + b"-" * 40 + b"\n# Paths\n# " + b"-" * 40 + b"\n\nx = 1\n\n"
RST = b'def f():\n    """Does it.\n\n    A title of thirty letters, say:\n    '


@pytest.mark.parametrize(
    ("prefix", "data", "suffix", "text", "reason"),
    [
        # what nobody asked for is not shown at all
        (ADD, b'"' + b"-" * 100, b"", b"", "block"),
        (ADD, b'\n    "--a",\n    ' + b"-" * 100 + b"\n    b,", b"", b'\n    "--a",', "block"),
        (PY, b"y = 1\n    # " + b"-=" * 40, b"", b"y = 1", "block"),
        (b"x = ", b"- " * 20, b"", b"", "block"),
        # what the file uses goes on, and ends where it does there
        (RULED, b"# " + b"-" * 40 + b"\n# Names\n", b"", b"# " + b"-" * 40 + b"\n# Names\n", "eot"),
        (RULED, b"# " + b"-" * 100, b"", b"# " + b"-" * 40, "block"),
        (RULED + b"# ---", b"-" * 100, b"", b"-" * 37, "block"),
        (b"# ", b"-" * 100, b"\n" + RULED, b"-" * 40, "block"),
        (RULED, b"# " + b"=" * 100, b"", b"", "block"),
        (b"| a | b |\n|---|---|---|---|---|---|---|---|\n| c |\n", b"|---" * 7 + b"|\n", b"",
         b"|---" * 7 + b"|\n", "eot"),
        # what a person began ends at the edge
        (b"# ----", b"-" * 100, b"", b"-" * 73, "block"),
        # a title is underlined, and other marks are few
        (RST, b"-" * 30 + b"\n    b", b"", b"-" * 30 + b"\n    b", "eot"),
        (RST, b"-" * 60 + b"\n    b", b"", b"", "block"),
        (b"| name | value |\n", b"|---|---|\n| a | 1 |", b"", b"|---|---|\n| a | 1 |", "eot"),
        (PY, b"y = '" + b"-" * 20 + b"'", b"", b"y = '" + b"-" * 20 + b"'", "eot"),
        # closers and lines that are alike
        (C, b"\n        {{{}}}\n    }", b"", b"\n        {{{}}}\n    }", "eot"),
        (PY, b"".join(b"a%d = b[%d]\n    " % (i, i) for i in range(5)) + b"c", b"",
         b"".join(b"a%d = b[%d]\n    " % (i, i) for i in range(5)) + b"c", "eot"),
    ],
)  # fmt: skip
def test_marks_without_an_end_are_no_suggestion_but_the_files_own_go_on(
    prefix: bytes, data: bytes, suffix: bytes, text: bytes, reason: str
) -> None:
    completion = complete(prefix, data, suffix)
    assert (completion.text, completion.stop_reason) == (text, reason)


@pytest.mark.parametrize("end", ["budget", "cancel"])
def test_a_line_cut_off_before_it_began_is_dropped(end: str) -> None:
    assert complete(PY, b"y = x\n    ", end=end).text == b"y = x"
    assert complete(PY, b"y = x\n    re", end=end).text == b"y = x\n    re"
    assert complete(b"x = ", "1 + ä".encode()[:-1], end=end).text == b"1 + "


def test_a_stop_string_is_not_shown() -> None:
    completion = complete(b"x = ", b"1 ## 2", stop=(b"##", b"\n"))
    assert (completion.text, completion.stop_reason) == (b"1 ", "stop")


def test_a_stop_string_ends_lines_as_the_file_does() -> None:
    for stop in (b")\n    g", b")\r\n    g"):
        completion = complete(b"def f():\r\n    ", b"f()\n    g()", stop=(stop,))
        assert (completion.text, completion.stop_reason) == (b"f(", "stop")


def test_bits_stay_with_their_bytes() -> None:
    assert complete(b"x = ", b"12\n").bits.tolist() == [1, 2]
    crlf = complete(b"def f():\r\n    ", b"a\nb\r\nc", several=True)
    assert crlf.text == b"a"
    crlf = complete(b"\r\n", b"a\nb\r\nc", several=True)
    assert crlf.text == b"a\r\nb\r\nc"
    assert crlf.bits.tolist() == [1, 2, 0, 3, 4 + 5, 0, 6]


@pytest.mark.parametrize(
    ("prefix", "data", "suffix", "replaced"),
    [
        (b"print(", b"x)", b")\n", 1),
        (b"print(", b"x", b")\n", 0),
        (b"print(", b"f(x)", b")\n", 0),
        (b"print(len(", b"x)", b")\n", 0),
        (b"print(len(", b"x))", b")\n", 1),
        (b"print(len(", b"x))", b"))\n", 2),
        (b'print("', b'hello")', b'")\n', 2),
        (b'print("', b'hello"', b'")\n', 1),
        (b"print(", b'"hello")', b")\n", 1),
        (b"print(", b'")"', b")\n", 0),
        (b"int f() {\n  g(", b"a)", b")\n}\n", 1),
        (b"x = [", b"f(1), 2]", b"]\n", 1),
        (b"# don't\nprint(", b"x)", b");\n", 1),
        (b"print(", b"x)", b"", 0),
    ],
)
def test_closers_that_the_editor_put_there_are_replaced(
    prefix: bytes, data: bytes, suffix: bytes, replaced: int
) -> None:
    completion = complete(prefix, data, suffix)
    assert (completion.text, completion.replace_suffix_bytes) == (data, replaced)


def test_bytes_may_come_as_they_are() -> None:
    data = b"a\r\n)\n\n\n\nb"
    completion = collected(plain(written(data + b"\xc3", "budget"), stop=(b"b\n",)))
    assert (completion.text, completion.stop_reason) == (data, "budget")


LONG = [b"-", b"-" * 20, b"to the end of the line "]
CODE = st.lists(
    st.sampled_from(
        [b"a", b"b", b" ", b"    ", b"\n", b"\r\n", b"\r", b"(", b")", b":", b"{", b"}", *LONG]
    ),
    max_size=24,
).map(b"".join)


@settings(deadline=None)
@given(
    prefix=CODE,
    data=CODE,
    suffix=CODE,
    several=st.booleans(),
    end=st.sampled_from(["eot", "budget"]),
)
def test_pieces_joined_are_the_completion_whatever_comes(
    prefix: bytes, data: bytes, suffix: bytes, several: bool, end: str
) -> None:
    completion = complete(prefix, data, suffix, end=end, several=several)
    assert several or b"\n" not in completion.text
    assert 0 <= completion.replace_suffix_bytes <= len(suffix)
    assert not (completion.text.endswith(b"\r") and suffix.startswith(b"\n"))
    unified = re.sub(b"\r+\n", b"\n", data)
    assert unified.startswith(re.sub(b"\r+\n", b"\n", completion.text))
    assert np.isfinite(completion.bits).all()
