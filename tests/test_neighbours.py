"""Which files of a repository a mixer is told, and what a completion then repeats."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from taught import taught_checkpoint

from codebyte.checkpoint import load
from codebyte.indexer.listing import searched_content
from codebyte.mixing import Mixer
from codebyte.tasks.completion import Completer
from codebyte.tasks.neighbours import Neighbours, mixer_in, root_of
from codebyte.tasks.recalled import recalled

LINE = b"    return compute_tariff_for_zone(parcel, zone_index)\n"
FILES = {
    "post/tariff.py": b"def tariff(parcel, zone_index):\n" + LINE,
    "post/stamp.py": b"STAMP_IN_CENT = 85  # the price of a stamp\n" * 3,
    "web/page.js": b"export const title = 'the post office around the corner';\n" * 3,
    "other/far.py": b"FAR_AWAY_FROM_ALL = 'a file in another folder'\n" * 3,
}
MakeRepo = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture
def repo(tmp_path: Path, make_repo: MakeRepo) -> Path:
    return make_repo(tmp_path / "mail", FILES)


def names(neighbours: Neighbours, near: str = "") -> list[str]:
    return [change.name for change in neighbours.changes(near)]


def test_the_files_of_a_repository_come_once_the_nearest_last(repo: Path) -> None:
    neighbours = Neighbours(repo)
    found = names(neighbours, "post/tariff.py")
    assert found == ["web/page.js", "other/far.py", "post/tariff.py", "post/stamp.py"]
    assert names(neighbours, "post/tariff.py") == []


def test_what_changed_came_or_went_is_told_the_next_time(repo: Path) -> None:
    neighbours, mixer = Neighbours(repo), Mixer()
    for change in neighbours.changes():
        change.apply(mixer)
    (repo / "post/stamp.py").write_bytes(b"STAMP_IN_CENT = 95  # dearer by ten\n" * 3)
    (repo / "post/new.py").write_bytes(b"NEW_AND_NOT_ADDED_TO_GIT = True  # yet\n")
    (repo / "other/far.py").unlink()
    for change in neighbours.changes():
        change.apply(mixer)
    assert sorted(mixer.recall.names) == [
        "post/new.py",
        "post/stamp.py",
        "post/tariff.py",
        "web/page.js",
    ]
    assert b"dearer" in mixer.recall.text("post/stamp.py")


def test_no_more_is_read_than_the_limit_and_the_nearest_are(repo: Path) -> None:
    most = sum(len(FILES[name]) for name in ("post/tariff.py", "post/stamp.py"))
    assert sorted(names(Neighbours(repo, most), "post/tariff.py")) == [
        "post/stamp.py",
        "post/tariff.py",
    ]


def test_what_was_refused_or_had_no_room_is_not_read_again(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "post/data.py").write_bytes(bytes(range(256)) * 2)
    looked_at = []

    def counted(text: bytes, language: str | None) -> str | None:
        looked_at.append(text)
        return searched_content(text, language)

    monkeypatch.setattr("codebyte.tasks.neighbours.searched_content", counted)
    neighbours = Neighbours(repo, most=600)
    assert "post/data.py" not in names(neighbours, "post/tariff.py")
    (repo / "web/page.js").write_bytes(FILES["web/page.js"] * 9)
    del looked_at[:]
    assert names(neighbours, "post/tariff.py") == ["web/page.js"]  # gone: no room any more
    assert looked_at == []


def test_links_ignored_and_binary_files_are_left_out(repo: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_bytes(b"PASSWORD = 'hunter2 and some more'\n" * 3)
    (repo / "link.py").symlink_to(secret)
    (repo / "data.py").write_bytes(bytes(range(256)) * 9)
    (repo / ".gitignore").write_bytes(b"ignored.py\n")
    (repo / "ignored.py").write_bytes(b"IGNORED = 'by the repository itself'\n" * 3)
    assert {"link.py", "data.py", "ignored.py"}.isdisjoint(names(Neighbours(repo)))


def test_the_root_of_a_file_is_its_repository(repo: Path, tmp_path: Path) -> None:
    assert root_of(repo / "post" / "tariff.py") == repo
    assert root_of(repo / "post" / "not" / "there.py") == repo
    assert root_of(tmp_path) is None


def test_a_completion_repeats_the_repository_and_says_where_it_stands(repo: Path) -> None:
    name, mixer = mixer_in(str(repo / "post" / "new.py"))
    assert name == "post/new.py"
    assert mixer is not None
    model = load(taught_checkpoint())
    prefix = b"def again(parcel, zone_index):\n    return compute_tariff"
    done = Completer(model, mixer).complete(prefix, path=name)
    assert done.text == b"_for_zone(parcel, zone_index)"
    assert Completer(model).complete(prefix, path=name).text != done.text
    (line,) = recalled(mixer, prefix, done.text, most=1)
    assert (line.path, line.line, line.text) == ("post/tariff.py", 2, LINE.strip().decode())
    assert line.bytes == len(done.text)


def test_a_mixer_for_one_request_leaves_no_trace(repo: Path) -> None:
    _, mixer = mixer_in(str(repo / "post" / "new.py"))
    model = load(taught_checkpoint())
    prefix = b"def again(parcel, zone_index):\n    return compute_tariff"
    completer = Completer(model)
    alone = completer.complete(prefix)
    assert completer.complete(prefix, mixer=mixer).text == b"_for_zone(parcel, zone_index)"
    assert completer.complete(prefix).text == alone.text
