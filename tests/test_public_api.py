"""The names of `codebyte` itself: what is promised, found lazily, and never hidden by a module."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import codebyte

ROOT = Path(__file__).parent.parent
PROMISED = {
    "MEGABYTE": "codebyte.dropin",
    "PRESETS": "codebyte.presets",
    "CodebyteError": "codebyte.errors",
    "Corpus": "codebyte.corpus",
    "Megabyte": "codebyte.megabyte",
    "ModelConfig": "codebyte.config",
    "SamplingParams": "codebyte.config",
    "TerraByte": "codebyte.dropin",
    "TrainConfig": "codebyte.config",
    "generate": "codebyte.decode",
    "load": "codebyte.checkpoint",
    "save": "codebyte.checkpoint",
    "stream_states": "codebyte.streaming",
    "stream_surprisal": "codebyte.streaming",
    "surprisal": "codebyte.scoring",
    "train": "codebyte.training",
}


def test_all_lists_exactly_the_promised_names() -> None:
    assert set(codebyte.__all__) == set(PROMISED)
    assert len(codebyte.__all__) == len(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_a_public_name_is_the_object_of_its_module(name: str) -> None:
    assert getattr(codebyte, name) is getattr(import_module(PROMISED[name]), name)


def test_type_checkers_see_the_names_that_are_found_at_run_time() -> None:
    tree = ast.parse((ROOT / "codebyte" / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == PROMISED


def test_no_public_name_is_also_a_module() -> None:
    modules = {path.stem for path in (ROOT / "codebyte").glob("*.py")} | {
        "apps",
        "indexer",
        "tasks",
    }
    assert not modules & set(codebyte.__all__)


def test_an_unknown_name_is_an_attribute_error_that_says_so() -> None:
    with pytest.raises(AttributeError, match="module 'codebyte' has no attribute 'surprise'"):
        codebyte.surprise  # noqa: B018


def test_dir_lists_the_names_before_they_are_used() -> None:
    code = "import codebyte; print(set(codebyte.__all__) <= set(dir(codebyte)))"
    assert _run(code) == "True\n"


def test_importing_codebyte_or_its_settings_loads_neither_torch_nor_gradio() -> None:
    code = (
        "import sys, codebyte; codebyte.PRESETS, codebyte.CodebyteError, dir(codebyte); "
        "print(sorted({'torch', 'gradio', 'numpy', 'fastapi'} & set(sys.modules)))"
    )
    assert _run(code) == "[]\n"


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout
