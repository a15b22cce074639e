"""A session that follows its checkpoint's folder."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from taught import taught_checkpoint

from codebyte.apps.newer import follow
from codebyte.apps.session import Session
from codebyte.checkpoint import CONFIG_NAME, WEIGHTS_NAME, save
from codebyte.megabyte import Megabyte


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    shutil.copytree(taught_checkpoint(), tmp_path / "model")
    session = Session(tmp_path / "model")
    ended = follow(session, every=0.05)
    yield session
    ended.set()


def until(condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 30
        time.sleep(0.01)


def test_a_checkpoint_that_is_written_anew_is_used(
    session: Session, tmp_path: Path, tiny_model: Megabyte
) -> None:
    first = session.model
    time.sleep(0.3)
    assert session.model is first  # nothing was written
    save(tiny_model, tmp_path / "model")
    until(lambda: session.model is not first)
    wanted = tiny_model.state_dict()
    found = session.model.state_dict()
    assert all(torch.equal(weight, wanted[name]) for name, weight in found.items())


def test_a_damaged_one_is_logged_and_the_model_in_use_stays_until_it_is_whole(
    session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, weights = session.model, tmp_path / "model" / WEIGHTS_NAME
    whole = weights.read_bytes()
    with caplog.at_level(logging.WARNING):
        weights.write_bytes(whole[: len(whole) // 2])
        until(lambda: "the model in use stays" in caplog.text)
    assert session.model is first
    weights.write_bytes(whole)
    until(lambda: session.model is not first)


@pytest.mark.parametrize("name", [CONFIG_NAME, "one.safetensors"])
def test_of_a_single_file_the_config_beside_it_is_followed_too(tmp_path: Path, name: str) -> None:
    model = shutil.copytree(taught_checkpoint(), tmp_path / "model")
    (model / WEIGHTS_NAME).rename(model / "one.safetensors")
    session = Session(model / "one.safetensors")
    first = session.model
    ended = follow(session, every=0.05)
    (model / name).touch()
    until(lambda: session.model is not first)
    ended.set()
