"""What the Scan tab scans, and how: the repositories of the page, as `codebyte scan` would."""

import queue
import re
import threading
import zipfile
from html import unescape
from pathlib import Path

import git
import pytest
from scanned import CODE, KEY

from codebyte.apps.heat import MOST_DRAWN
from codebyte.apps.library import Library
from codebyte.apps.page_drawn import Scanned, choices_of, drawing
from codebyte.apps.page_scan import _scan, path_ends
from codebyte.apps.scan_sources import UPLOADED
from codebyte.apps.session import Session
from codebyte.checkpoint import save
from codebyte.errors import ConfigError, InputError
from codebyte.indexer import clone
from codebyte.indexer.updating import silent
from codebyte.megabyte import Megabyte
from codebyte.tasks.baseline import write_baseline
from codebyte.tasks.scan_results import ScanResult
from tests.conftest import APP, KEPT, MakeRepo


def test_bars_are_named_by_the_ends_of_paths_that_tell_them_apart() -> None:
    paths = ["src/app/views.py", "src/app/cli.py", "tests/cli.py", "cli.py", "src/xcli.py"]
    assert path_ends(paths) == ["views.py", "app/cli.py", "tests/cli.py", "cli.py", "xcli.py"]


@pytest.fixture
def session(tmp_path: Path, tiny_model: Megabyte) -> Session:
    save(tiny_model, tmp_path / "model")
    return Session(tmp_path / "model")


@pytest.fixture
def library(tmp_path: Path, tiny_model: Megabyte) -> Library:
    return Library(tmp_path / "index")


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


def test_what_was_added_by_its_url_is_scanned_without_its_remote(
    library: Library, session: Session, url: str, tiny_repo: Path, tmp_path: Path
) -> None:
    library.add(url, silent)
    tiny_repo.rename(tmp_path / "away")
    assert scanned(library, session, "ada/tiny").files


def keys(result: ScanResult) -> list[str]:
    """The files with a key in them."""
    return sorted(p.finding.path for p in result.places if p.finding.rule == "CB205")


def test_the_settings_of_a_repository_hold_in_the_page(
    library: Library, session: Session, tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "shop", {"made/a.py": CODE + KEY, "src/b.py": CODE + KEY})
    library.add(str(repo), silent)
    result = scanned(library, session, "shop")
    assert keys(result) == ["made/a.py", "src/b.py"]
    settings = repo / "codebyte.toml"
    settings.write_text('[scan]\nexclude = ["made/"]\n')
    assert keys(scanned(library, session, "shop")) == ["src/b.py"]
    settings.write_text('[scan]\ndisable = ["CB205"]\n')
    assert keys(scanned(library, session, "shop")) == []
    settings.write_text('[scan]\nbaseline = "known.json"\n')
    write_baseline(repo / "known.json", [p for p in result.places if p.finding.path == "src/b.py"])
    assert keys(scanned(library, session, "shop")) == ["made/a.py"]
    settings.write_text("[scan\n")
    with pytest.raises(ConfigError, match=r"codebyte\.toml cannot be read"):
        scanned(library, session, "shop")


def test_a_strangers_clone_or_upload_has_no_say_in_how_it_is_scanned(
    library: Library, session: Session, tiny_repo: Path, tmp_path: Path, url: str
) -> None:
    files = {"codebyte.toml": b'[scan]\nexclude = ["*"]\n', "src/key.py": CODE + KEY}
    for path, data in files.items():
        (tiny_repo / path).write_bytes(data)
    with git.Repo(tiny_repo) as repo:
        repo.git.add("--all")
        repo.git.execute(
            ["git", "-c", "user.name=Ada", "-c", "user.email=a@b", "commit", "-qm", "Hide"]
        )
    library.add(url, silent)
    assert keys(scanned(library, session, "ada/tiny")) == ["src/key.py"]
    upload = tmp_path / "code.zip"
    with zipfile.ZipFile(upload, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    assert keys(scanned(library, session, UPLOADED, str(upload))) == ["src/key.py"]


def texts_of(drawn: str) -> list[str]:
    """The lines of a heat map."""
    lines = re.findall(r'<span data-b="[^"]*">(.*?)</span></div>', drawn)
    return [unescape(re.sub("<[^>]*>", "", line)) for line in lines]


def test_any_file_of_a_scan_can_be_drawn_and_a_large_one_is_cut_and_said_so(
    library: Library, session: Session, tmp_path: Path, make_repo: MakeRepo
) -> None:
    large = b"".join(b"value_%d = %d\n" % (n, n) for n in range(5000))
    repo = make_repo(tmp_path / "shop", {"src/a.py": CODE + KEY})
    library.add(str(repo), silent)
    found, *_ = choices_of("shop", None, scanned(library, session, "shop"))
    assert found == Scanned(place="shop", upload=None, paths=("src/a.py",))
    drawn = drawing(library, session, found, "src/a.py")
    lines = texts_of(drawn)
    assert "\n".join(line.removesuffix("\u21b5") for line in lines).startswith(CODE.decode())
    assert KEY.decode() not in drawn  # a key is hidden here as in the report
    (repo / "src" / "a.py").write_bytes(large)
    drawn = drawing(library, session, found, "src/a.py")
    part = large[: large.rindex(b"\n", 0, MOST_DRAWN) + 1]
    assert f"{len(large):,} bytes, of which the first {len(part):,} are drawn" in drawn
    assert len(texts_of(drawn)) == part.count(b"\n")


def test_nothing_outside_what_was_scanned_is_drawn(
    library: Library, session: Session, tiny_repo: Path, tmp_path: Path
) -> None:
    library.add(str(tiny_repo), silent)
    secret = tmp_path / "secret.py"
    secret.write_bytes(b"PASSWORD = 'hunter2'\n" * 9)
    found, *_ = choices_of("tiny", None, scanned(library, session, "tiny"))
    for path in ("../secret.py", str(secret), "", ".git/config", "src/../src/app.py"):
        with pytest.raises(InputError, match="is not among the files of this scan"):
            drawing(library, session, found, path)
        # Nor where somebody could name it: the tree lists no such file.
        forged = Scanned(place="tiny", upload=None, paths=(path,))
        with pytest.raises(InputError, match="is gone since the scan"):
            drawing(library, session, forged, path)
    (tiny_repo / "src" / "app.py").unlink()
    (tiny_repo / "src" / "app.py").symlink_to(secret)
    with pytest.raises(InputError, match="is gone since the scan"):
        drawing(library, session, found, "src/app.py")


def test_a_file_of_an_upload_is_drawn_as_long_as_the_upload_is_kept(
    library: Library, session: Session, tmp_path: Path
) -> None:
    upload = tmp_path / "code.zip"
    with zipfile.ZipFile(upload, "w") as archive:
        archive.writestr("src/a.py", CODE)
    result = scanned(library, session, UPLOADED, str(upload))
    found, *_ = choices_of(UPLOADED, str(upload), result)
    assert texts_of(drawing(library, session, found, "src/a.py"))
    upload.unlink()
    with pytest.raises(InputError, match=r"code\.zip is no longer kept: upload it again"):
        drawing(library, session, found, "src/a.py")
