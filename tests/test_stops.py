"""Rules one by one: what each holds back, and that it never takes back what it let out."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codebyte.tasks import stops
from codebyte.tasks.caret import Caret, caret_between
from codebyte.tasks.rulers import at_ruler
from codebyte.tasks.stops import Rule, Verdict, judge

LONG = [b"# ", b"-", b"-" * 20, b"the end of the end of "]
CODE = st.lists(
    st.sampled_from(
        [b"a", b"b", b" ", b"    ", b"\n", b"(", b")", b":", b"{", b"}", b"ab()", b"abc = 1", *LONG]
    ),
    max_size=24,
).map(b"".join)


@pytest.mark.parametrize(
    "name", ["stop", "line", "block", "next", "rest", "loop", "wrapped", "repeat", "ruler"]
)
@settings(deadline=None)
@given(prefix=CODE, suffix=CODE, data=CODE)
def test_no_rule_takes_back_what_it_let_out(
    name: str, prefix: bytes, suffix: bytes, data: bytes
) -> None:
    caret = caret_between(prefix, suffix)
    rules: dict[str, Rule] = {
        "stop": partial(stops.at_stop_string, stops=(b"ab", b"b\n")),
        "line": stops.at_line_end,
        "block": partial(stops.at_block_end, caret=caret),
        "next": partial(stops.at_next_line, caret=caret),
        "rest": partial(stops.at_rest_of_line, suffix=suffix, caret=caret),
        "loop": stops.at_loop,
        "wrapped": stops.at_wrapped_loop,
        "repeat": partial(stops.at_third_repeat, caret=caret),
        "ruler": partial(at_ruler, prefix=prefix, suffix=suffix),
    }
    shown = 0
    for end in range(1, len(data) + 1):
        verdict = rules[name](data[:end])
        assert 0 <= verdict.safe <= end
        if verdict.reason:
            assert verdict.safe >= shown
            return
        shown = max(shown, verdict.safe)


@pytest.mark.parametrize(
    ("text", "caret", "safe"),
    [
        (b"x = 1", Caret(lead=b"    "), 5),
        (b"x = 1  ", Caret(lead=b"    "), 5),  # white space may turn out to end the line
        (b"x = 1\n    ", Caret(lead=b"    "), 5),  # the next line may be out of the block
        (b"x = 1\n    y", Caret(lead=b"    "), 11),
    ],
)
def test_a_block_shows_no_more_than_what_must_be_part_of_it(
    text: bytes, caret: Caret, safe: int
) -> None:
    assert stops.at_block_end(text, caret) == Verdict(safe)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (b"x\n    ret", 1),  # may become the line below
        (b"x\n    rest", 10),
        (b"x\n    return y", 1),  # is it, unless something follows
        (b"x\n    return you", 16),
    ],
)
def test_what_may_become_the_line_below_is_held_back(text: bytes, safe: int) -> None:
    caret = Caret(lead=b"    ", next_line=b"    return y")
    assert stops.at_next_line(text, caret) == Verdict(safe)


def test_a_line_begun_by_hand_may_equal_the_line_below() -> None:
    caret = Caret(lead=b"foo", next_line=b"foobar()")
    assert stops.at_next_line(b"bar()\n", caret) == Verdict(5)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (b"go()\ng", Verdict(4)),
        (b"go()\ngo(1", Verdict(9)),
        (b"go()\ngo()\n", Verdict(4)),
        (b"go()\ngo()\ns", Verdict(11)),
        (b"go()\ngo()\ngo()", Verdict(4)),
        (b"go()\ngo()\ngo()\n", Verdict(4, "block")),
        (b"\n\n\n\n", Verdict(4)),
    ],
)
def test_a_second_equal_line_waits_for_the_third(text: bytes, verdict: Verdict) -> None:
    assert stops.at_third_repeat(text, Caret()) == verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (b"v<abcde, abcde, ", Verdict(15)),
        (b"v<abcde, abcde, ab", Verdict(15)),
        (b"v<abcde, abcde, abcde, abcde,", Verdict(15)),
        (b"v<abcde, abcde, abcde, abcdef", Verdict(29)),
        (b"v<abcde, abcde, abcde, abcde, ", Verdict(15, "block")),
        (b"ababababababababababababab", Verdict(12, "block")),
        (b"0, 0, 0, 0, 0, 0, 0, 0, 0, ", Verdict(26)),
        (b"[" + b"0, " * 32, Verdict(96)),
        (b"[" + b"0, " * 40, Verdict(120, "block")),  # of data there may be a line
        (b"abcde", Verdict(5)),
        (b"", Verdict(0)),
    ],
)
def test_a_third_equal_stretch_waits_for_the_fourth(text: bytes, verdict: Verdict) -> None:
    assert stops.at_loop(text) == verdict


ROUND = b"to the end of the line "


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (b"# " + ROUND + b"to the end\n# of the line ", Verdict(49)),
        (b"# " + ROUND + b"to the end\n# of the line to", Verdict(49)),
        (b"# " + ROUND + b"to the end\n# of the line, and", Verdict(54)),
        (b"# " + ROUND + b"to the end\n# of the line " + ROUND * 2, Verdict(49, "block")),
        (b"</div>\n  </div>\n </div>\n</div>\n</div>\n</div>", Verdict(44)),
    ],
)
def test_prose_that_goes_round_in_circles_ends_however_it_is_wrapped(
    text: bytes, verdict: Verdict
) -> None:
    assert stops.at_wrapped_loop(text) == verdict


def test_any_rule_ends_the_text_and_all_must_let_it_out() -> None:
    def says(safe: int, reason: str | None = None) -> Rule:
        return lambda text: Verdict(safe, reason)

    assert judge(b"abc", [says(3), says(1)]) == Verdict(1)
    assert judge(b"abc", [says(1), says(3, "line")]) == Verdict(3, "line")
    assert judge(b"abc", [says(2, "stop"), says(3, "line")]) == Verdict(2, "stop")
    assert judge(b"abc", []) == Verdict(3)
