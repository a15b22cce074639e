"""What the page may read and add, and the attacks on it."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from served import serving

from codebyte.apps.library import Library
from codebyte.apps.web import _opener
from codebyte.errors import CodebyteError
from codebyte.megabyte import Megabyte

MakeRepo = Callable[[Path, Mapping[str, bytes]], Path]
LATIN1 = "PREIS = 'Caf\u00e9'\r\n".encode("latin-1") * 9
FILES = {
    "src/app.py": b"def greet(name):\n    return f'Hello, {name}!'\n" * 3,
    "src/latin.py": LATIN1,
    "src/swapped.py": b"def swapped():\n    return 'as it was indexed'\n" * 3,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def repo(place: Path, make_repo: MakeRepo) -> Path:
    return make_repo(place / "shop", FILES)


@pytest.fixture(scope="module")
def library(place: Path, repo: Path, request: pytest.FixtureRequest) -> Library:
    from codebyte.presets import PRESETS

    library = Library(place / "index", Megabyte(PRESETS["tiny"]))
    library.add(str(repo), lambda *_: None)
    return library


@pytest.fixture(scope="module")
def address(library: Library) -> Iterator[str]:
    app = FastAPI()
    app.get("/cb-file")(_opener(library))
    with serving(app) as address:
        yield address


def opened(address: str, path: str, repo: str = "shop") -> httpx.Response:
    asked = {"repo": repo, "path": path}
    return httpx.get(f"{address}/cb-file", params=asked, timeout=60, trust_env=False)


def test_an_indexed_file_comes_byte_for_byte(address: str) -> None:
    for path, data in FILES.items():
        reply = opened(address, path)
        assert reply.content == data
        assert reply.headers["content-type"] == "application/octet-stream"
        assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["../secret.py", "src/../../secret.py", "/etc/passwd", ".git/config", "src", "", "\0", "-x"],
)
def test_nothing_else_is_read(address: str, place: Path, path: str) -> None:
    (place / "secret.py").write_text("PASSWORD = 'hunter2'")
    reply = opened(address, path)
    assert reply.status_code == 404
    assert "hunter2" not in reply.text
    assert reply.json()["error"]["message"]


def test_another_repository_is_not_read(address: str) -> None:
    assert opened(address, "src/app.py", "..").status_code == 404
    assert opened(address, "src/app.py", "elsewhere").status_code == 404


def test_a_link_put_in_the_place_of_an_indexed_file_is_not_followed(
    address: str, repo: Path, place: Path
) -> None:
    secret = place / "secret.py"
    secret.write_text("PASSWORD = 'hunter2'")
    file = repo / "src" / "swapped.py"
    file.unlink()
    file.symlink_to(secret)
    assert opened(address, "src/swapped.py").content == FILES["src/swapped.py"]
    file.unlink()
    os.mkfifo(file)  # reading it would block
    assert opened(address, "src/swapped.py").content == FILES["src/swapped.py"]


@pytest.mark.parametrize(
    "source",
    [
        *("--upload-pack=touch pwned", "-oProxyCommand=x", "", " ", "not/there", "/etc/passwd"),
        *("file:///etc", "ext::sh -c id", "http://example.com/x.git", "git://example.com/x.git"),
        *("ftp://example.com/x", "https://-x", "ssh://-oProxyCommand=x/y", "a\0b"),
    ],
)
def test_only_folders_and_safe_urls_are_added(
    library: Library, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodebyteError):
        library.add(source, lambda *_: None)
    assert library.names() == ["shop"]
    assert list(tmp_path.iterdir()) == []


def test_a_password_in_a_url_is_neither_said_nor_stored(library: Library, place: Path) -> None:
    with pytest.raises(CodebyteError) as error:
        library.add("https://ada:hunter2@127.0.0.1:1/shop.git", lambda *_: None)
    assert "hunter2" not in str(error.value)
    kept = [file for file in (place / "index").rglob("*") if file.is_file()]
    assert kept
    assert not any(b"hunter2" in file.read_bytes() for file in kept)


def test_a_file_that_went_or_grew_in_a_plain_folder_is_answered_with_a_sentence(
    library: Library, place: Path, address: str
) -> None:
    folder = place / "plain"
    folder.mkdir()
    for name in ("gone.py", "grown.py"):
        (folder / name).write_bytes(FILES["src/app.py"])
    library.add(str(folder), lambda *_: None)
    try:
        (folder / "gone.py").unlink()
        (folder / "grown.py").write_bytes(b"#" * (1 << 20) + b"\n")
        for name in ("gone.py", "grown.py"):
            reply = opened(address, name, "plain")
            assert reply.status_code == 404
            said = reply.json()["error"]["message"]
            assert said.startswith(f"{name} is gone from {folder}, or too large")
    finally:
        library.remove("plain")
