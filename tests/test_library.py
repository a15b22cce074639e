"""What the page may read and add, and the attacks on it."""

import base64
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from conftest import APP
from fastapi import FastAPI, Request, Response
from served import serving

from codebyte.apps.library import Library
from codebyte.apps.page_files import MOST_LISTED, mount_files
from codebyte.apps.page_repositories import _adapted
from codebyte.apps.session import Session
from codebyte.checkpoint import save
from codebyte.errors import CodebyteError, InputError, RepoError
from codebyte.indexer import clone
from codebyte.indexer.repo import SourceFile
from codebyte.indexer.updating import silent
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

    library = Library(place / "index")
    library.add(str(repo), lambda *_: None)
    return library


@pytest.fixture(scope="module")
def address(library: Library) -> Iterator[str]:
    app = FastAPI()
    mount_files(app, library)
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


def listed(address: str, **asked: str) -> httpx.Response:
    return httpx.get(f"{address}/cb-files", params=asked, timeout=60, trust_env=False)


def test_the_files_of_a_repository_are_listed_by_parts_of_their_paths(
    address: str, place: Path
) -> None:
    (place / "shop" / "src" / "unindexed.py").write_text("x = 1\n" * 30)
    assert listed(address).json() == {"repositories": ["shop"]}
    assert listed(address, repo="shop").json()["found"] == len(FILES)
    assert listed(address, repo="shop", part="APP src").json()["paths"] == [
        "src/app.py",
        "src/swapped.py",
    ]
    for part in ("unindexed", "..", "%", "_", "/etc"):
        assert listed(address, repo="shop", part=part).json() == {"paths": [], "found": 0}
    for repo in ("another", "../shop", ""):
        reply = listed(address, repo=repo)
        assert reply.status_code == 404
        assert "is not among the repositories" in reply.json()["error"]["message"]
    (place / "shop" / "src" / "unindexed.py").unlink()


def test_no_more_paths_are_listed_than_a_person_reads(place: Path, make_repo: MakeRepo) -> None:
    files = {f"a/deep/{n:03}/app.py": b"app = %d\n" % n * 20 for n in range(MOST_LISTED + 5)}
    folder = make_repo(place / "many", files | {"z.py": b"z = 1\n" * 20})
    library = Library(place / "index of many")
    library.add(str(folder), silent)
    paths, found = library.paths("many", "py", MOST_LISTED)
    assert (len(paths), found) == (MOST_LISTED, MOST_LISTED + 6)
    assert paths[:2] == ["z.py", "a/deep/000/app.py"]
    assert library.paths("many", "deep 104", 9)[0] == ["a/deep/104/app.py"]


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


LOGIN = "Basic " + base64.b64encode(b"ada:hunter2@home").decode("ascii")


@pytest.fixture
def private(
    tmp_path: Path, tiny_repo: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, FastAPI]]:
    """Host and port of git's own server over http, which lets nobody in but one; and the server."""
    app = FastAPI()
    app.state.asked = []

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def backend(request: Request) -> Response:
        app.state.asked.append(login := request.headers.get("authorization"))
        if login != LOGIN:
            return Response(status_code=401, headers={"www-authenticate": 'Basic realm="git"'})
        body = await request.body()
        heads = {key.upper().replace("-", "_"): it for key, it in request.headers.items()}
        ran = subprocess.run(
            ["git", "http-backend"],
            input=body,
            stdout=subprocess.PIPE,
            check=True,
            env=os.environ
            | {"GIT_PROJECT_ROOT": str(tiny_repo.parent), "GIT_HTTP_EXPORT_ALL": "1"}
            | {"REQUEST_METHOD": request.method, "PATH_INFO": request.url.path}
            | {"QUERY_STRING": request.url.query, "CONTENT_LENGTH": str(len(body))}
            | {"CONTENT_TYPE": heads.get("CONTENT_TYPE", ""), "GIT_TRACE": "0"}
            | {f"HTTP_{key}": it for key, it in heads.items()}
            | {"GIT_PROTOCOL": heads.get("GIT_PROTOCOL", "")},
        )
        head, _, content = ran.stdout.partition(b"\r\n\r\n")
        kind = re.search(rb"Content-Type: (\S+)", head)
        return Response(content, media_type=kind[1].decode() if kind else None)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))  # the arguments of every process
    monkeypatch.setattr(clone, "_URL", re.compile(r"http://\S+"))
    monkeypatch.setattr(clone, "PROTOCOLS", "http")
    with serving(app) as address:
        yield address.removeprefix("http://"), app


def test_a_password_that_opened_a_repository_is_in_no_file_and_no_argument(
    tmp_path: Path, private: tuple[str, FastAPI], tiny_model: Megabyte
) -> None:
    library = Library(tmp_path / "index")
    host, _ = private
    for _ in range(2):  # a clone and a fetch
        library.add(f"http://ada:hunter2%40home@{host}/tiny", silent)
    (name,) = library.names()
    assert library.source(name) == f"http://{host}/tiny"
    assert library.read(name, "src/app.py") == APP
    with pytest.raises(RepoError, match="an older clone is kept"):
        library.update(name, silent)  # the password was for those two times
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"trace", "config", "FETCH_HEAD", "index.db"} <= {file.name for file in kept}
    secret = (b"hunter2", LOGIN.split()[1].encode())
    assert [it for it in kept if any(word in it.read_bytes() for word in secret)] == []


def test_the_user_in_a_url_is_the_one_whose_password_a_credential_helper_is_asked_for(
    tmp_path: Path, private: tuple[str, FastAPI], tiny_model: Megabyte
) -> None:
    helper = "!f() { grep -q username=ada && echo password=hunter2@home; }; f"
    (tmp_path / "gitconfig").write_text(f'[credential]\n\thelper = "{helper}"\n')
    library = Library(tmp_path / "index")
    library.add(f"http://ada@{private[0]}/tiny", silent)
    assert [it["source"] for it in library.repositories()] == [f"http://{private[0]}/tiny"]


def test_what_was_added_by_its_url_is_read_and_adapted_to_without_its_remote(
    tmp_path: Path,
    private: tuple[str, FastAPI],
    tiny_model: Megabyte,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def adapt(_: Megabyte, learnt: Sequence[SourceFile], *__: object, **___: object) -> None:
        raise InputError(f"read {APP in [file.data for file in learnt]}")

    monkeypatch.setattr("codebyte.tasks.adapt.adapt", adapt)
    monkeypatch.setattr("codebyte.tasks.held_out.split_files", lambda _, files: (files, [], None))
    host, server = private
    library = Library(tmp_path / "index")
    library.add(f"http://ada:hunter2%40home@{host}/tiny", silent)
    (name,) = library.names()
    asked = len(server.state.asked)
    save(tiny_model, tmp_path / "model")
    assert library.read(name, "src/app.py") == APP
    with pytest.raises(InputError, match="read True"):
        _adapted(library, Session(tmp_path / "model"), name, 1, silent, threading.Event())
    assert len(server.state.asked) == asked
    with pytest.raises(RepoError):
        library.update(name, silent)
    assert len(server.state.asked) > asked


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
