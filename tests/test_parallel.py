"""Two processes do what one does, whoever holds the weights, and the loss of one is made good."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from together import CONFIG, Stopping, train_in_float32

from codebyte import checkpoint
from codebyte.corpus import Corpus, Document, write_corpus
from codebyte.presets import PRESETS
from codebyte.progress import read_metrics
from codebyte.training import train

pytestmark = pytest.mark.slow
TINY = PRESETS["tiny"]
ROOT = Path(__file__).parent.parent


def losses(folder: Path, kind: str = "bits_per_byte") -> list[float]:
    return [line[kind] for line in read_metrics(folder) if kind in line]


@pytest.fixture(scope="module", autouse=True)
def float32() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        train_in_float32(patch.setattr)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: `whole` and `one` of this process, the others of two together."""
    folder = tmp_path_factory.mktemp("runs")
    documents = [
        Document(
            repo=f"repo{i % 3}",
            path=f"file{i}.py",
            data=b"".join(b"def f%d_%d(x):\n    return x + %d\n\n" % (i, j, j) for j in range(12)),
        )
        for i in range(12)
    ]
    write_corpus(documents, folder / "corpus", valid={"repo2"}, dedup=False)
    train(Corpus(folder / "corpus"), folder / "whole", TINY, CONFIG, device="cpu")
    train(Stopping(folder / "corpus"), folder / "one", TINY, CONFIG, device="cpu")
    shutil.copytree(folder / "one", folder / "one_stopped")
    here = Path(__file__).parent
    launch = ["--standalone", "--nproc-per-node=2", "--max-restarts=3", "--monitor-interval=0.1"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *launch, here / "together.py", folder],
        env={**os.environ, "PYTHONPATH": f"{here.parent}:{here}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("run", ["both", "shared"])
def test_two_processes_have_the_losses_of_one(runs: Path, run: str) -> None:
    np.testing.assert_allclose(losses(runs / run), losses(runs / "whole"), rtol=1e-4)
    for kind in ("bytes", "valid_bits_per_byte"):
        np.testing.assert_allclose(
            losses(runs / run, kind), losses(runs / "whole", kind), rtol=1e-4
        )


def test_shared_out_weights_are_saved_whole(runs: Path) -> None:
    alone = checkpoint.load(runs / "whole" / "latest", "cpu").state_dict()
    shared = checkpoint.load(runs / "shared" / "latest", "cpu").state_dict()
    torch.testing.assert_close(shared, alone, rtol=0, atol=2e-3)


def test_each_process_saves_its_own_part_of_the_optimizer(runs: Path) -> None:
    parts = [file.stat().st_size for file in (runs / "shared" / "latest" / "optimizer").iterdir()]
    alone = (runs / "whole" / "latest" / "optimizer.safetensors").stat().st_size
    assert len(parts) == 2
    assert max(parts) < 0.6 * alone


def test_a_run_of_one_process_goes_on_shared_out_between_two(runs: Path) -> None:
    assert len(losses(runs / "one_stopped")) == 3
    np.testing.assert_allclose(losses(runs / "one"), losses(runs / "whole"), rtol=1e-4)


def test_a_run_that_one_of_two_stopped_goes_on_in_one(runs: Path) -> None:
    assert len(losses(runs / "stopped")) == 3
    assert (runs / "stopped" / "latest" / "optimizer").is_dir()
    train(Corpus(runs / "corpus"), runs / "stopped", TINY, CONFIG, resume=True, device="cpu")
    np.testing.assert_allclose(losses(runs / "stopped"), losses(runs / "whole"), rtol=1e-4)


def test_a_run_whose_second_process_is_killed_is_started_again_and_ends_alike(runs: Path) -> None:
    np.testing.assert_allclose(losses(runs / "killed"), losses(runs / "whole"), rtol=1e-4)
    assert checkpoint.load_training(runs / "killed" / "latest")["step"] == 6


def test_processes_wait_for_the_new_corpus_where_there_is_an_old_one(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    for i in range(4):
        lines = (f"def f{i}_{j}(x):\n    return x + {j}\n\n" for j in range(12))
        (tmp_path / "sources" / f"{i}.py").write_text("".join(lines))
    command = [ROOT / "train_code.py", tmp_path / "sources", "--preset", "tiny", "--rows", "2"]
    command += ["--steps", "2", "--length", "96", "--device", "cpu", "--out"]
    old = [Document(repo="old", path=f"{i}.c", data=b"int x%d;\n" % i * 40) for i in range(4)]
    write_corpus(old, tmp_path / "both" / "corpus", dedup=False)
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for run, launch in (("whole", []), ("both", together)):
        subprocess.run(
            [sys.executable, *launch, *command, tmp_path / run],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
            timeout=300,
        )
    np.testing.assert_allclose(losses(tmp_path / "both"), losses(tmp_path / "whole"), rtol=1e-4)


def test_a_replacement_that_was_cut_off_is_undone(runs: Path) -> None:
    run = runs / "cut"
    shutil.copytree(runs / "one_stopped", run)
    (run / "latest").rename(run / "latest.old")
    train(Corpus(runs / "corpus"), run, TINY, CONFIG, resume=True, device="cpu")
    assert losses(run) == losses(runs / "whole")
