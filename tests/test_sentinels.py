"""Prompts with other models' marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codebyte.apps.sentinels import split_at_marks

PIPES = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"
DEEPSEEK = (
    "<\uff5cfim\u2581begin\uff5c>",
    "<\uff5cfim\u2581hole\uff5c>",
    "<\uff5cfim\u2581end\uff5c>",
)
STAR, SANTA = (
    tuple(f"<fim{dash}{name}>" for name in ("prefix", "suffix", "middle")) for dash in "_-"
)
LLAMA = "<PRE> ", " <SUF>", " <MID>"
GLM = "<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"
FORMS = (PIPES, DEEPSEEK, STAR, SANTA, LLAMA, GLM)
TEXTS = st.text("ab <|_>\n", max_size=12)


@pytest.mark.parametrize("marks", FORMS)
def test_prefix_first_suffix_first_and_both_marks_in_front(marks: tuple[str, str, str]) -> None:
    pre, suf, mid = marks
    wanted = (b"def f(", b"): pass")
    assert split_at_marks(f"{pre}def f({suf}): pass{mid}".encode()) == wanted
    assert split_at_marks(f"{suf}): pass{pre}def f({mid}".encode()) == wanted
    assert split_at_marks(f"{pre}{suf}): pass{mid}def f(".encode()) == wanted


def test_codestral_puts_the_suffix_first_and_has_no_third_mark() -> None:
    assert split_at_marks(b"[SUFFIX]): pass[PREFIX]def f(") == (b"def f(", b"): pass")
    assert split_at_marks(b"[PREFIX]def f([SUFFIX]): pass") is None


def test_what_stands_before_the_marks_stays_before_the_prefix() -> None:
    prompt = b"<|file_sep|>a.py\nx = 1\n<|fim_prefix|>y = <|fim_suffix|>\n<|fim_middle|>"
    assert split_at_marks(prompt) == (b"<|file_sep|>a.py\nx = 1\ny = ", b"\n")


@pytest.mark.parametrize(
    "prompt",
    [
        b"def f():\n",
        b"<|fim_prefix|>a<|fim_suffix|>b",
        b"<|fim_prefix|>a<|fim_prefix|>b<|fim_suffix|>c<|fim_middle|>",
        b"<|fim_middle|>a<|fim_prefix|>b<|fim_suffix|>c",
        b"<|fim_prefix|>a<fim_suffix>b<fim_middle>",
        b'marks = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]\nprint(',
    ],
)
def test_what_is_no_whole_set_of_marks_in_order_is_left_alone(prompt: bytes) -> None:
    assert split_at_marks(prompt) is None


@given(st.sampled_from(FORMS), TEXTS, TEXTS)
def test_what_a_template_joins_is_split_again(
    marks: tuple[str, str, str], prefix: str, suffix: str
) -> None:
    pre, suf, mid = marks
    found = split_at_marks(f"{suf}{suffix}{pre}{prefix}{mid}".encode())
    assert found == (prefix.encode(), suffix.encode())
