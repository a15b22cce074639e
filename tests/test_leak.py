"""Nothing can be learned from noise: a model that predicts it has seen what it predicts."""

import math

import pytest
import torch
from torch import Tensor

from codebyte.config import LevelConfig, ModelConfig
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS

SYMBOLS = 16
ENTROPY = math.log(SYMBOLS)  # nats
STEPS = 80
CONFIGS = {
    "context": PRESETS["tiny"],
    "paper": ModelConfig(
        levels=(
            LevelConfig(dim=32, head_dim=16, layers=1, patch_size=4),
            LevelConfig(dim=32, head_dim=16, layers=1),
        ),
        wiring="paper",
        patching="fixed",
        context=64,
    ),
}


def _noise(rows: int, generator: torch.Generator) -> Tensor:
    """Letters drawn evenly from sixteen; spaces among them give word borders."""
    letters = torch.tensor(list(b" .abcdefghijklmn"))
    assert len(letters) == SYMBOLS
    return letters[torch.randint(0, SYMBOLS, (rows, 64), generator=generator)]


def _fresh_loss(model: Megabyte) -> float:
    """Trains on noise for a while; gives the loss on noise never seen, in nats."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / STEPS)
        optimizer.zero_grad()
        model.loss(_noise(8, generator)).backward()
        optimizer.step()
    with torch.no_grad():
        return model.loss(_noise(64, generator)).item()


@pytest.mark.parametrize("name", CONFIGS)
def test_noise_stays_as_surprising_as_it_is(name: str) -> None:
    torch.manual_seed(1)
    loss = _fresh_loss(Megabyte(CONFIGS[name]))
    # 4096 letters; chances that are off by a tenth or so give a standard error of 0.002 nats
    assert ENTROPY - 0.01 < loss < ENTROPY + 0.05  # and the sixteen symbols were learned


def test_a_leak_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.nn.functional.scaled_dot_product_attention

    def both_ways(*args: Tensor, **options: object) -> Tensor:
        return whole(*args, **options | {"is_causal": False})  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", both_ways)
    torch.manual_seed(1)
    assert _fresh_loss(Megabyte(CONFIGS["paper"])) < ENTROPY - 0.1
