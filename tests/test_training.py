"""Training: it learns, stops and goes on exactly, and does not care how a batch is cut."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from together import train_in_float32

from codebyte import checkpoint, resume, training
from codebyte.config import TrainConfig
from codebyte.corpus import Corpus, Document, write_corpus
from codebyte.errors import CheckpointError, ConfigError, CorpusError
from codebyte.megabyte import Megabyte
from codebyte.optim import build_optimizers
from codebyte.presets import PRESETS
from codebyte.progress import read_metrics
from codebyte.training import compiled_losses, train

CONFIG = TrainConfig(
    steps=6, rows=4, length=96, warmup=2, decay=0.5, validate_every=3, validate_rows=4
)


@pytest.fixture(scope="module", autouse=True)
def float32() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        train_in_float32(patch.setattr)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("data") / "corpus"
    documents = [
        Document(
            repo=f"repo{i % 3}",
            path=f"file{i}.py",
            data=b"".join(b"def f%d_%d(x):\n    return x + %d\n\n" % (i, j, j) for j in range(12)),
        )
        for i in range(12)
    ]
    write_corpus(documents, folder, valid={"repo2"}, dedup=False)
    return Corpus(folder)


def losses(folder: Path) -> list[float]:
    return [line["bits_per_byte"] for line in read_metrics(folder) if "bits_per_byte" in line]


def valid(folder: Path) -> list[float]:
    return [line["valid_bits_per_byte"] for line in read_metrics(folder) if "sample" in line]


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from start to end."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert train(corpus, out, PRESETS["tiny"], CONFIG, device="cpu").finished
    return out


class InterruptedCorpus(Corpus):
    """Sends the process what Ctrl-C sends, while the batch of step 2 is made."""

    def batch(self, split: str, step: int, **settings: Any) -> NDArray[np.uint16]:
        if split == "train" and step == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # torchrun passes it on, too
        return super().batch(split, step, **settings)


def test_an_interrupted_run_goes_on_with_the_losses_of_a_whole_one(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = train(InterruptedCorpus(corpus.path), out, PRESETS["tiny"], CONFIG, device="cpu")
    assert (first.finished, first.step) == (False, 3)
    second = train(corpus, out, PRESETS["tiny"], CONFIG, resume=True, device="cpu")
    assert (second.finished, second.step) == (True, 6)
    assert losses(out) == losses(whole)
    assert valid(out)[-1] == valid(whole)[-1]


def test_an_interrupted_run_goes_on_with_the_dropout_of_a_whole_one(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    levels = tuple(replace(level, ff_dropout=0.2) for level in PRESETS["tiny"].levels)
    model = replace(PRESETS["tiny"], levels=levels)
    train(corpus, tmp_path / "whole", model, CONFIG, device="cpu")
    train(InterruptedCorpus(corpus.path), tmp_path / "run", model, CONFIG, device="cpu")
    train(corpus, tmp_path / "run", model, CONFIG, resume=True, device="cpu")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert losses(tmp_path / "whole")[2:] != losses(whole)[2:]  # or nothing was left out


def test_bfloat16_trains_as_float32_does(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    products: list[torch.dtype] = []
    losses_of = Megabyte.losses

    def watched(model: Megabyte, ids: torch.Tensor) -> torch.Tensor:
        products.append((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
        return losses_of(model, ids)

    monkeypatch.setattr(Megabyte, "losses", watched)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(training, "training_dtype", lambda device, dtype=dtype: dtype)
        products.clear()
        train(corpus, tmp_path / str(dtype), PRESETS["tiny"], CONFIG, device="cpu")
        assert set(products) == {dtype}
        found[dtype] = losses(tmp_path / str(dtype)) + valid(tmp_path / str(dtype))
    rough, exact = np.array(found[torch.bfloat16]), np.array(found[torch.float32])
    # a bfloat16 is rounded by at most 1 part in 512; a loss is the mean of many
    np.testing.assert_allclose(rough, exact, rtol=1 / 512)
    assert (rough != exact).any()
    weights = checkpoint.load(tmp_path / "torch.bfloat16" / "latest", "cpu").parameters()
    assert {weight.dtype for weight in weights} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_validates_and_goes_on(corpus: Corpus, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(InterruptedCorpus(corpus.path), out, PRESETS["tiny"], CONFIG, device="cuda")
    assert train(corpus, out, PRESETS["tiny"], CONFIG, resume=True, device="cuda").finished
    np.testing.assert_allclose(losses(out), losses(whole), rtol=5e-2)  # bfloat16
    np.testing.assert_allclose(valid(out), valid(whole), rtol=5e-2)


def test_one_compiled_graph_gives_the_losses_of_any_text(tiny_model: Megabyte) -> None:
    text = torch.tensor(list(Path(__file__).read_bytes()[:600]))
    graphs: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph  # runs it as it is

    compiled = compiled_losses(tiny_model, backend)
    patches = set()
    for start in (0, 150, 300):
        ids = text[start : start + 240].view(2, 120)
        patches.add(int(tiny_model.patch_states(ids).shape[1]))
        torch.testing.assert_close(compiled(ids), tiny_model.losses(ids))
    assert len(patches) > 1
    assert len(graphs) == 1


def test_all_that_an_optimizer_keeps_goes_where_its_parameter_is(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_file = resume.load_file
    monkeypatch.setattr(
        resume,
        "load_file",
        lambda path, device: {name: value.to(device) for name, value in load_file(path).items()},
    )
    model = Megabyte(PRESETS["tiny"]).to("meta")  # stands for a GPU
    optimizers = build_optimizers(model, CONFIG)
    assert resume.restore_run(whole / "latest", model, optimizers) == 6
    kept = [
        value
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
    ]
    assert len(kept) > len(list(model.parameters()))
    assert {value.device.type for value in kept} == {"meta"}


def test_the_checkpoint_before_the_decay_can_be_trained_on(whole: Path) -> None:
    saved = json.loads((whole / "before-decay" / "run.json").read_text())
    assert saved == {"step": 3}
    assert checkpoint.load(whole / "before-decay").config == PRESETS["tiny"]


def test_parts_of_a_batch_add_up_to_the_batch(corpus: Corpus, whole: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, accumulate=4)
    train(corpus, tmp_path / "parts", PRESETS["tiny"], config, device="cpu")
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(whole), rtol=1e-4)


def test_the_model_learns(corpus: Corpus, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=30, fim_rate=0.0, validate_every=30)
    result = train(corpus, tmp_path / "run", PRESETS["tiny"], config, device="cpu")
    assert losses(tmp_path / "run")[0] > 7.5
    assert result.bits_per_byte < 4.5


def test_a_run_leaves_its_curve_and_a_loadable_checkpoint(whole: Path) -> None:
    assert (whole / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert checkpoint.load_training(whole / "latest")["step"] == 6
    assert list((whole / "tensorboard").iterdir())
    assert sorted(p.name for p in whole.iterdir()) == [
        "before-decay",
        "curve.png",
        "latest",
        "metrics.jsonl",
        "tensorboard",
    ]


def test_a_second_run_in_the_same_folder_is_refused(corpus: Corpus, whole: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="holds a run already; resume it"):
        train(corpus, whole, PRESETS["tiny"], CONFIG)
    assert (whole / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("split", ["train", "valid"])
def test_an_empty_side_is_said_before_the_first_step(tmp_path: Path, split: str) -> None:
    documents = [Document(repo="one", path=f"{i}.py", data=b"x = %d\n" % i) for i in range(3)]
    held_out = {"one"} if split == "train" else set()
    write_corpus(documents, tmp_path / "corpus", valid=held_out, dedup=False)
    with pytest.raises(CorpusError, match=f"has no {split} text"):
        train(Corpus(tmp_path / "corpus"), tmp_path / "run", PRESETS["tiny"], CONFIG)
    assert not (tmp_path / "run").exists()


def test_nothing_to_resume_is_said(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        train(corpus, tmp_path / "nowhere", PRESETS["tiny"], CONFIG, resume=True)


def test_a_damaged_optimizer_is_said(corpus: Corpus, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / "latest").mkdir(parents=True)
    for file in (whole / "latest").iterdir():
        (out / "latest" / file.name).write_bytes(
            file.read_bytes()[: -(file.suffix == ".safetensors") or None]
        )
    with pytest.raises(CheckpointError):
        train(corpus, out, PRESETS["tiny"], CONFIG, resume=True)
