"""Examples before a prompt are followed: the packaged model takes up their form.

What it fills the form with is mostly the examples' own names: it copies, it does not reason.
"""

import re

import pytest

import codebyte
from codebyte.megabyte import Megabyte
from codebyte.tasks.completion import Completer

GETTER = "    def get_{0}(self):\n", "        return self._{0}\n", r" {8}return self\._\w+"
CAPITALS = "{0} -> ", "{1}\n", r"[A-Z]+"
TEST = "def test_{0}():\n", "    assert {0}(1) == 1\n", r"    assert \w+\(1\) == 1"
DOCUMENTATION = (
    'def {0}(box):\n    """',
    'Gives the {0} of a box."""\n',
    r'Gives the \w+ of a box\."""',
)
TASKS = {"getter": GETTER, "capitals": CAPITALS, "test": TEST, "documentation": DOCUMENTATION}
SHOWN, ASKED = ("width", "height"), "weight"


@pytest.fixture(scope="module")
def model() -> Megabyte:
    return codebyte.load(device="cpu")


def filled(form: str, name: str) -> bytes:
    return form.format(name, name.upper()).encode()


def bits(model: Megabyte, before: bytes, answer: bytes) -> float:
    return float(codebyte.surprisal(model, before + answer)[-len(answer) :].sum())


@pytest.mark.parametrize("task", TASKS)
def test_two_examples_give_the_answer_its_form_and_make_it_likelier(
    model: Megabyte, task: str
) -> None:
    question, answer, form = TASKS[task]
    asked, wanted = filled(question, ASKED), filled(answer, ASKED)
    shown = b"".join(filled(question + answer, name) + b"\n" for name in SHOWN) + asked
    completer = Completer(model)
    written = [completer.complete(text, max_new_bytes=60).text for text in (asked, shown)]
    assert [bool(re.fullmatch(form, text.decode())) for text in written] == [False, True]
    # and it is the examples' form that does it, not only text before the question
    other = [filled(q + a, name) for q, a, _ in TASKS.values() for name in SHOWN if q != question]
    unlike = b"\n".join(other) + b"\n" + asked
    alone, after_others, after_examples = (
        bits(model, before, wanted) for before in (asked, unlike, shown)
    )
    assert after_examples < 0.75 * min(alone, after_others)
