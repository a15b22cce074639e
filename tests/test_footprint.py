"""What is imported, and so kept in memory, by those who only complete."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from taught import taught_checkpoint

from codebyte.memory import give_back_now

ROOT = Path(__file__).parent.parent


def loaded_after(code: str) -> set[str]:
    """The names of a few large packages that are loaded once the code has run."""
    large = {"torch", "torch._dynamo", "sympy", "gradio", "pandas", "matplotlib", "mcp", "pygls"}
    large |= {"huggingface_hub"}
    code += f"\nimport sys; print(*sorted({large!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.slow
def test_completing_needs_torch_without_its_compiler() -> None:
    code = (
        "from codebyte.apps.session import Session\n"
        f"session = Session({str(taught_checkpoint())!r})\n"
        "session.warm_up()"
    )
    assert loaded_after(code) == {"torch"}


@pytest.mark.slow
def test_the_api_alone_needs_no_page() -> None:
    code = (
        "from codebyte.apps.server import create_app\n"
        "from codebyte.apps.session import Session\n"
        f"create_app(Session({str(taught_checkpoint())!r}), page=False)"
    )
    assert loaded_after(code) == {"torch"}


def test_commands_import_nothing_large_before_they_run() -> None:
    assert loaded_after("import codebyte.apps.cli") == set()


def test_the_language_server_answers_before_torch_is_imported() -> None:
    assert loaded_after("import codebyte.apps.lsp") == {"pygls"}


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives back what is freed")
def test_what_is_freed_between_others_is_given_back() -> None:
    held = [bytes(8000) for _ in range(8000)]
    held = held[-1:]  # the last one keeps the rest from going back by itself
    before = resident()
    give_back_now()
    assert resident() < before - 40e6
    assert held


def resident() -> float:
    """Bytes of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
