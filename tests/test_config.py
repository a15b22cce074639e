"""Settings come back from JSON as they went; those that cannot work are refused by name."""

import json
from dataclasses import replace

import pytest

from codebyte.config import LevelConfig, ModelConfig, SamplingParams, TrainConfig
from codebyte.errors import ConfigError
from codebyte.presets import PRESETS

TINY = PRESETS["tiny"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_model_config_comes_back_from_json(name: str) -> None:
    written = json.dumps(PRESETS[name].to_json())
    assert ModelConfig.from_json(json.loads(written)) == PRESETS[name]


def test_settings_added_since_a_config_was_written_take_their_defaults() -> None:
    data = TINY.to_json()
    for name in ("heads", "attn_dropout", "ff_dropout"):
        for level in data["levels"]:
            del level[name]
    assert ModelConfig.from_json(data) == TINY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "colour.*known are: levels, wiring"),
        ({"levels": 3}, "model settings not understood"),
        ({"levels": [{"dim": 0}]}, "dim 0 must be at least 1"),
        ({"context": "long"}, "model settings not understood"),
    ],
)
def test_settings_that_are_not_understood_are_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_json(TINY.to_json() | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 0}, "dim 0 must be at least 1"),
        ({"head_dim": 0}, "head_dim 0 must be at least 1"),
        ({"window": 0}, "window 0 must be at least 1"),
        ({"patch_size": -1}, "patch_size -1 must be at least 1"),
        ({"layers": 0}, "layers 0 must be at least 1"),
        ({"encoder_layers": -1}, "encoder_layers -1 at least 0"),
        ({"mixing": "magic"}, "mixing 'magic' must be 'attention' or 'conv'"),
        ({"pattern": "dotted"}, "pattern 'dotted' must be of: full, window, strided, dilated"),
        ({"pattern": ("full", "dotted")}, "must be of: full, window, strided, dilated"),
        ({"pattern": ()}, "must be of: full, window, strided, dilated"),
        ({"sinks": -1}, "sinks -1 must not be negative"),
        ({"stride": 0}, "stride 0 at least 1"),
        ({"dilations": (2, 4)}, "must start with 1"),
        ({"dim": 96, "head_dim": 64}, "head_dim 64 must divide dim 96"),
        ({"dim": 21, "head_dim": 7}, "head_dim 7 must be even"),
        ({"heads": -2}, "heads -2 must not be negative"),
        ({"attn_dropout": 1.0}, "attn_dropout 1.0 must be at least 0 and below 1"),
        ({"ff_dropout": -0.5}, "ff_dropout -0.5 must be at least 0 and below 1"),
    ],
)
def test_a_level_that_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LevelConfig(**change)  # type: ignore[arg-type]


def test_heads_free_the_width_from_the_heads() -> None:
    assert LevelConfig(dim=96, head_dim=64, heads=8).heads == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": ()}, r"levels \(\) must hold at least one"),
        ({"wiring": "loose"}, "wiring 'loose' must be one of: context, paper, lucidrains"),
        ({"patching": "torn"}, "patching 'torn' must be 'word' or 'fixed'"),
        ({"levels": TINY.levels[:1]}, "encoder_layers 1 of the topmost level must be 0"),
        ({"context": 0}, "context 0"),
        ({"vocab_size": 1}, "vocab_size 1"),
        ({"vocab_size": 256}, "vocab_size 256 must be above 256, the id that starts every row"),
        ({"ngrams": (2,), "ngram_buckets": 0}, "ngram_buckets 0 and .* must be at least 1"),
        ({"ngrams": (2,), "ngram_dim": 0}, "ngram_dim 0 must be at least 1"),
        ({"ngrams": (2, 2)}, r"ngrams \(2, 2\) must be distinct lengths from 2 to 64"),
        ({"matches": (1,)}, r"matches \(1,\) must be distinct lengths from 2 to 64"),
        ({"ngrams": (65,)}, r"ngrams \(65,\) must be"),
    ],
)
def test_a_model_that_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps 0 must be at least 1"),
        ({"rows": 8, "accumulate": 3}, "accumulate 3 must divide rows 8"),
        ({"fim_rate": 1.5}, "fim_rate 1.5 must be from 0 to 1"),
        ({"clip": 0.0}, "clip 0.0 must be above 0"),
        ({"warmup": -1}, "warmup -1"),
    ],
)
def test_training_that_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_new_bytes": -1}, "max_new_bytes -1 must not be negative"),
        ({"temperature": -0.1}, "temperature -0.1 must be from 0 to 100"),
        ({"temperature": float("nan")}, "temperature nan must be from 0 to 100"),
        ({"top_k": -1}, "top_k -1 must not be negative"),
        ({"top_p": 0.0}, "top_p 0.0 must be above 0 and at most 1"),
        ({"stop": (b"",)}, "stop b'' must not be empty"),
    ],
)
def test_sampling_that_cannot_work_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SamplingParams(**change)  # type: ignore[arg-type]
