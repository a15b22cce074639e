"""Reads tables that a fit wrote as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from codebyte.errors import CheckpointError

T = TypeVar("T")


def read_fitted(path: Path, build: Callable[[dict[str, Any]], T], what: str, how: str) -> T:
    """Builds something from the JSON object in a file.

    Args:
        path: of the file.
        build: makes it of the object.
        what: it is, for the message if it cannot be read.
        how: it is written anew.

    Raises:
        CheckpointError: the file is missing or cannot be used.
    """
    try:
        return build(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} holds no {what} ({error}): use {how}") from error
