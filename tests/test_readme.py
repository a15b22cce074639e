"""The README's commands run as they stand there, and its examples say what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLE = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_repo: object) -> Path:
    """A folder with what the README assumes: two files, a repository, and train_code.py."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("example.py", "cart.py"):
        shutil.copy(ROOT / "docs" / name, folder)
    make_repo(  # type: ignore[operator]
        folder / "my-project",
        {f"module{i}.py": (ROOT / "docs" / "example.py").read_bytes() * i for i in range(1, 5)},
    )
    shutil.copy(ROOT / "train_code.py", folder)
    return folder


def run(command: str, folder: Path) -> str:
    """Runs a command with `codebyte` and `python` being this checkout's."""
    shim = folder / "bin"
    shim.mkdir(exist_ok=True)
    for name, arguments in (("codebyte", "-m codebyte"), ("python", "")):
        script = shim / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        script.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{shim}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "2",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def steps() -> list[tuple[str, str]]:
    """Each command of the console examples with the output shown under it."""
    found = []
    for block in CONSOLE:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("command", "shown"), steps())
def test_a_command_prints_what_the_readme_shows(place: Path, command: str, shown: str) -> None:
    printed = run(command, place)
    for line in shown.splitlines():
        if line.strip() != "...":
            assert line.rstrip() in [other.rstrip() for other in printed.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("code", PYTHON)
def test_python_examples_run(place: Path, code: str) -> None:
    (place / "example_of_readme.py").write_text(code)
    run("python example_of_readme.py", place)


def test_files_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"\]\(((?:docs|benchmarks|scripts|tests)/[^)#]+)\)", README))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
