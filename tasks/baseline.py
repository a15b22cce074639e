"""Baseline files: findings that are known, so that a scan reports only new ones.

    {"format": 1, "findings": {"<fingerprint>": {"rule": "CB102", "path": "a.py", "line": 7}}}

The fingerprints count; the rest is for people and for reviews of the file.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from codebyte.errors import InputError
from codebyte.tasks.places import Place

FORMAT = 1
LARGEST = 64 << 20  # bytes


def read_baseline(path: Path) -> frozenset[str]:
    """The fingerprints of a baseline file.

    Raises:
        InputError: it cannot be read, or is none.
    """
    remedy = "write one with --write-baseline"
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        problem = f"baseline {path} cannot be read: {error.strerror or error}; {remedy}"
        raise InputError(problem) from error
    try:
        data = json.loads(text) if len(text) <= LARGEST else None
    except (ValueError, RecursionError):
        data = None
    if (
        not isinstance(data, dict)
        or data.get("format") != FORMAT
        or not isinstance(data.get("findings"), dict)
    ):
        raise InputError(f"{path} is not a codebyte baseline of format {FORMAT}: {remedy}")
    return frozenset(data["findings"])


def write_baseline(path: Path, places: Iterable[Place]) -> int:
    """Writes the findings that are known from now on; gives how many.

    Raises:
        InputError: it cannot be written.
    """
    ordered = sorted(places, key=lambda p: (p.finding.path, p.finding.line, p.fingerprint))
    listed = {
        place.fingerprint: {
            "rule": place.finding.rule,
            "path": place.finding.path,
            "line": place.finding.line,
        }
        for place in ordered
    }
    text = json.dumps({"format": FORMAT, "findings": listed}, indent=1) + "\n"
    write_file(path, text.encode("ascii"))
    return len(listed)


def write_file(path: Path, content: bytes) -> None:
    """Writes a file at once or not at all.

    Raises:
        InputError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        if path.exists() and not path.is_file():  # a pipe or a device takes what comes
            path.write_bytes(content)
            return
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        problem = f"{path} cannot be written: {error.strerror or error}; give a file in a folder"
        raise InputError(f"{problem} that exists and can be written to") from error
