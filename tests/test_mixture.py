from collections import Counter
from pathlib import Path

import git
import pytest

from codebyte.errors import CorpusError
from codebyte.tasks import mixture as mixing
from codebyte.tasks.mixture import Source, mixture, read_sources
from tests.conftest import MakeRepo

CODE = b"def number_%d():\n    return 'a value that nobody else returns: %d'\n"
COMMON = b"def common():\n    return 'this text stands in both repositories'\n"


def code(number: int, lines: int = 1) -> bytes:
    return b"\n".join(CODE % (number * 100 + i, number * 100 + i) for i in range(lines))


@pytest.fixture
def sources(tmp_path: Path, make_repo: MakeRepo) -> list[Source]:
    held = {"main.py": code(1), "both.py": COMMON}
    text = {f"tests/test_{i}.py": code(10 + i) for i in range(8)}
    text |= {f"src/{i}.py": code(30 + i) for i in range(4)} | {"both.py": COMMON}
    text |= {"page.html": b"<p>" + code(60) + b"</p>", "notes.md": b"# Notes\n\n" + code(61)}
    listed = []
    for name, split, files in [("a/train", "train", text), ("b/held", "valid", held)]:
        folder = make_repo(tmp_path / name.replace("/", "+") / "repo", files)
        commit = git.Repo(folder).head.commit.hexsha
        listed.append(Source(name=name, split=split, licence="MIT", commit=commit))
    return listed


def read(sources: list[Source], mirror: Path) -> tuple[list[tuple[str, str]], Counter[str]]:
    skips: Counter[str] = Counter()
    failures: dict[str, str] = {}
    files = list(mixture(sources, mirror, skips=skips, failures=failures))
    assert failures == {}
    return [(file.repo, file.path) for file in files], skips


def test_what_stands_in_both_splits_is_not_trained_on(
    sources: list[Source], tmp_path: Path
) -> None:
    files, skips = read(sources, tmp_path)
    assert ("b/held", "both.py") in files
    assert ("a/train", "both.py") not in files
    assert skips["duplicate"] == 1


def test_tests_are_thinned_and_markup_is_left_out(sources: list[Source], tmp_path: Path) -> None:
    files, skips = read(sources, tmp_path)
    paths = [path for repo, path in files if repo == "a/train"]
    tests = [path for path in paths if path.startswith("tests/")]
    assert 0 < len(tests) == 8 - skips["test sampled out"] < 8
    assert {path for path in paths if path not in tests} == {
        *(f"src/{i}.py" for i in range(4)),
        "notes.md",
    }
    assert skips["left out of the mixture"] == 1


def test_the_same_list_gives_the_same_files(sources: list[Source], tmp_path: Path) -> None:
    assert read(sources, tmp_path) == read(sources[::-1], tmp_path)


def test_a_repository_gives_no_more_than_its_share(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(code(30))
    monkeypatch.setattr(mixing, "PYTHON_BYTES", 2 * size)
    files, _ = read(sources, tmp_path)
    assert sum(repo == "a/train" and path.endswith(".py") for repo, path in files) == 2


def test_a_repository_that_cannot_be_read_is_named_and_the_others_are_read(
    sources: list[Source], tmp_path: Path
) -> None:
    missing = Source(name="c/missing", split="train", licence="MIT", commit="0" * 40)
    failures: dict[str, str] = {}
    files = list(mixture([missing, *sources], tmp_path, skips=Counter(), failures=failures))
    assert {file.repo for file in files} == {"a/train", "b/held"}
    assert list(failures) == ["c/missing"]


def test_the_published_list_can_be_read_and_names_each_repository_once() -> None:
    listed = read_sources(Path(__file__).parent.parent / "scripts" / "corpus.csv")
    assert {source.split for source in listed} == {"train", "valid"}
    assert len({source.name for source in listed}) == len(listed) == 55
    assert all(len(source.commit) == 40 for source in listed)


def test_a_list_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name,commit\nx,y\n")
    with pytest.raises(CorpusError, match="needs the columns repository, split"):
        read_sources(tmp_path / "list.csv")
