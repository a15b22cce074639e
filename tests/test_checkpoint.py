"""Checkpoints come back as they were saved, and bad ones are refused with a reason."""

import json
import math
import pickle
import resource
import threading
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from codebyte.checkpoint import load, load_training, save
from codebyte.config import LevelConfig, ModelConfig
from codebyte.errors import CheckpointError, ConfigError, InputError
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS

TINY = PRESETS["tiny"]
THREE_LEVELS = replace(
    TINY, levels=(TINY.levels[0], LevelConfig(dim=16, head_dim=8), TINY.levels[1])
)
PAPER = ModelConfig(
    levels=(LevelConfig(dim=16, head_dim=8, patch_size=4), LevelConfig(dim=32, head_dim=16)),
    wiring="paper",
    patching="fixed",
    context=64,
)


def _model(config: ModelConfig = TINY, seed: int = 1) -> Megabyte:
    """A model all of whose weights are random, also those that training starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    model = Megabyte(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.1, generator=generator)
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(_model(), tmp_path / "model")
    return tmp_path / "model"


def _edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("config", [TINY, THREE_LEVELS, PAPER], ids=["tiny", "three", "paper"])
def test_a_loaded_model_gives_the_same_logits_to_the_bit(
    config: ModelConfig, tmp_path: Path
) -> None:
    model = _model(config)
    save(model, tmp_path / "deep" / "model")
    loaded = load(tmp_path / "deep" / "model", device="cpu")
    ids = torch.randint(0, 256, (2, 40), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.equal(loaded(ids), model(ids))
    assert loaded.config == config
    assert not loaded.training
    assert all(weight.requires_grad for weight in loaded.parameters())


def test_the_weights_file_itself_can_be_named(folder: Path) -> None:
    by_file = load(folder / "model.safetensors", device="cpu").state_dict()
    by_folder = load(folder, device="cpu").state_dict()
    assert all(torch.equal(by_file[name], weight) for name, weight in by_folder.items())


def test_notes_on_training_come_back(tmp_path: Path) -> None:
    notes = {"steps": 12, "bits_per_byte": 1.25, "corpus": ["a/b"]}
    save(_model(), tmp_path, training=notes)
    assert load_training(tmp_path) == notes


def test_bfloat16_keeps_each_weight_to_its_nearest_bfloat16(tmp_path: Path) -> None:
    model = _model()
    save(model, tmp_path, quantize="bfloat16")
    for name, weight in load(tmp_path, device="cpu").state_dict().items():
        assert torch.equal(weight, model.state_dict()[name].bfloat16().float()), name


def test_int8_is_within_half_a_step_of_each_row_and_a_quarter_of_the_size(tmp_path: Path) -> None:
    model = _model(replace(TINY, ngram_buckets=4096, ngram_dim=64))
    save(model, tmp_path / "full")
    save(model, tmp_path / "int8", quantize="int8")
    loaded = load(tmp_path / "int8", device="cpu").state_dict()
    kinds = {name: t.dtype for name, t in load_file(tmp_path / "int8/model.safetensors").items()}
    for name, weight in model.state_dict().items():
        if kinds[name] is torch.int8:
            step = (
                weight.abs().amax(dim=-1, keepdim=True) / 127 * 1.001
            )  # float16 rounding of the step
            assert bool(((loaded[name] - weight).abs() <= step / 2).all()), name
        else:
            assert torch.equal(loaded[name], weight.bfloat16().float()), name
    assert {name for name, kind in kinds.items() if kind is torch.int8} >= {
        "wiring.inputs.byte.weight",
        "wiring.inputs.table.weight",
    }
    sizes = [(tmp_path / kind / "model.safetensors").stat().st_size for kind in ("int8", "full")]
    assert sizes[0] / sizes[1] < 0.27


def test_int8_keeps_rows_of_zeros_and_rows_of_very_small_or_large_numbers(tmp_path: Path) -> None:
    model = _model()
    rows = torch.tensor([0.0, 1e-5, 1e-3, 1.0, 1e6])
    with torch.no_grad():
        model.get_parameter("wiring.inputs.byte.weight")[:5] = rows[:, None]
    save(model, tmp_path, quantize="int8")
    loaded = load(tmp_path, device="cpu").get_parameter("wiring.inputs.byte.weight")[:5, 0]
    assert loaded[0] == 0.0
    torch.testing.assert_close(loaded.detach(), rows, rtol=0.01, atol=0)


def test_an_unknown_quantisation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quantize 'int3' must be"):
        save(_model(), tmp_path, quantize="int3")


def test_a_wrapped_model_is_refused_since_its_names_could_not_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a Sequential cannot be saved; give the Megabyte inside"):
        save(torch.nn.Sequential(_model()), tmp_path)  # type: ignore[arg-type]


def test_a_loaded_model_does_not_change_when_its_file_is_overwritten(folder: Path) -> None:
    model, expected = load(folder, device="cpu"), _model().state_dict()
    weights = folder / "model.safetensors"
    with weights.open("rb+") as file:
        file.write(bytes(weights.stat().st_size))
    assert all(torch.equal(weight, expected[n]) for n, weight in model.state_dict().items())


def test_saving_again_replaces_the_model_and_leaves_other_files(folder: Path) -> None:
    (folder / "metrics.jsonl").write_text("kept")
    other = _model(THREE_LEVELS, seed=2)
    save(other, folder)
    loaded = load(folder, device="cpu")
    assert loaded.config == THREE_LEVELS
    assert all(torch.equal(loaded.state_dict()[n], w) for n, w in other.state_dict().items())
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "metrics.jsonl", "model.safetensors"]


def test_a_model_that_diverged_is_not_saved_over_a_good_one(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    broken = _model(seed=2)
    with torch.no_grad():
        broken.get_parameter("wiring.head.weight")[3, 4] = float("nan")
    with pytest.raises(CheckpointError, match=r"wiring.head.weight holds NaN"):
        save(broken, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert len(list(folder.iterdir())) == 2


def test_a_reader_never_meets_half_a_checkpoint(folder: Path) -> None:
    models = [_model(seed=seed) for seed in (1, 2)]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for model in models:
                save(model, folder)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [load(folder, device="cpu").state_dict() for _ in range(30)]
    finally:
        stop.set()
        writer.join()
    for weights in seen:
        matches = [
            all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
            for model in models
        ]
        assert sum(matches) == 1


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="could not be written"):
        save(_model(), tmp_path / "file" / "model")


def test_saved_files_are_as_readable_as_any_other(folder: Path) -> None:
    (folder / "other").touch()
    modes = {oct(path.stat().st_mode) for path in folder.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 5000, -1])
def test_truncated_weights_are_refused(folder: Path, kept: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model.safetensors is cut short"):
        load(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"model_type": "bert"}',
        '{"format": 1}',
        '{"format": 0, "model": {}}',
        "[" * 100_000,
        '{"format": ' + "9" * 5000 + "}",
        '{"pad": "' + "x" * (1 << 20) + '"}',
        "\x80",
    ],
    ids=range(11),
)
def test_a_config_of_something_else_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"config.json is not a codebyte config"):
        load(folder)


def test_a_newer_format_is_refused_with_the_remedy(folder: Path) -> None:
    (folder / "config.json").write_text('{"format": 2, "layout": "unheard of"}')
    with pytest.raises(CheckpointError, match=r"format 2, newer than the 1 .* upgrade codebyte"):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"no checkpoint at .*{name} is missing"):
        load(folder)


def test_a_missing_tensor_and_one_too_many_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    head = weights.pop("wiring.head.weight")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks the tensor wiring.head.weight"):
        load(folder)
    save_file(
        weights | {"wiring.head.weight": head, "extra": head.clone()}, folder / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match="has the tensor extra, for which"):
        load(folder)


def test_int8_without_its_scales_is_refused(folder: Path) -> None:
    save(_model(), folder, quantize="int8")
    weights = load_file(folder / "model.safetensors")
    del weights["wiring.head.weight.row_scale"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks the tensor wiring.head.weight.row_scale"):
        load(folder)


def test_a_shape_other_than_the_configs_is_refused_with_both_shapes(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["wiring.head.weight"] = torch.zeros(272, 31)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"in shape \(272, 31\) where .* says \(272, 32\)"):
        load(folder)


def test_weights_that_are_not_numbers_of_a_known_kind_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["wiring.head.weight"] = weights["wiring.head.weight"].to(torch.int64)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"wiring.head.weight as I64; weights must be"):
        load(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ngram_buckets", 10**12),
        ("ngram_dim", 10**30),
        ("vocab_size", 2**62),
        ("levels", [{"dim": 64 * 2**30, "layers": 1}]),
        ("levels", [{"layers": 10**9}]),
        ("levels", [{"layers": 2}] * 10_000),
        ("levels", [{"dim": "32"}]),
        ("unheard_of", 1),
    ],
    ids=str,
)
def test_a_hostile_config_costs_an_error_and_no_memory(
    folder: Path, field: str, value: object
) -> None:
    _edit_config(folder, model=TINY.to_json() | {field: value})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"config.json (describes|says)"):
        load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB on Linux


class _Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit('the pickle was run')",)


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "model.CKPT", "model.pkl"])
def test_pickles_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(_Payload()))
    with pytest.raises(CheckpointError, match="can run code when it is read"):
        load(tmp_path / name)


def test_a_pickle_under_our_name_is_not_run(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Payload()))
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load(folder)


@pytest.mark.skipif(
    not (files("codebyte") / "weights" / "model.safetensors").is_file(),
    reason="this checkout carries no packaged model",
)
def test_the_packaged_model_finds_code_likelier_than_noise() -> None:
    model = load(device="cpu")
    code = b"def __init__(self, name):\n        self.name = name\n"
    noise = bytes(torch.randint(0, 256, (len(code),), generator=torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        nats = [float(model.loss(torch.tensor([list(text)]))) for text in (code, noise)]
    assert nats[0] / math.log(2) < 3.0  # bits per byte; guessing evenly among 256 costs 8
    assert nats[1] / math.log(2) > 8.0
