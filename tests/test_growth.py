"""A grown model computes what the model it grew from computes."""

from dataclasses import replace

import pytest
import torch

from codebyte.errors import ConfigError
from codebyte.growth import grown
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS

TINY = replace(PRESETS["tiny"], matches=(2, 4), match_words=(), match_depth=1)
LARGER = replace(TINY, matches=(2, 3, 4, 8), match_words=(0, 2), match_depth=3, context=256)


@pytest.fixture
def model() -> Megabyte:
    torch.manual_seed(0)
    model = Megabyte(TINY).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@torch.no_grad()
def test_a_grown_model_gives_the_same_logits(model: Megabyte) -> None:
    ids = torch.tensor([list(b"spam = eggs(spam, eggs)\nspam = eggs(spam")])
    larger = grown(model, LARGER)
    assert larger.config == LARGER
    torch.testing.assert_close(larger(ids), model(ids))


def test_a_grown_model_learns_its_new_inputs(model: Megabyte) -> None:
    larger = grown(model, LARGER).train()
    ids = torch.tensor([list(b"spam = eggs(spam, eggs)\nspam = eggs(spam")])
    larger.losses(ids).sum().backward()
    match = larger.wiring.inputs.match.weight  # type: ignore[union-attr]
    assert match.grad is not None
    by_table = match.grad.unflatten(0, (-1, TINY.vocab_size + 1)).abs().sum(dim=(1, 2))
    assert bool((by_table > 0).all())


@pytest.mark.parametrize(
    "config",
    [replace(LARGER, matches=(2, 3)), replace(LARGER, ngram_dim=32), PRESETS["small"]],
)
def test_other_differences_are_refused(model: Megabyte, config: object) -> None:
    with pytest.raises(ConfigError, match="differ"):
        grown(model, config)  # type: ignore[arg-type]
