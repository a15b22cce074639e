"""Arrays in one file, written so that the earlier file stays until the new one is whole."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codebyte.errors import StaleIndexError

REMEDY = "build the index again with `codebyte index`"


def save_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by name; the first number of the one called "version" is the format's."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as output:
            np.savez(output, allow_pickle=False, **arrays)
            output.flush()
            os.fsync(output.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def load_arrays(file: Path, version: int) -> dict[str, NDArray[Any]]:
    """Reads what `save_arrays` wrote.

    Raises:
        StaleIndexError: the file is missing, damaged or of another version.
    """
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            if (found := int(stored["version"][0])) != version:
                raise StaleIndexError(f"{file} has version {found}, not {version}: {REMEDY}")
            return {name: stored[name] for name in stored.files}
    except (OSError, EOFError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise StaleIndexError(f"{file} is missing or damaged ({error}): {REMEDY}") from error
