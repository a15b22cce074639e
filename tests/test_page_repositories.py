"""Work that the Repositories tab starts: it ends with whoever waits for it, and goes on later."""

import threading
from collections.abc import Callable
from pathlib import Path

import torch

from codebyte.apps.library import Library
from codebyte.apps.page_repositories import _adapted, _folder_of, _watched
from codebyte.apps.session import Session
from codebyte.checkpoint import load, save
from codebyte.indexer.updating import silent
from codebyte.megabyte import Megabyte
from codebyte.tasks.adapt import resumable


def test_work_that_nobody_waits_for_any_more_is_told_so() -> None:
    told_so = threading.Event()

    def work(told: Callable[[str, int, int], None], left: threading.Event) -> str:
        told("adapting", 1, 2)
        if left.wait(20):
            told_so.set()
        return "done"

    watched = _watched(work, lambda message: (message, "", None))
    assert "adapting" in next(watched)[0]
    watched.close()  # as gradio does when the page is left
    assert told_so.wait(20)


def test_every_repository_has_a_folder_of_its_own_for_its_model(
    tmp_path: Path, tiny_model: Megabyte
) -> None:
    library = Library(tmp_path / "data" / "index")
    names = ["ada/tiny", "eve/tiny", "tiny", "ada-tiny", "../tiny", "a%2Ftiny"]
    folders = [_folder_of(library, name) for name in names]
    assert len(set(folders)) == len(names)
    assert {folder.parent for folder in folders} == {tmp_path / "data" / "adapted"}


def test_an_adaptation_that_was_left_goes_on_the_next_time(
    tmp_path: Path, tiny_repo: Path, tiny_model: Megabyte
) -> None:
    save(tiny_model, tmp_path / "model")
    session = Session(tmp_path / "model")
    started = session.model
    left = threading.Event()
    left.set()
    library = Library(tmp_path / "data" / "index")
    library.add(str(tiny_repo), silent)
    name = library.names()[0]
    out = _folder_of(library, name)
    _adapted(library, session, name, 0.05, silent, left)
    assert resumable(out)
    assert session.model is started  # what was left is not used
    said = _adapted(library, session, name, 0.05, silent, threading.Event())
    assert "bits per byte on its held-out files" in said
    assert "in use from now on" in said
    assert not resumable(out)
    assert session.model is not started
    written = load(out).state_dict()
    used = session.model.state_dict()
    assert all(torch.equal(weight, written[name]) for name, weight in used.items())
