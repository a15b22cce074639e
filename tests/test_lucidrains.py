"""MEGABYTE-pytorch 0.3.6 is the reference where it is installed; a recorded run of it elsewhere."""

import math
from typing import Any

import pytest
import torch

from codebyte.checkpoint import load, save
from codebyte.errors import CheckpointError, InputError
from codebyte.lucidrains_weights import from_lucidrains

SHAPES: list[dict[str, Any]] = [
    {"dim": (32, 16), "depth": (2, 1), "max_seq_len": (6, 4)},
    {"dim": (32, 16), "depth": (1, 2), "max_seq_len": (6, 4), "rel_pos": True},
    {"dim": 16, "depth": (1, 1, 1), "max_seq_len": (4, 3, 2), "pos_emb": True},
    {"dim": (24, 16), "depth": (1, 1), "max_seq_len": (5, 4), "pos_emb": True, "rel_pos": True},
]


def reference(shape: dict[str, Any]) -> Any:
    megabyte = pytest.importorskip("MEGABYTE_pytorch").MEGABYTE
    torch.manual_seed(3)
    return megabyte(num_tokens=300, dim_head=8, heads=2, pad_id=299, **shape).eval()


@pytest.mark.parametrize("shape", SHAPES)
def test_imported_weights_give_the_logits_and_the_loss_of_the_original(
    shape: dict[str, Any],
) -> None:
    theirs = reference(shape)
    ours = from_lucidrains(theirs.state_dict(), max_seq_len=shape["max_seq_len"], dim_head=8)
    longest = math.prod(shape["max_seq_len"])
    for length in (1, 2, longest - 1, longest):
        ids = torch.randint(0, 256, (2, length), generator=torch.Generator().manual_seed(length))
        torch.testing.assert_close(ours(ids)[:, 1:], theirs(ids), rtol=1e-4, atol=1e-5)
        loss = theirs(ids, return_loss=True)
        torch.testing.assert_close(ours.loss(ids), loss, rtol=1e-4, atol=1e-5)


def test_feeding_id_by_id_gives_the_logits_of_the_whole() -> None:
    theirs = reference(SHAPES[0])
    ours = from_lucidrains(theirs.state_dict(), max_seq_len=(6, 4), dim_head=8)
    ids = torch.randint(0, 256, (1, 11))
    state = ours.init_state()
    torch.testing.assert_close(state.logits, ours(ids)[:, 0], rtol=0, atol=1e-5)
    for i in range(11):
        torch.testing.assert_close(
            ours.step(ids[:, i : i + 1], state)[:, 0], ours(ids)[:, i + 1], rtol=0, atol=1e-5
        )


def test_an_imported_model_is_saved_and_loaded_like_any_other(tmp_path: Any) -> None:
    theirs = reference(SHAPES[1])
    ours = from_lucidrains(theirs.state_dict(), max_seq_len=(6, 4), dim_head=8)
    save(ours, tmp_path)
    ids = torch.arange(20)[None]
    torch.testing.assert_close(load(tmp_path, "cpu")(ids), ours(ids), rtol=0, atol=0)


def test_other_weights_and_too_long_inputs_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no|not weights of MEGABYTE-pytorch 0\.3\.6"):
        from_lucidrains({"weight": torch.zeros(2)}, max_seq_len=(4, 4))
    theirs = reference(SHAPES[0])
    with pytest.raises(CheckpointError, match="max_seq_len"):
        from_lucidrains(theirs.state_dict(), max_seq_len=(6, 8), dim_head=8)
    ours = from_lucidrains(theirs.state_dict(), max_seq_len=(6, 4), dim_head=8)
    with pytest.raises(InputError, match="25 ids are more than the context 24"):
        ours(torch.zeros(1, 25, dtype=torch.int64))
