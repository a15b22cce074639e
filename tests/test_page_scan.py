"""What the Scan tab scans, and how: the repositories of the page, as `codebyte scan` would."""

import queue
import threading
from pathlib import Path

import pytest

from codebyte.apps.library import Library
from codebyte.apps.page_scan import _scan
from codebyte.apps.session import Session
from codebyte.checkpoint import save
from codebyte.indexer import clone
from codebyte.indexer.updating import silent
from codebyte.megabyte import Megabyte
from codebyte.tasks.scan_results import ScanResult
from tests.conftest import APP, KEPT


@pytest.fixture
def session(tmp_path: Path, tiny_model: Megabyte) -> Session:
    save(tiny_model, tmp_path / "model")
    return Session(tmp_path / "model")


@pytest.fixture
def library(tmp_path: Path, tiny_model: Megabyte) -> Library:
    return Library(tmp_path / "index", tiny_model)


@pytest.fixture
def url(tiny_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An https URL that git rewrites to tiny_repo, so that real clones need no network."""
    config = tmp_path / "gitconfig"
    config.write_text(f'[url "file://{tiny_repo}"]\n\tinsteadOf = https://example.org/ada/tiny\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(clone, "PROTOCOLS", "https:ssh:file")
    return "https://example.org/ada/tiny"


def scanned(
    library: Library, session: Session, place: str, upload: str | None = None
) -> ScanResult:
    return _scan(library, session, place, "", upload, queue.Queue(), threading.Event())


def test_a_repository_added_by_its_url_is_opened_and_scanned(
    library: Library, session: Session, url: str
) -> None:
    library.add(url, silent)
    assert library.names() == ["ada/tiny"]
    assert library.read("ada/tiny", "src/app.py") == APP
    result = scanned(library, session, "ada/tiny")
    assert result.name == "ada/tiny"
    assert {file.report.path for file in result.files} >= {p for p in KEPT if p != "README.md"}
