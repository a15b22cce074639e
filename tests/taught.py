"""A tiny real model that knows a few texts by heart, so that tests can say what it completes."""

import functools
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock

from codebyte.checkpoint import save
from codebyte.fim import fim_prompt
from codebyte.megabyte import Megabyte
from codebyte.presets import PRESETS
from codebyte.vocab import EOT, PAD

TEXT = """\
def area(width, height):
    return width * height


def greet(name):
    print(f"Hello, {name}!")
"""
PATH = "shapes.py"

# The line `return width * height`, cut in the middle.
HALF = TEXT[: TEXT.index("width * height")]
REST = "width * height"

# A text with a hole, and what belongs there.
HOLE = "Hello, {name}!"
BEFORE, AFTER = TEXT.split(HOLE)

# Two bytes and a four-byte character before the text.
ACCENTS = "# \u00e9 \U0001f600\n\n\n"

# A text without an end.
ENDLESS = "tick tock "


@functools.cache
def taught_checkpoint() -> Path:
    """The model's folder; trained (seconds) once for all processes of a test run."""
    shared = os.environ.get("CODEBYTE_TESTS_SHARED")  # of conftest.py
    folder = Path(shared or tempfile.mkdtemp(prefix="codebyte-")) / "taught"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            save(_taught(), folder)
    return folder


def _taught() -> Megabyte:
    torch.manual_seed(1)
    model = Megabyte(replace(PRESETS["tiny"], context=256))
    rows = [list(ENDLESS.encode() * 20)]
    for path in (None, PATH):
        rows.append([*fim_prompt(b"", b"", path), *TEXT.encode(), EOT])
        rows.append([*fim_prompt(b"", b"", path), *(ACCENTS + TEXT).encode(), EOT])
        rows.append(_hole(BEFORE, HOLE, AFTER, path))
        # An editor closes the bracket that is typed; the model closes it once more.
        before, _, rest = TEXT.rstrip().partition('f"')
        rows.append(_hole(before, 'f"' + rest, ")", path))
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(400):
        loss = model.loss(ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.02:
            break
    return model


def _hole(before: str, middle: str, after: str, path: str | None) -> list[int]:
    return [*fim_prompt(before.encode(), after.encode(), path), *middle.encode(), EOT]
