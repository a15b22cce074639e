"""The inputs of a few bytes in NumPy equal torch's, whatever a history has been through."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from codebyte.fewhashes import FewHashes
from codebyte.fewinputs import FewInputs
from codebyte.followed import Followed
from codebyte.hashing import BEFORE, context_hashes, reach_of
from codebyte.inputs import ByteInputs
from codebyte.presets import PRESETS
from codebyte.vocab import EOT, FIM_MIDDLE

LENGTHS, WORDS, MOST = (2, 4), (0, 1, 2), 8


@pytest.mark.parametrize("words", [WORDS, (2, 0), ()])
def test_hashes_are_those_of_torch(words: tuple[int, ...]) -> None:
    rng = random.Random(1)
    reach = reach_of(LENGTHS, words)
    ids = [BEFORE] * reach + [rng.choice([*b"ab_ .\n\xe9", EOT, FIM_MIDDLE]) for _ in range(40)]
    wanted = context_hashes(torch.tensor([ids]), LENGTHS, words)[0].T.numpy()
    few = FewHashes(LENGTHS, words, MOST)
    for n in (1, 3, MOST):
        for start in range(len(ids) - reach - n + 1):
            found = few(np.array(ids[start : start + reach + n]), n)
            np.testing.assert_array_equal(found, wanted[start : start + n])


@pytest.mark.parametrize("reach", [0, 9])
@torch.inference_mode()
def test_a_history_may_be_fed_by_either_and_go_back_and_forget(reach: int) -> None:
    torch.manual_seed(0)
    rng = random.Random(reach)
    inputs = ByteInputs(
        replace(
            PRESETS["tiny"],
            ngrams=(2, 3),
            matches=LENGTHS,
            match_words=WORDS,
            match_depth=3,
            match_reach=reach,
        )
    )
    few = FewInputs(inputs, MOST)
    history, fed = inputs.init_history(2), [[EOT], [EOT]]
    for row in range(2):
        inputs.step(torch.tensor([[EOT]]), history, torch.tensor([row]))
    marks = []
    longest = dropped = 0
    for _ in range(220):
        row = rng.randrange(2)
        new = [rng.choice(b"ab .") for _ in range(rng.choice((1, 2, 5, MOST)))]
        what = rng.choices(("torch", "numpy", "mark", "back"), (5, 9, 2, 1))[0]
        kept = new
        if what == "mark":
            marks.append((history.snapshot(), [list(ids) for ids in fed]))
            continue
        if what == "back":
            if marks:
                del marks[rng.randrange(len(marks)) + 1 :]
                history, fed = marks[-1][0].snapshot(), [list(ids) for ids in marks[-1][1]]
            continue
        if what == "torch":
            new = kept = new * rng.choice((1, 9))
            found = inputs.step(torch.tensor([new]), history, torch.tensor([row]))[0].numpy()
        else:
            found, accept = few.try_(new, history, row, len(fed[row]))
            kept = new[: rng.randint(1, len(new))]  # the rest is taken back
            accept(len(kept))
        whole = inputs(torch.tensor([fed[row] + new]))[0, -len(new) :]
        np.testing.assert_allclose(found, whole.numpy(), atol=1e-4)
        fed[row] += kept
        longest = max(longest, len(fed[row]))
        dropped = max(dropped, int(history.dropped.max()))
    assert longest > 256  # the storage had to grow
    assert bool(dropped) == bool(reach)


def test_going_back_leaves_what_there_was() -> None:
    rng = np.random.default_rng(2)
    ids, hashes = rng.integers(0, 9, 60), rng.integers(0, 5, (3, 60))
    for start in (0, 10, 30, 45, 59, 60):
        gone, fresh = Followed(3, 4, -1), Followed(3, 4, -1)
        gone.add(ids, hashes)
        gone.forget(start, hashes)
        if len(gone):  # else it wants to be told again
            assert len(gone) == start
            fresh.add(ids[:start], hashes[:, :start])
        for first in (0, 7):
            found = gone.look_up(3, [0, 1, 4], first)
            assert found == fresh.look_up(3, [0, 1, 4], first)
        assert start < 31 or any(i >= 0 for i in found)
