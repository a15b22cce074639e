import random
import subprocess
from pathlib import Path

import git
import pytest
from conftest import MakeRepo
from scanned import CODE

from codebyte.errors import RepoError
from codebyte.tasks.scan_changes import changed_lines, find_base
from codebyte.tasks.scan_targets import blob_id


def commit(folder: Path, message: str = "Change") -> str:
    with git.Repo(folder) as repo:
        repo.git.add("--all")
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=0"]
        repo.git.execute(["git", *who, "commit", "-q", "--allow-empty", "-m", message])
        return repo.head.commit.hexsha


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (b"a\nb\nc\n", b"a\nB\nc\n", {2}),
        (b"a\nb\n", b"a\nx\ny\nb\n", {2, 3}),
        (b"a\nb\nc\n", b"a\nc\n", set()),
        (b"a\nb\n", b"a\r\nb\r\n", set()),
        (b"", b"a\n", {1}),
        (b"a", b"a\nb", {2}),
        (b"\x00\xff\n", b"\x00\xfe\n", {1}),
        (b"same\n", b"same\n", set()),
    ],
)
def test_changed_lines_are_those_that_are_new(old: bytes, new: bytes, lines: set[int]) -> None:
    assert changed_lines(old, new) == lines


def test_without_its_changed_lines_a_text_is_a_part_of_the_old_one() -> None:
    rng = random.Random(1)
    for _ in range(12):
        old = [b"%d\n" % rng.randrange(12) for _ in range(40)]
        new = [line for line in old if rng.random() < 0.8]
        for _ in range(6):
            new.insert(rng.randrange(len(new)), b"new %d\n" % rng.randrange(9))
        changed = changed_lines(b"".join(old), b"".join(new))
        left = iter(old)
        kept = [line for number, line in enumerate(new, 1) if number not in changed]
        assert all(line in left for line in kept)  # `in` consumes: a subsequence
        assert {i for i, line in enumerate(new, 1) if line.startswith(b"new")} <= changed


def test_the_base_is_where_the_branch_began(tmp_path: Path, make_repo: MakeRepo) -> None:
    folder = make_repo(tmp_path / "repo", {"a.py": b"first\n", "b.py": b"b\n"})
    with git.Repo(folder) as repo:
        first = repo.head.commit.hexsha
        repo.git.checkout("-q", "-b", "topic")
        (folder / "a.py").write_bytes(b"ours\n")
        commit(folder)
        repo.git.checkout("-q", "main")
        (folder / "b.py").write_bytes(b"theirs\n")
        commit(folder)
        repo.git.checkout("-q", "topic")
        base = find_base(repo, "main", None)
    assert base.commit == first
    assert base.oids == {"a.py": blob_id(b"first\n"), "b.py": blob_id(b"b\n")}


def test_a_renamed_file_is_compared_with_what_it_was(tmp_path: Path, make_repo: MakeRepo) -> None:
    folder = make_repo(tmp_path / "repo", {"old name.py": CODE, "other.py": CODE * 2})
    (folder / "old name.py").rename(folder / "new name.py")
    (folder / "new name.py").write_bytes(CODE + b"x = 1\n")
    with git.Repo(folder) as repo:
        repo.git.add("--all")
        staged = find_base(repo, "HEAD", None)
        now = commit(folder)
        committed = find_base(repo, "HEAD~1", now)
    for base in (staged, committed):
        assert base.renamed == {"new name.py": "old name.py"}
        assert base.old_oid("new name.py") == blob_id(CODE)
        assert base.old_oid("third.py") is None


def test_histories_with_nothing_in_common_are_compared_directly(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    folder = make_repo(tmp_path / "repo", {"a.py": b"a\n"})
    with git.Repo(folder) as repo:
        repo.git.checkout("-q", "--orphan", "other")
        (folder / "a.py").write_bytes(b"other\n")
        commit(folder)
        main = repo.commit("main").hexsha
        assert find_base(repo, "main", None).commit == main
        with pytest.raises(RepoError, match="no revision 'never'"):
            find_base(repo, "never", None)
        with pytest.raises(RepoError, match="no revision '--output=x'"):
            find_base(repo, "--output=x", None)


def test_a_clone_without_enough_history_is_refused_and_not_compared_with_the_tip(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    folder = make_repo(tmp_path / "repo", {"a.py": b"a\n"})
    with git.Repo(folder) as repo:
        repo.git.checkout("-q", "-b", "topic")
        commit(folder)
        repo.git.checkout("-q", "main")
        commit(folder, "Other")
        repo.git.checkout("-q", "topic")
    options = {"depth": 1, "no-single-branch": True}
    with git.Repo.clone_from(folder.as_uri(), tmp_path / "clone", **options) as clone:
        with pytest.raises(RepoError, match=r"shallow clone.*history \(fetch-depth: 0\)"):
            find_base(clone, "origin/main", None)
        assert find_base(clone, "HEAD", None).commit == clone.head.commit.hexsha
        clone.git.fetch("--unshallow")
        assert find_base(clone, "origin/main", None).commit == clone.commit("HEAD~1").hexsha


def test_the_users_git_configuration_has_no_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[diff]\n\tnoprefix = true\n\tcontext = 5\n\texternal = false\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    shown = subprocess.run(["git", "config", "diff.context"], capture_output=True, cwd=tmp_path)
    assert shown.stdout == b"5\n"
    assert changed_lines(b"a\nb\nc\n", b"a\nB\nc\n") == {2}
