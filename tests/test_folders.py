import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from codebyte.indexer.folders import walk

FILES = (
    *("a.py", "build/out.py", "build/keep.py", "deep/a.log", "deep/b.py", "deep/build/x.py"),
    *("deep/er/c.py", "deep/er/d.tmp", "docs/a.md", "docs/private/b.md", "docs/private/open.md"),
    *("logs/x.log", "sp ace.py", "top.log", "un!.py"),
)
IGNORES = {
    ".gitignore": "*.log\n/build/*\n!build/keep.py\n# said\n\n\\#x\n",
    "deep/.gitignore": "!a.log\nbuild/\n*.tmp\n",
    "docs/.gitignore": "private/\n!private/open.md\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
    for path, text in IGNORES.items():
        (tmp_path / path).write_text(text)
    return tmp_path


def test_ignore_files_count_as_they_do_for_git(folder: Path) -> None:
    got = set(walk(folder, Counter()))
    subprocess.run(["git", "-C", folder, "init", "-q"], check=True)
    listed = subprocess.run(
        ["git", "-C", folder, "ls-files", "-o", "--exclude-standard", "-z"],
        check=True,
        capture_output=True,
    )
    assert got == {os.fsdecode(path) for path in listed.stdout.split(b"\0") if path}


def test_an_ignore_file_of_other_tools_counts_too(folder: Path) -> None:
    (folder / ".ignore").write_text("deep/\n")
    assert not [path for path in walk(folder, Counter()) if path.startswith("deep/")]


def test_loops_of_links_are_counted_and_not_walked(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.py").write_text("x = 1\n")
    (tmp_path / "inner" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b.py").symlink_to("inner/a.py")
    skips: Counter[str] = Counter()
    assert list(walk(tmp_path, skips)) == ["inner/a.py"]
    assert skips == {"link": 2}
