"""The project installs as one package, whole, and works away from its checkout."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import codebyte
from codebyte.indexer.grammars import GRAMMARS, load_grammar

ROOT = Path(__file__).parent.parent
FOLDERS = ("codebyte", "apps", "indexer", "tasks")
NEEDED_BY = {"torch.utils.tensorboard": "tensorboard"}  # what torch imports only then
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(*args: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _sources() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (ROOT / folder).glob("*.py")


def test_the_packages_listed_are_the_folders_there_are() -> None:
    listed = PROJECT["tool"]["setuptools"]["packages"]
    mapped = PROJECT["tool"]["setuptools"]["package-dir"]
    assert sorted(mapped.get(name, name) for name in listed) == sorted(FOLDERS)
    with_code = {
        str(path.parent.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    }
    assert with_code == set(FOLDERS)


def test_dependencies_are_exactly_what_is_imported() -> None:
    declared = {
        _normal(re.split(r"[^\w.-]", entry)[0]) for entry in PROJECT["project"]["dependencies"]
    }
    distributions = packages_distributions()
    imported = set()
    for path in (*_sources(), ROOT / "train_code.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            imported |= {NEEDED_BY[name] for name in names if name in NEEDED_BY}
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names):
                imported.add(_normal(distributions.get(top, [top])[0]))
    # triton comes with the builds of torch for GPUs, and only they need it
    extras = PROJECT["project"]["optional-dependencies"]
    on_demand = {
        _normal(re.split(r"[^\w.-]", entry)[0])
        for name, listed in extras.items()
        if name not in ("benchmarks", "dev")
        for entry in listed
    }
    assert imported - {"codebyte", "triton"} - declared - on_demand == set()
    for grammar in GRAMMARS:
        load_grammar(grammar)
    by_name = {_normal(name) for name in sys.modules if re.fullmatch(r"tree_sitter_[a-z_]+", name)}
    assert declared - imported - by_name == set()
    assert by_name - declared == set()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in it."""
    copy = tmp_path_factory.mktemp("copy") / "checkout"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "train_code.py"):
        shutil.copy(ROOT / name, copy / name)
    leave = shutil.ignore_patterns("__pycache__", "node_modules")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=leave)
    return copy


@pytest.fixture(scope="module")
def site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel built from the checkout is installed, without a network."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    offline = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    build = ("wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels), str(checkout))
    _run("-m", "pip", *build, cwd=checkout)
    (wheel,) = wheels.glob("*.whl")
    assert wheel.name == f"codebyte-{codebyte.__version__}-py3-none-any.whl"
    _run("-m", "pip", "install", *offline, "--target", str(target), str(wheel), cwd=checkout)
    return target


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_every_file_it_needs(site: Path) -> None:
    tops = {path.name for path in site.iterdir() if path.suffix != ".dist-info"} - {"bin"}
    assert tops == {"codebyte"}
    wanted = {Path("codebyte/py.typed")}
    for path in _sources():
        inside = path.relative_to(ROOT)
        wanted.add(inside if inside.parts[0] == "codebyte" else "codebyte" / inside)
    data = [path for path in (ROOT / "apps").iterdir() if path.is_file()]
    wanted |= {"codebyte" / path.relative_to(ROOT) for path in data}
    wanted |= {path.relative_to(ROOT) for path in (ROOT / "codebyte/weights").glob("*")}
    held = {path.relative_to(site) for path in (site / "codebyte").rglob("*") if path.is_file()}
    assert {path for path in held if path.suffix != ".pyc"} >= wanted
    licences = {path.name for path in site.glob("codebyte-*.dist-info/licenses/*")}
    assert licences == {"LICENSE", "NOTICE"}


@pytest.mark.slow
def test_every_module_of_the_wheel_imports_where_others_have_folders_of_our_names(
    site: Path, tmp_path: Path
) -> None:
    (tmp_path / "tasks.py").write_text("raise SystemExit('the tasks.py of somebody else')")
    for name in ("apps", "indexer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")
    code = (
        "import importlib, pkgutil, codebyte\n"
        "for found in pkgutil.walk_packages(codebyte.__path__, 'codebyte.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        print(importlib.import_module(found.name).__file__)\n"
    )
    files = _run("-c", code, cwd=tmp_path, PYTHONPATH=str(site)).splitlines()
    assert {Path(file).parent for file in files} == {
        site / "codebyte",
        *(site / "codebyte" / folder for folder in FOLDERS[1:]),
    }
    modules = [path for path in _sources() if path.name != "__main__.py"]
    assert len(files) == len(modules) - 1  # walk_packages leaves codebyte/__init__.py out


@pytest.mark.slow
def test_the_command_of_the_wheel_answers(site: Path, tmp_path: Path) -> None:
    usage = _run("-m", "codebyte", "--help", cwd=tmp_path, PYTHONPATH=str(site))
    assert "complete" in usage
    assert (site / "bin" / "codebyte").is_file()


@pytest.mark.slow
def test_a_bare_checkout_works_without_an_install(checkout: Path) -> None:
    code = "from codebyte import apps, tasks; print(apps.__file__, tasks.__file__)"
    found = _run("-c", code, cwd=checkout)
    assert found.split() == [
        str(checkout / "apps/__init__.py"),
        str(checkout / "tasks/__init__.py"),
    ]
