"""Who may import whom, read from the source of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "codebyte": {"codebyte"},
    "indexer": {"indexer", "codebyte.errors"},
    "tasks": {"codebyte", "indexer", "tasks"},
    "apps": {"codebyte", "indexer", "tasks", "apps"},
    "train_code.py": {"codebyte", "indexer", "tasks"},
}
ON_DISK = {"apps", "benchmarks", "indexer", "tasks", "tests", "train_code"}
SOURCES = sorted(
    path
    for top in ALLOWED
    for path in ([ROOT / top] if top.endswith(".py") else (ROOT / top).glob("*.py"))
)


def imported(source: str) -> set[str]:
    """The full names of what a module imports, at its top or inside functions.

    `from a.b import c` gives a.b and a.b.c, since c may be a module.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def violations(top: str, source: str) -> set[str]:
    """The imports of ours that a module under `top` may not make."""
    wrong = set()
    for name in imported(source):
        first, *rest = name.split(".")
        if first == "" or first in ON_DISK:  # relative, or by the folder's name on disk
            wrong.add(name)
        elif first == "codebyte" and rest:
            house = rest[0] if rest[0] in ALLOWED else "codebyte"
            if not {house, f"codebyte.{rest[0]}"} & ALLOWED[top]:
                wrong.add(name)
    return wrong


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    if path == ROOT / "codebyte" / "__main__.py":  # `python -m codebyte` has to reach the commands
        assert imported(path.read_text()) == {"codebyte.apps.cli", "codebyte.apps.cli.main"}
        return
    top = path.relative_to(ROOT).parts[0]
    assert violations(top, path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("top", "source"),
    [
        ("codebyte", "from codebyte.tasks.completion import Completer"),
        ("codebyte", "def late():\n    import codebyte.indexer.repo"),
        ("indexer", "from codebyte import megabyte"),
        ("indexer", "from codebyte.megabyte import Megabyte"),
        ("indexer", "from codebyte.tasks import search"),
        ("tasks", "from codebyte.apps.session import Session"),
        ("tasks", "from codebyte import apps"),
        ("apps", "from apps.session import Session"),
        ("apps", "from . import session"),
        ("train_code.py", "import codebyte.apps.cli"),
    ],
)
def test_each_kind_of_wrong_import_is_caught(top: str, source: str) -> None:
    assert violations(top, source) != set()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "indexer").glob("*.py")), ids=lambda path: path.name
)
def test_the_indexer_does_not_name_torch(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path.read_text())} & {"torch", "einops"}


def test_importing_the_indexer_loads_no_torch() -> None:
    names = sorted(path.stem for path in (ROOT / "indexer").glob("*.py") if path.stem != "__init__")
    lines = [f"import codebyte.indexer.{name}" for name in names]
    lines += ["import sys", "print(sorted({'torch', 'gradio'} & set(sys.modules)))"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
