"""Muon for the matrices of the blocks, AdamW for the rest, and the learning rate over time."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from codebyte.config import TrainConfig
from codebyte.device import training_dtype
from codebyte.layers import Stack
from codebyte.parallel import divided, part_of, whole

# Coefficients of five Newton-Schulz steps (Polar Express, arXiv:2505.16932), scaled by 1.01 for
# safety.
_POLAR = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)

LARGE = 1 << 14  # numbers in a matrix, below which bfloat16 gains nothing


def orthogonal(matrix: Tensor) -> Tensor:
    """Gives the nearest matrix whose singular values are all about 1 (0.9 to 1.1).

    Args:
        matrix: (..., m, n), any scale.
    """
    x = matrix.reshape(-1, *matrix.shape[-2:])
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) * 1.01 + 1e-7)).contiguous()
    for a, b, c in _POLAR:  # a x + (b x x^T + c (x x^T)^2) x, each sum with its product
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).reshape(matrix.shape)


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal at every step (Jordan et al. 2024), with decoupled weight decay.

    torch.optim.Muon computes in bfloat16, which most CPUs emulate; this one does so only where it
    is faster, and takes matrices of one shape together.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, params in by_shape.items():
                momentum = group["momentum"]
                directions = torch.stack([whole(self._direction(p, momentum)) for p in params])
                if shape.numel() >= LARGE:
                    directions = directions.to(training_dtype(directions.device))
                # a tall matrix gets larger steps, so that outputs move alike whatever the shape
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                updates = divided(orthogonal, directions)
                for p, update in zip(params, updates, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(part_of(update.to(p.dtype), p), alpha=-scale)

    def _direction(self, p: Tensor, momentum: float) -> Tensor:
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        assert p.grad is not None
        state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum"], momentum)  # Nesterov


def build_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Gives Muon over the blocks' matrices and AdamW over the rest, each parameter exactly once.

    With config.matrix_optimizer "adamw", AdamW takes the matrices too.
    """
    matrices = {
        p
        for module in model.modules()
        if isinstance(module, Stack)
        for linear in module.modules()
        if isinstance(linear, nn.Linear)
        for p in [linear.weight]
    }
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p in tables], "lr": config.table_rate},
        {
            "params": [p for p in parameters if p not in tables and p not in matrices],
            "lr": config.other_rate,
        },
    ]
    matrix_group: dict[str, Any] = {
        "params": [p for p in parameters if p in matrices],
        "lr": config.matrix_rate,
        "weight_decay": config.weight_decay,
    }
    if config.matrix_optimizer == "adamw":
        return [_adamw([*groups, matrix_group])]
    muon = [Muon(**matrix_group)] if matrix_group["params"] else []  # not every wiring has blocks
    return [*muon, _adamw(groups)]


def _adamw(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=True)


def rate_at(step: int, config: TrainConfig) -> float:
    """The share of its full value that every learning rate has at a step: warm-up, constant, decay.

    Args:
        step: 0 to config.steps - 1.
    """
    decay_from = decay_start(config)
    if step < config.warmup:
        return (step + 1) / (config.warmup + 1)
    if step < decay_from:
        return 1.0
    return max(0.0, (config.steps - step) / (config.steps - decay_from))


def decay_start(config: TrainConfig) -> int:
    """The first step of the decay; equal to config.steps without one."""
    return round(config.steps * (1 - config.decay))


def set_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Sets every learning rate to a share of its full value."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("full_lr", group["lr"]) * share
