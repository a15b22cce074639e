"""What several test files share: small, real, deterministic."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import git
import pytest

# Kernels run on the CPU; Triton asks when it is first imported, which others may do.
os.environ.setdefault("TRITON_INTERPRET", "1")

if TYPE_CHECKING:
    from codebyte.config import ModelConfig
    from codebyte.megabyte import Megabyte

APP = b'''"""A counter that greets."""

import json
from pathlib import Path


def greet(name: str, times: int = 1) -> str:
    """Greets a person by name, as often as wanted."""
    return "\\n".join(f"Hello, {name}!" for _ in range(times))


def load_settings(path: Path) -> dict[str, object]:
    """Reads settings from a JSON file."""
    with path.open(encoding="utf-8") as file:
        return json.load(file)
'''
TEST_APP = b"""from src.app import greet, load_settings


def test_greet_repeats_its_line():
    assert greet("Ada", times=2).splitlines() == ["Hello, Ada!", "Hello, Ada!"]


def test_settings_are_read(tmp_path):
    (tmp_path / "settings.json").write_text('{"colour": "green"}')
    assert load_settings(tmp_path / "settings.json") == {"colour": "green"}
"""
LATIN1 = """# Menü: ein Kaffee bitte, mit Zucker und Milch dazu
PREIS_IN_CENT = {"Café au lait": 350, "Crème brûlée": 490}
""".encode("latin-1")
README = b"""# Greeter

Greets people by name. Run `python -m greeter` and type a name; settings are read from a file.
"""
COUNTER_GO = b"""package counter

// Next returns the number after n, and never more than the given limit.
func Next(n int, limit int) int {
	if n >= limit {
		return limit
	}
	return n + 1
}
"""
KEPT = {
    "README.md": README,
    "counter/counter.go": COUNTER_GO,
    "src/app.py": APP,
    "src/latin1.py": LATIN1,
    "tests/test_app.py": TEST_APP,
}
LEFT_OUT = {  # path -> reason and content
    "CHANGELOG.md": (
        "change log",
        b"# 1.0\n\n- First release of the greeter, with settings.\n" * 3,
    ),
    "logo.png": ("not source", b"\x89PNG\r\n\x1a\n" * 20),
    "poetry.lock": ("lock file", b'[[package]]\nname = "numpy"\nversion = "2.0"\n' * 5),
    "src/__init__.py": ("too small", b""),
    "src/big.py": ("too big", b"value = 'about thirty bytes long'\n" * 8000),
    "src/blank.py": ("near-empty", b"\n" * 100),
    "src/greet_pb2.py": ("generated", b"# made by protoc\nimport google.protobuf\n" * 5),
    "src/made.py": ("generated", b"# This file was automatically generated.\n" + b"x = 1\n" * 20),
    "src/nul.py": ("binary", b"text = 'here'\n\x00\x01\x02" * 10),
    "src/table.py": ("data-like", b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],\n" * 9),
    "tests/fixtures/sample.py": ("sample data", b"def sample():\n    return 'a sample'\n" * 4),
    "vendor/lib.py": ("vendored", b"def vendored():\n    return 'from elsewhere'\n" * 4),
    "web/app.min.js": ("minified", b"function a(b){return b+1}" * 20),
    "web/bundle.js": ("long lines", b"function a(b){return b+1};" * 200),
}

MakeRepo = Callable[[Path, Mapping[str, bytes]], Path]
MakeModel = Callable[["ModelConfig"], "Megabyte"]


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder for what is made once for all processes of a test run."""
    own = tmp_path_factory.getbasetemp()
    os.environ["CODEBYTE_TESTS_SHARED"] = str(
        own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    )


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keeps what a test's page looks like at its end, as test-results/NAME.png."""
    tabs = "page" in request.fixturenames
    page = request.getfixturevalue("page") if tabs else request.getfixturevalue("editor").page
    yield
    folder = Path(__file__).parent.parent / "test-results"
    page.screenshot(path=folder / f"{request.node.name}.png")


@pytest.fixture(scope="session")
def make_repo() -> MakeRepo:
    """Writes files to a folder and commits them: `make_repo(folder, {path: content})`."""

    def make(folder: Path, files: Mapping[str, bytes]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        with git.Repo.init(folder, initial_branch="main") as repo:
            for path, data in files.items():
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            _commit(repo, "Write files")
        return folder

    return make


@pytest.fixture
def tiny_repo(tmp_path: Path, make_repo: MakeRepo) -> Path:
    """A working copy with every file of KEPT and LEFT_OUT and a link, in two commits.

    HEAD~1 lacks the link and has another README.md.
    """
    files = {path: data for path, (_, data) in LEFT_OUT.items()} | KEPT
    folder = make_repo(tmp_path / "tiny", files | {"README.md": README * 2})
    (folder / "README.md").write_bytes(README)
    (folder / "src" / "alias.py").symlink_to("app.py")
    with git.Repo(folder) as repo:
        _commit(repo, "Say it once")
    return folder


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Builds a model, always the same for a config, all of whose weights are random.

    A new model starts with every block adding nothing, which would hide most mistakes.
    """
    import torch  # here, so that tests of files and git need not wait for it

    from codebyte.megabyte import Megabyte

    def make(config: "ModelConfig") -> "Megabyte":
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(1)
            model = Megabyte(config)
            for weight in model.parameters():
                weight += 0.1 * torch.randn_like(weight)
        return model.eval()

    return make


@pytest.fixture
def tiny_model(make_model: MakeModel) -> "Megabyte":
    """The preset "tiny" with random weights, on the CPU."""
    from codebyte.presets import PRESETS

    return make_model(PRESETS["tiny"])


def _commit(repo: git.Repo, message: str) -> None:
    repo.git.add("--all")
    date = "2026-01-01T00:00:00Z"
    author = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org"}
    committer = {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org"}
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    with repo.git.custom_environment(**author, **committer, **dates):
        repo.git.execute(["git", "-c", "commit.gpgsign=false", "commit", "--quiet", "-m", message])
