"""Gives a trained model further inputs: it starts as what it was and learns to use the new ones."""

from dataclasses import replace

import torch

from codebyte.config import ModelConfig
from codebyte.errors import ConfigError
from codebyte.hierarchy import ContextWiring
from codebyte.megabyte import Megabyte


def grown(model: Megabyte, config: ModelConfig) -> Megabyte:
    """Gives a model of the shape `config` that computes what `model` does.

    Args:
        model: of wiring "context", with matches.
        config: as the model's own, but for more `matches` and `match_words`, a larger
            `match_depth`, another `context`.

    Raises:
        ConfigError: if the two differ in anything else, or a match that the model has is missing.
    """
    own = model.config
    allowed = replace(
        own,
        matches=config.matches,
        match_words=config.match_words,
        match_depth=config.match_depth,
        context=config.context,
    )
    if (
        own.wiring != "context"
        or config != allowed
        or not set(own.matches) <= set(config.matches)
        or not set(own.match_words) <= set(config.match_words)
        or own.match_depth > config.match_depth
    ):
        raise ConfigError(
            "the shapes differ in more than further matches and the context; "
            "start a new model, or leave the shape as it is"
        )
    larger = Megabyte(config).to(model.device)
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    old, new = _contexts(own), _contexts(config)
    if old:
        wiring, target = model.wiring, larger.wiring
        assert isinstance(wiring, ContextWiring) and isinstance(target, ContextWiring)
        size = own.vocab_size + 1
        rows = torch.zeros_like(target.inputs.match.weight).unflatten(0, (-1, size))
        known = wiring.inputs.match.weight.detach().unflatten(0, (-1, size))
        for times in range(own.match_depth):
            for i, context in enumerate(old):
                rows[times * len(new) + new.index(context)] = known[times * len(old) + i]
        weights["wiring.inputs.match.weight"] = rows.flatten(0, 1)
    larger.load_state_dict(weights)
    return larger.train(model.training)


def _contexts(config: ModelConfig) -> list[tuple[str, int]]:
    """What matches are looked for by, in the order of their tables."""
    by_length = [("bytes", n) for n in config.matches]
    return by_length + [("words", k) for k in config.match_words]
