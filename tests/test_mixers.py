"""Whether a repository's files help a request: one place decides it, and every door goes by it."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from served import serving
from taught import taught_checkpoint

from codebyte.apps import cli
from codebyte.apps.api import create_api
from codebyte.apps.mixers import Mixers, served_repository
from codebyte.apps.scheduler import Turns
from codebyte.apps.session import Session
from codebyte.tasks.completion import Completion

LINE = "    return compute_tariff_for_zone(parcel, zone_index)\n"
PREFIX = "def again(parcel, zone_index):\n    return compute_tariff"
REST = "_for_zone(parcel, zone_index)"
FILES = {
    "post/tariff.py": ("def tariff(parcel, zone_index):\n" + LINE).encode(),
    "post/stamp.py": b"STAMP_IN_CENT = 85  # the price of a stamp\n" * 3,
}
MakeRepo = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, make_repo: MakeRepo) -> Path:
    return make_repo(tmp_path_factory.mktemp("mail") / "mail", FILES)


@pytest.fixture(scope="module")
def session(repo: Path) -> Session:
    session = Session(taught_checkpoint())
    session.mixers.served = repo
    with session.mixers.lent("post/new.py"):
        pass  # the first who asks has it read
    until(lambda: session.mixers.about("post/new.py"), ready=True)
    return session


def until(about: Callable[[], dict | None], **wanted: object) -> None:
    for _ in range(3000):
        found = about() or {}
        if all(found.get(name) == value for name, value in wanted.items()):
            return
        time.sleep(0.01)
    raise AssertionError(f"{found} instead of {wanted}")


def completed(session: Session, **options: object) -> Completion:
    *_, done = session.complete("ada", PREFIX.encode(), cancel=threading.Event(), **options)
    assert isinstance(done, Completion)
    return done


def test_the_served_repository_helps_unless_the_request_declines(session: Session) -> None:
    done = completed(session, path="post/new.py")
    assert done.text.decode() == REST
    assert [(line.path, line.line) for line in done.recalled] == [("post/tariff.py", 2)]
    alone = completed(session, path="post/new.py", alone=True)
    assert alone.text.decode() != REST
    assert alone.recalled == ()


def test_who_comes_while_another_has_the_mixer_gets_the_model_alone(session: Session) -> None:
    with session.mixers.lent("post/new.py") as mixer:
        assert mixer is not None
        assert completed(session, path="post/new.py").recalled == ()
    assert completed(session, path="post/new.py").text.decode() == REST


def test_a_saved_file_is_known_after_a_while(
    session: Session, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codebyte.apps.mixers.LOOK_AGAIN", 0.0)
    (repo / "post" / "saved.py").write_text("SAVED = 'after the server was started'\n" * 2)
    try:
        for _ in range(3000):
            with session.mixers.lent("post/new.py"):
                pass
            if session.mixers.about("post/new.py")["files"] == 3:
                return
            time.sleep(0.01)
        raise AssertionError("the saved file was not read")
    finally:
        (repo / "post" / "saved.py").unlink()


def test_only_known_repositories_are_read(repo: Path, tmp_path: Path, make_repo: MakeRepo) -> None:
    secret = make_repo(tmp_path / "secret", {"a.py": b"PASSWORD = 'hunter2'\n" * 3})
    mixers = Mixers(Turns(), served=repo, others=lambda: {"other": tmp_path})
    assert mixers.place(str(secret / "a.py"), None) == (tmp_path, "secret/a.py")
    mixers = Mixers(Turns(), served=repo)
    for path in (str(secret / "a.py"), f"../{secret.name}/a.py", "/etc/passwd", "..", "/"):
        place = mixers.place(path, None)
        assert place is None or place[0] == repo
        with mixers.lent(path, "secret") as mixer:
            assert mixer is None
    assert mixers.place(None, "secret") is None
    assert mixers.place("post/tariff.py", None) == (repo, "post/tariff.py")
    for no_file in ("0" * 5000, "a\0b"):
        assert mixers.place(no_file, None) == (repo, no_file)
    assert mixers.place(str(repo / "post" / "tariff.py"), None) == (repo, "post/tariff.py")


def test_a_server_open_to_others_serves_only_what_it_is_given(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo / "post")
    assert served_repository(None, local=True, alone=False) == repo
    assert served_repository(None, local=False, alone=False) is None
    assert served_repository(repo, local=False, alone=False) == repo
    assert served_repository(repo, local=True, alone=True) is None


def test_the_page_is_told_what_was_known_and_repeated(session: Session) -> None:
    with serving(create_api(session)) as address:
        asked = {"prefix": PREFIX, "path": "post/new.py"}
        reply = httpx.post(f"{address}/v1/complete", json=asked, timeout=120, trust_env=False)
        done = json.loads(reply.text.strip().splitlines()[-1].removeprefix("data: "))
        assert done["repository"]["name"] == "mail"
        assert done["repository"]["files"] >= 2
        assert [line["text"] for line in done["recalled"]] == [LINE.strip()]


def test_a_text_between_two_is_helped_and_one_with_figures_is_not(session: Session) -> None:
    asked = {"prompt": PREFIX, "suffix": "\n\n\nEND = 1\n", "temperature": 0, "max_tokens": 7}
    with serving(create_api(session)) as address:

        def text(**more: object) -> str:
            url = f"{address}/v1/completions"
            reply = httpx.post(url, json=asked | more, timeout=120, trust_env=False)
            return reply.json()["choices"][0]["text"]

        assert text().startswith("_for_zone(")
        assert not text(logprobs=1).startswith("_for_zone(")
        assert not text(suffix=None).startswith("_for_zone(")


def test_the_command_line_knows_the_repository_of_the_file(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = repo / "post" / "typed.py"
    file.write_text(PREFIX)
    try:
        monkeypatch.chdir(repo)
        place = f"post/typed.py:2:{len(PREFIX.splitlines()[1]) + 1}"
        outputs = []
        for options in ([], ["--alone"]):
            arguments = ["complete", place, "--checkpoint", str(taught_checkpoint()), *options]
            cli.app(arguments, standalone_mode=False)
            outputs.append(capfdbinary.readouterr().out.decode())
        assert outputs[0] == REST + "\n"
        assert outputs[1] != REST + "\n"
    finally:
        file.unlink()


def test_alternatives_differ_and_one_is_what_the_repository_has(session: Session) -> None:
    found = session.alternatives(
        "ada", PREFIX.encode(), path="post/new.py", cancel=threading.Event()
    )
    texts = [done.text for done in found]
    assert 1 < len(texts) == len(set(texts)) <= 5
    assert REST.encode() in texts
    assert all(b"\n" not in done.text and len(done.text) == len(done.bits) for done in found)
    cancelled = threading.Event()
    cancelled.set()
    assert session.alternatives("ada", b"x" * 200, cancel=cancelled) == []
