"""train_code.py: from repositories to a checkpoint, and one sentence for what cannot be done."""

import importlib.util
import json
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import git
import numpy as np
import pytest
from conftest import README
from numpy.typing import NDArray

from codebyte import checkpoint
from codebyte.corpus import Corpus
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.progress import read_metrics
from codebyte.resume import saved_config

SPLITS = ("train", "valid")
SETTINGS = ["--preset", "tiny", "--steps", "2", "--rows", "2", "--length", "96", "--device", "cpu"]


@pytest.fixture(scope="module")
def train_code() -> ModuleType:
    path = Path(__file__).parent.parent / "train_code.py"
    spec = importlib.util.spec_from_file_location("train_code", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_repositories_become_a_checkpoint_and_a_broken_one_is_left_out(
    train_code: ModuleType, tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = git.Repo(tiny_repo).clone(str(tmp_path / "bare.git"), bare=True)
    broken = tmp_path / "broken"
    (broken / ".git").mkdir(parents=True)
    out = tmp_path / "run"
    sources = [str(bare.git_dir), str(broken), str(tmp_path / "missing")]
    assert train_code.main([*sources, "--out", str(out), *SETTINGS]) == 0
    assert checkpoint.load_training(out / "latest")["step"] == 2
    info = json.loads((out / "corpus" / "corpus.json").read_text())
    assert info["train"]["documents"] + info["valid"]["documents"] == 5
    shown = capsys.readouterr()
    assert f"left out: {tmp_path / 'missing'}: " in shown.err
    assert "minified" in shown.err
    assert "done after 2 steps" in shown.out
    assert train_code.main(["--resume", "--out", str(out), *SETTINGS, "--steps", "3"]) == 0
    assert checkpoint.load_training(out / "latest")["step"] == 3


def test_any_file_of_bytes_is_trained_on_and_its_end_is_held_out(
    train_code: ModuleType, tmp_path: Path
) -> None:
    data = np.random.default_rng(1).integers(0, 256, 20_000, dtype=np.uint8).tobytes()
    file = tmp_path / "enwik"
    file.write_bytes(data)
    out = tmp_path / "run"
    assert train_code.main([str(file), "--out", str(out), *SETTINGS]) == 0
    assert checkpoint.load_training(out / "latest")["step"] == 2
    corpus = Corpus(out / "corpus")
    train, valid = (
        b"".join(shard.document(i).tobytes() for i in range(shard.num_documents))
        for shard in (corpus.shard(split) for split in SPLITS)
    )
    assert len(valid) > 0
    assert train + valid == data


def test_recomputing_changes_no_loss_and_a_resumed_run_goes_on_with_it(
    train_code: ModuleType, tiny_repo: Path, tmp_path: Path
) -> None:
    losses = []
    for more in ([], ["--recompute"]):
        out = tmp_path / f"run{len(more)}"
        assert train_code.main([str(tiny_repo), "--out", str(out), *SETTINGS, *more]) == 0
        assert saved_config(out / "latest").recompute == bool(more)
        steps = (line["bits_per_byte"] for line in read_metrics(out) if "bits_per_byte" in line)
        losses.append(list(steps))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    again = ["--resume", "--out", str(out), "--steps", "3", "--device", "cpu"]
    assert train_code.main(again) == 0
    assert saved_config(out / "latest").recompute


def test_a_run_is_resumed_with_its_own_settings(
    train_code: ModuleType, tiny_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["--preset", "tiny", "--steps", "4", "--rows", "4", "--length", "64", "--device", "cpu"]
    own += ["--decay", "0.5", "--rate", "0.5", "--seed", "3", "--accumulate", "2"]
    assert train_code.main([str(tiny_repo), "--out", str(tmp_path / "whole"), *own]) == 0
    batch = Corpus.batch

    def interrupted(self: Corpus, split: str, step: int, **settings: Any) -> NDArray[np.uint16]:
        if split == "train" and step == 1:
            signal.raise_signal(signal.SIGINT)
        return batch(self, split, step, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(Corpus, "batch", interrupted)
        assert train_code.main([str(tiny_repo), "--out", str(tmp_path / "run"), *own]) == 130
    assert train_code.main(["--resume", "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    found = [
        [line["bits_per_byte"] for line in read_metrics(tmp_path / run) if "bits_per_byte" in line]
        for run in ("whole", "run")
    ]
    assert len(found[0]) == 4
    assert found[0] == found[1]
    assert saved_config(tmp_path / "run" / "latest") == saved_config(tmp_path / "whole" / "latest")


@pytest.mark.parametrize("training", ["{}", '{"config": {"colour": "red"}}'])
def test_a_checkpoint_without_the_settings_of_a_run_is_not_resumed(
    train_code: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], training: str
) -> None:
    latest = tmp_path / "run" / "latest"
    checkpoint.save(Megabyte(PRESETS["tiny"]), latest, training=json.loads(training))
    assert train_code.main(["--resume", "--out", str(tmp_path / "run")]) == 1
    assert f"{latest} has no settings of a run (" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rev", "--revision"])
def test_a_revision_is_named_as_everywhere_else(
    train_code: ModuleType, tiny_repo: Path, tmp_path: Path, option: str
) -> None:
    command = [str(tiny_repo), "--out", str(tmp_path / "run"), *SETTINGS]
    assert train_code.main([*command, option, "HEAD~1"]) == 0
    text = b"".join((tmp_path / "run" / "corpus" / f"{s}.bin").read_bytes() for s in SPLITS)
    assert text.count(README) == 2  # as it was then


def test_a_command_that_torchrun_starts_again_goes_on(
    train_code: ModuleType, tiny_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [str(tiny_repo), "--out", str(tmp_path / "run"), *SETTINGS]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert train_code.main(command) == 0  # nothing was saved before: from the start
    before = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert train_code.main([*command, "--steps", "3"]) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 2, 3]
    assert lines[: len(before)] == before
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    assert train_code.main(command) == 1  # and it is refused where it was not started again


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/nowhere/at/all"], "none of the 1 sources could be read"),
        ([], "there is nothing to read"),
        (["/nowhere", "--preset", "huge"], "preset 'huge' is not one of: tiny, small"),
        (["/nowhere", "--decay", "2"], "decay 2.0 must be from 0 to 1"),
        (["--resume"], "latest"),
        (["ext::sh -c 'touch owned'"], "none of the 1 sources"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(
    train_code: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    out = tmp_path / "run"
    assert train_code.main([*arguments, "--out", str(out), "--device", "cpu"]) == 1
    shown = capsys.readouterr().err
    assert words in shown
    assert len(shown.splitlines()) == 1
    assert not out.exists()


def test_an_empty_repository_is_said(
    train_code: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git.Repo.init(tmp_path / "empty")
    arguments = [str(tmp_path / "empty"), "--out", str(tmp_path / "run")]
    assert train_code.main(arguments) == 1
    assert "no commit yet" in capsys.readouterr().err


def test_a_corpus_written_before_is_trained_on_until_the_time_is_up(
    train_code: ModuleType, tiny_repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_code.main([str(tiny_repo), "--out", str(tmp_path / "first"), *SETTINGS]) == 0
    corpus = str(tmp_path / "first" / "corpus")
    out = tmp_path / "second"
    short = [*SETTINGS, "--steps", "1000000", "--minutes", "0.001"]
    assert train_code.main(["--corpus", corpus, "--out", str(out), *short]) == 0
    assert "time is up; --resume goes on after" in capsys.readouterr().out
    assert checkpoint.load_training(out / "latest")["step"] >= 1
    assert not (out / "corpus").exists()
    again = ["--resume", "--corpus", corpus, "--out", str(out), *short]
    assert train_code.main(again) == 0


def test_sources_and_a_corpus_together_are_refused(
    train_code: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["somewhere", "--corpus", "elsewhere", "--out", str(tmp_path / "run")]
    assert train_code.main(arguments) == 1
    assert "give either sources or --corpus, not both" in capsys.readouterr().err
