"""What passes and what breaks: an index that goes on as if it had not been."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import git
import pytest
from conftest import MakeRepo

from codebyte.errors import InputError, StaleIndexError
from codebyte.indexer.blobs import Blob
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.listing import Listing
from codebyte.indexer.report import report

GREET = b'def greet(name):\n    """Greets a person."""\n    return name\n'
PARSE = b'def parse(text):\n    """Parses a number."""\n    return int(text)\n'


def symbols(index: CodeIndex, query: str = "greet parse") -> set[str]:
    return {hit.symbol for hit in index.search(query, mode="lexical")}


def test_what_a_partial_clone_lacked_is_found_once_a_clone_has_it(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    whole = make_repo(tmp_path / "whole", {"a.py": GREET, "again.py": GREET, "b.py": PARSE})
    partial = tmp_path / "partial.git"
    with git.Repo(whole) as repo:
        repo.git.execute(["git", "config", "uploadpack.allowfilter", "true"])
    git.Git().clone("--quiet", "--bare", "--filter=blob:none", whole.as_uri(), str(partial))
    index = CodeIndex(tmp_path / "index")
    done = index.update(partial)
    assert (done.files, done.skips) == (0, {"missing in the clone": 3})
    assert index.update(whole).files == 3
    assert symbols(index) == {"greet", "parse"}


@pytest.mark.parametrize("then", ["gone", "link", "grown"])
def test_a_file_that_was_away_while_it_was_to_be_read_is_found_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    file = folder / "a.py"
    file.write_bytes(GREET)
    index = CodeIndex(tmp_path / "index")
    read = Listing.read

    def read_late(
        listing: Listing, wanted: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[Blob, str | None]]:
        file.unlink()
        if then == "link":
            file.symlink_to(tmp_path)
        elif then == "grown":
            file.write_bytes(GREET + b"#" * (1 << 20))
        yield from read(listing, wanted)

    with monkeypatch.context() as patch:
        patch.setattr(Listing, "read", read_late)
        assert index.update(folder).files == 0
    file.unlink(missing_ok=True)
    file.write_bytes(GREET)
    (it,) = report(index)["revisions"]
    assert it["stale"] == "stale: 1 file has changed"
    assert index.update(folder).files == 1
    assert symbols(index) == {"greet"}


def test_a_content_that_an_index_holds_as_unreadable_is_read_again(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET})
    with git.Repo(repo) as opened:
        oid = opened.head.commit.tree["a.py"].hexsha
    index = CodeIndex(tmp_path / "index")
    index.store.add_blob(oid, "python.py", "python", 0, "unreadable")
    assert index.update(repo).files == 1


def ranked(index: CodeIndex) -> list[tuple[str, str, float]]:
    hits = index.search("greet a person, parse a number", mode="lexical")
    return sorted((hit.path, hit.symbol, round(hit.score, 4)) for hit in hits)


@pytest.mark.parametrize("kept", [True, False])
def test_a_write_that_fails_at_its_end_leaves_what_was_found_before(
    tmp_path: Path, make_repo: MakeRepo, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET, "b.py": PARSE})
    index = CodeIndex(tmp_path / "index" if kept else None)
    index.update(repo)
    before = ranked(index)
    (repo / "b.py").unlink()
    (repo / "c.py").write_bytes(PARSE.replace(b"parse", b"parse_all"))

    def fails(*_: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr("codebyte.indexer.writing.compact", fails)
        for write in (lambda: index.update(repo), lambda: index.remove("repo")):
            with pytest.raises(InputError, match="no space"):
                write()
            assert ranked(index) == before
    assert (index.update(repo).added, ranked(index) == before) == (1, False)
    fresh = CodeIndex()
    fresh.update(repo)
    assert ranked(index) == ranked(fresh)
    if kept:
        with CodeIndex.load(tmp_path / "index") as again:
            assert ranked(again) == ranked(fresh)


@pytest.mark.parametrize("cut", [True, False])
def test_words_that_are_damaged_or_gone_are_made_again_by_the_next_update(
    tmp_path: Path, make_repo: MakeRepo, cut: bool
) -> None:
    repo = make_repo(tmp_path / "repo", {"a.py": GREET, "b.py": PARSE})
    with CodeIndex(tmp_path / "index") as index:
        index.update(repo)
        before = ranked(index)
    file = tmp_path / "index" / "words-1.npz"
    if cut:
        file.write_bytes(file.read_bytes()[:300])
    else:
        file.unlink()
    with CodeIndex(tmp_path / "index") as index:
        with pytest.raises(StaleIndexError, match="build the index again with `codebyte index`"):
            index.search("greet")
        assert index.update(repo).added == 0
        assert ranked(index) == before
    with CodeIndex.load(tmp_path / "index") as index:
        assert ranked(index) == before
