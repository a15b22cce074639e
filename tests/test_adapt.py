"""Adaptation: the repository gets likelier, and the rest stays within bounds."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import git
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from codebyte import checkpoint
from codebyte.apps.cli import app
from codebyte.corpus import Shard
from codebyte.errors import CheckpointError, ConfigError, CorpusError
from codebyte.indexer.repo import SourceFile, documents, open_repo
from codebyte.megabyte import Megabyte
from codebyte.tasks.adapt import UNFINISHED, AdaptConfig, AdaptResult, Moment, adapt
from codebyte.tasks.adapt_measure import exact_lines, mean_bits
from codebyte.tasks.held_out import added_at, split_files
from codebyte.tasks.replay import Replay, read_replay, shard_of, write_replay
from tests.conftest import APP, KEPT, MakeRepo

TEXT = b"alpha = beta(gamma)\nfor name in names:\n    print(name, alpha)\n" * 40
OTHER = Replay(
    tuple(f"{i}.go" for i in range(24)),
    tuple(b"func Next%d(n int) int {\n\treturn n + %d\n}\n" % (i, i) * 8 for i in range(24)),
)


def source(path: str, data: bytes) -> SourceFile:
    return SourceFile(repo="own", path=path, language="python", data=data)


LEARNT = [source("a.py", TEXT), source("b.py", TEXT[700:])]
HELD_OUT = [source("c.py", TEXT[300:1200])]


class Ticks:
    """A clock on which every look takes some seconds."""

    def __init__(self, seconds: float) -> None:
        self._now, self._seconds = 0.0, seconds

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now


def run(model: Megabyte, out: Path, *, steps: int = 12, **options: Any) -> AdaptResult:
    config = AdaptConfig(minutes=steps / 60, rate=0.5, most_forgotten=9.0, lines=1)
    return adapt(model, LEARNT, HELD_OUT, out, config, replay=OTHER, clock=Ticks(1.0), **options)


def test_the_repository_costs_less_afterwards_and_the_checkpoint_is_what_was_measured(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    before = mean_bits(tiny_model, [HELD_OUT[0].data])
    result = run(tiny_model, tmp_path / "out")
    assert result.before.bits_per_byte == pytest.approx(before)
    assert result.after.bits_per_byte < 0.9 * before
    assert (result.steps, result.finished, result.kept) == (12, True, 1.0)
    assert result.num_bytes == 12 * 4 * tiny_model.config.context
    loaded = checkpoint.load(tmp_path / "out", "cpu")
    assert mean_bits(loaded, [HELD_OUT[0].data]) == pytest.approx(result.after.bits_per_byte)
    assert not (tmp_path / "out" / UNFINISHED).exists()
    notes = checkpoint.load_training(tmp_path / "out")["adapted"]
    assert notes["after"]["bits_per_byte"] == result.after.bits_per_byte


def test_forgetting_is_bounded_by_moving_back_to_the_old_weights(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    _, elsewhere = OTHER.split()
    before = mean_bits(tiny_model, elsewhere)
    old = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    config = AdaptConfig(minutes=0.2, rate=2.0, replayed=0, most_forgotten=0.0, lines=1)
    far = [source("z.py", b"\x00\xff" * 4000)]
    result = adapt(tiny_model, far, far, tmp_path, config, replay=OTHER, clock=Ticks(1.0))
    assert mean_bits(tiny_model, elsewhere) <= before
    assert result.after.elsewhere <= before
    if result.kept == 0:
        for name, weight in tiny_model.state_dict().items():
            assert torch.equal(weight, old[name])
    else:
        assert result.kept < 1


def test_an_interrupted_run_keeps_its_best_and_goes_on(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    moments: list[Moment] = []
    start = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    result = run(
        tiny_model, tmp_path / "out", cancel=lambda: len(moments) == 5, report=moments.append
    )
    assert (result.steps, result.finished) == (5, False)
    assert result.after.bits_per_byte <= result.before.bits_per_byte
    assert moments[-1].done == pytest.approx(5 / 12)
    loaded = checkpoint.load(tmp_path / "out", "cpu")
    assert mean_bits(loaded, [HELD_OUT[0].data]) == pytest.approx(result.after.bits_per_byte)
    tiny_model.load_state_dict(start)
    with pytest.raises(ConfigError, match="holds an interrupted run; resume it"):
        run(tiny_model, tmp_path / "out")
    again = run(tiny_model, tmp_path / "out", resume=True)
    assert (again.steps, again.finished) == (12, True)
    assert again.before.bits_per_byte == pytest.approx(result.before.bits_per_byte)
    assert again.after.bits_per_byte <= result.after.bits_per_byte + 1e-6
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        run(tiny_model, tmp_path / "out", resume=True)


def test_a_resumed_run_that_brings_no_more_keeps_what_was_learned_before(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    moments: list[Moment] = []
    start = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    stopped = run(tiny_model, tmp_path, cancel=lambda: len(moments) == 8, report=moments.append)
    assert stopped.after.bits_per_byte < 0.95 * stopped.before.bits_per_byte
    tiny_model.load_state_dict(start)
    noise = [source("noise", np.random.default_rng(1).bytes(8000))]
    config = AdaptConfig(minutes=12 / 60, rate=3.0, replayed=0, most_forgotten=9.0, lines=1)
    options: dict[str, Any] = {"replay": OTHER, "clock": Ticks(1.0), "resume": True}
    again = adapt(tiny_model, noise, HELD_OUT, tmp_path, config, **options)
    assert again.after.bits_per_byte == pytest.approx(stopped.after.bits_per_byte)
    assert (again.steps, again.num_bytes) == (12, 12 * 4 * tiny_model.config.context)


def test_rates_need_not_rise_first(tiny_model: Megabyte, tmp_path: Path) -> None:
    config = AdaptConfig(minutes=0.05, warmup=0.0, lines=1)
    result = adapt(tiny_model, LEARNT, HELD_OUT, tmp_path, config, replay=OTHER, clock=Ticks(1.0))
    assert result.after.bits_per_byte < result.before.bits_per_byte


def test_adaptation_that_does_not_help_keeps_the_old_weights(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    old = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    before = mean_bits(tiny_model, [APP])
    result = adapt(
        tiny_model,
        [source("noise", bytes(range(256)) * 20)],
        [source("held", APP)],
        tmp_path,
        AdaptConfig(minutes=0.05, rate=1e-9, table_rate=1e-9, replayed=0, lines=1),
        replay=OTHER,
        clock=Ticks(1.0),
    )
    assert result.after.bits_per_byte <= before + 1e-5
    assert all(
        torch.allclose(weight, old[name], atol=1e-4)
        for name, weight in tiny_model.state_dict().items()
    )


def test_the_newest_files_are_held_out(tmp_path: Path, make_repo: MakeRepo) -> None:
    folder = make_repo(tmp_path / "repo", {f"old{i}.py": APP for i in range(9)})
    (folder / "new.py").write_bytes(APP.replace(b"greet", b"salute"))
    with git.Repo(folder) as repo:
        repo.git.add("--all")
        day = "2026-03-01T00:00:00Z"
        who = {
            f"GIT_{kind}_{key}": "a@b"
            for kind in ("AUTHOR", "COMMITTER")
            for key in ("NAME", "EMAIL")
        }
        with repo.git.custom_environment(GIT_COMMITTER_DATE=day, GIT_AUTHOR_DATE=day, **who):
            repo.git.execute(["git", "-c", "commit.gpgsign=false", "commit", "-qm", "More"])
    opened = open_repo(folder)
    times = added_at(opened)
    assert len(times) == 10
    assert times["new.py"] > max(time for path, time in times.items() if path != "new.py")
    learnt, held_out, by = split_files(opened, list(documents([opened])))
    assert ([file.path for file in held_out], by) == (["new.py"], "commit time")
    assert {file.path for file in learnt} == {f"old{i}.py" for i in range(9)}


def test_without_history_a_hash_of_the_path_chooses_and_one_file_is_too_few(
    tmp_path: Path,
) -> None:
    for name, data in KEPT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    opened = open_repo(tmp_path)
    files = list(documents([opened]))
    learnt, held_out, by = split_files(opened, files)
    assert by == "path"
    assert sorted(file.path for file in learnt + held_out) == sorted(KEPT)
    assert held_out
    assert learnt
    assert split_files(opened, files[::-1])[1] == held_out
    with pytest.raises(CorpusError, match="has 1 files worth reading"):
        split_files(opened, files[:1])


def test_replayed_text_survives_being_packed(tmp_path: Path) -> None:
    shard: Shard = shard_of(("a.py", "b.go"), (TEXT * 8, b"package b\n" * 900))
    write_replay(shard, tmp_path / "r.xz", 5000)
    read = read_replay(tmp_path / "r.xz")
    assert sorted(read.paths) == ["a.py", "b.go"]
    for path, text in zip(read.paths, read.texts, strict=True):
        assert text in shard.document(shard.paths.index(path)).tobytes()
    (tmp_path / "r.xz").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="holds no replay text"):
        read_replay(tmp_path / "r.xz")


def test_the_packaged_replay_is_small_and_splits_into_disjoint_parts() -> None:
    replay = read_replay()
    rest, held = replay.split()
    assert len(rest.texts) + len(held) == len(replay.texts)
    assert not set(rest.texts) & set(held)
    assert 0.9e6 < sum(map(len, replay.texts)) < 1.2e6


def test_exact_lines_counts_lines_that_are_completed_whole(tiny_model: Megabyte) -> None:
    share = exact_lines(tiny_model, [source("a.py", TEXT)], carets=3)
    assert share in {0.0, 1 / 3, 2 / 3, 1.0}
    assert math.isnan(exact_lines(tiny_model, [source("a.py", b"\n" * 50)], carets=3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"minutes": 0.0}, "minutes 0.0 must be above 0"),
        ({"replayed": 4}, "replayed 4 must be from 0 to rows 4 less 1"),
        ({"warmup": -0.1}, "warmup -0.1 must be from 0 to 1"),
        ({"rate": 0.0}, "rate 0.0 and table_rate 1.0 must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AdaptConfig(**wrong)  # type: ignore[arg-type]


def test_the_command_says_in_one_line_that_one_file_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "only.py").write_bytes(APP)
    with pytest.raises(CorpusError, match="adaptation needs two or more"):
        CliRunner().invoke(app, ["adapt", str(tmp_path)], catch_exceptions=False)
    assert CliRunner().invoke(app, ["adapt", str(tmp_path), "--minutes", "0"]).exit_code == 2


def test_after_a_kill_the_model_and_the_index_before_are_usable_and_the_next_run_begins() -> None:
    benchmark = Path(__file__).parent.parent / "benchmarks" / "kills.py"
    done = subprocess.run(
        [sys.executable, benchmark, "--quick"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    for name in ("adapting", "indexing"):
        assert found[name]["kills"] == found[name]["usable"] == found[name]["went_on"], done.stderr
        assert found[name]["died"] >= 1  # or it was no test


def test_a_first_save_that_was_cut_off_is_no_run_to_resume(
    tiny_model: Megabyte, tmp_path: Path
) -> None:
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / checkpoint.WEIGHTS_NAME).write_bytes(b"half")
    assert run(tiny_model, tmp_path, steps=2).finished
