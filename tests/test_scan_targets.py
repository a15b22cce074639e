import os
import stat
from pathlib import Path

import git
import pytest
from conftest import KEPT, LEFT_OUT, MakeRepo
from scanned import CODE

from codebyte.errors import InputError, RepoError
from codebyte.tasks.scan_changes import changed_lines, find_base
from codebyte.tasks.scan_targets import Tree, blob_id, open_tree


def contents(tree: Tree) -> dict[str, bytes]:
    return {target.path: tree.read(target) for target in tree.targets}


def test_a_working_copy_is_read_as_it_stands(tmp_path: Path, make_repo: MakeRepo) -> None:
    folder = make_repo(
        tmp_path / "repo", {".gitignore": b"*.log\n", "a.py": b"old", "b/c.py": CODE, "d.py": CODE}
    )
    (folder / "a.py").write_bytes(b"new, and not committed")
    (folder / "d.py").unlink()
    (folder / "b" / "new \u00e9\n.py").write_bytes(b"untracked")
    (folder / "run.log").write_bytes(b"ignored")
    found = contents(open_tree(folder))
    assert found == {
        ".gitignore": b"*.log\n",
        "a.py": b"new, and not committed",
        "b/c.py": CODE,
        "b/new \u00e9\n.py": b"untracked",
    }
    assert list(found) == sorted(found)


def test_a_revision_and_a_bare_repository_are_read_from_git(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    folder = make_repo(tmp_path / "repo", {"a.py": b"one", "b/c.py": b"two"})
    (folder / "a.py").write_bytes(b"not committed")
    committed = {"a.py": b"one", "b/c.py": b"two"}
    assert contents(open_tree(folder, "HEAD")) == committed
    bare = git.Repo.clone_from(str(folder), str(tmp_path / "bare.git"), bare=True)
    assert contents(open_tree(str(bare.git_dir))) == committed
    assert [t.oid for t in open_tree(folder, "HEAD").targets] == [blob_id(b"one"), blob_id(b"two")]
    bare.close()


def test_a_folder_or_file_inside_a_repository_keeps_its_path_from_the_top(tiny_repo: Path) -> None:
    assert [t.path for t in open_tree(tiny_repo / "counter").targets] == ["counter/counter.go"]
    tree = open_tree(tiny_repo / "src" / "app.py")
    assert contents(tree) == {"src/app.py": KEPT["src/app.py"]}
    assert tree.root == tiny_repo
    at_head = open_tree(tiny_repo / "src" / "app.py", "HEAD")
    assert contents(at_head) == contents(tree)


def test_plain_folders_ignored_ones_and_single_files_are_read_too(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    folder = make_repo(tmp_path / "repo", {".gitignore": b"made/\n"})
    (folder / "made" / "node_modules").mkdir(parents=True)
    (folder / "made" / "a.py").write_bytes(CODE)
    (folder / "made" / "node_modules" / "b.js").write_bytes(CODE)
    assert contents(open_tree(folder / "made")) == {"a.py": CODE}
    (tmp_path / "alone.py").write_bytes(CODE)
    assert contents(open_tree(tmp_path / "alone.py")) == {"alone.py": CODE}


def test_links_and_what_lies_behind_them_are_not_followed(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_bytes(b"secret")
    folder = make_repo(tmp_path / "repo", {"in/secret.py": CODE, "x.py": CODE, "y.py": CODE})
    before = open_tree(folder)
    (folder / "in" / "secret.py").unlink()
    (folder / "in").rmdir()
    (folder / "in").symlink_to(outside, target_is_directory=True)
    (folder / "x.py").unlink()
    (folder / "x.py").symlink_to(outside / "secret.py")
    after = open_tree(folder)
    assert contents(after) == {"y.py": CODE}
    assert after.skipped == {"in": "link", "in/secret.py": "link", "x.py": "link"}
    for target in before.targets[:2]:  # listed while they were still files
        with pytest.raises(OSError, match=r"link|symbolic"):
            before.read(target)


def test_a_pipe_in_a_files_place_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(CODE)
    tree = open_tree(tmp_path)
    (tmp_path / "a.py").unlink()
    os.mkfifo(tmp_path / "a.py")
    with pytest.raises(OSError, match="not a file"):
        tree.read(tree.targets[0])
    assert open_tree(tmp_path).skipped == {"a.py": "not a file"}


def test_nothing_that_a_repository_configures_is_run(tmp_path: Path, make_repo: MakeRepo) -> None:
    folder = make_repo(tmp_path / "repo", {"a.py": CODE, ".gitattributes": b"* filter=x diff=x\n"})
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\ncat\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with git.Repo(folder) as repo, repo.config_writer() as writer:
        writer.set_value("core", "fsmonitor", str(script))
        writer.set_value("core", "worktree", str(tmp_path))
        writer.set_value("diff", "external", str(script))
        writer.set_value('diff "x"', "textconv", str(script))
        writer.set_value('filter "x"', "clean", str(script))
        writer.set_value('filter "x"', "smudge", str(script))
    (folder / "a.py").write_bytes(CODE + b"x = 1\n")
    tree = open_tree(folder)
    assert [target.path for target in tree.targets] == [".gitattributes", "a.py"]
    assert tree.repo is not None
    base = find_base(tree.repo, "HEAD", None)
    old = tree.read_object(base.oids["a.py"])
    assert changed_lines(old, tree.read(tree.targets[1])) == {12}
    assert not (tmp_path / "ran").exists()


def test_what_is_not_there_is_said(tmp_path: Path, tiny_repo: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist: give a file, a folder"):
        open_tree("nowhere")
    with pytest.raises(RepoError, match="has no revision 'no-such': give a branch, a tag or"):
        open_tree(tiny_repo, "no-such")
    (tmp_path / "plain").mkdir()
    with pytest.raises(RepoError, match="is in no git repository, so it has no revision 'main'"):
        open_tree(tmp_path / "plain", "main")
    with pytest.raises(RepoError, match="is no URL to clone"):
        open_tree("http://example.org/a/b")
    (tiny_repo / "late.py").write_bytes(CODE)
    with pytest.raises(InputError, match=r"late\.py does not exist at"):
        open_tree(tiny_repo / "late.py", "HEAD")


def test_all_kinds_of_files_are_targets(tiny_repo: Path) -> None:
    paths = {target.path for target in open_tree(tiny_repo).targets}
    assert paths == set(KEPT) | set(LEFT_OUT)


def test_a_repository_without_a_commit_is_read_as_it_will_be_with_one(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    git.Repo.init(folder).close()
    for path, data in {"src/a.py": CODE, "src/a.log": b"ignored", ".gitignore": b"*.log\n"}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    for history in (False, True):
        tree = open_tree(folder / "src", history=history)
        assert contents(tree) == {"src/a.py": CODE}
        assert tree.root == folder  # where the settings are
    assert tree.repo is not None
    assert find_base(tree.repo, "HEAD", None).old_oid("src/a.py") is None
    with pytest.raises(RepoError, match="no revision 'main'"):
        find_base(tree.repo, "main", None)


def test_a_folder_of_a_broken_repository_is_read_like_any_other(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    (tmp_path / "empty" / ".git").mkdir(parents=True)
    (tmp_path / "empty" / "a.py").write_bytes(CODE)
    assert contents(open_tree(tmp_path / "empty")) == {"a.py": CODE}
    folder = make_repo(tmp_path / "repo", {"a.py": CODE})
    head = git.Repo(folder).head.commit.hexsha
    (folder / ".git" / "objects" / head[:2] / head[2:]).unlink()
    assert contents(open_tree(folder)) == {"a.py": CODE}
    with pytest.raises(RepoError):  # nothing to compare with, and no claim that all is new
        open_tree(folder, history=True)
