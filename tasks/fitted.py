"""Which fitted tables belong to which weights.

Tables name the weights that they were fitted to. A checkpoint may have tables of its own, a
`scan.json` beside its weights; else the packaged ones are used, and are only a guess.
"""

import hashlib
from os import PathLike
from pathlib import Path

import codebyte
from codebyte.errors import CheckpointError
from codebyte.tasks.suspicion import PACKAGED, load_judge


def weights_id(checkpoint: str | PathLike[str] | None = None) -> str:
    """Names the weights of a checkpoint, 12 hex digits; nothing is loaded.

    Args:
        checkpoint: as for `codebyte.load`.

    Raises:
        CheckpointError: there is none.
    """
    file = weights_file(checkpoint)
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()[:12]
    except OSError as error:
        codebyte.load(checkpoint)  # says what is wrong with it
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error


def weights_file(checkpoint: str | PathLike[str] | None = None) -> Path:
    """Where the weights of a checkpoint lie."""
    file = PACKAGED.parent if checkpoint is None else Path(checkpoint).expanduser()
    return file if file.suffix.lower() == ".safetensors" else file / "model.safetensors"


def judge_file(checkpoint: str | PathLike[str] | None = None) -> Path:
    """The tables for a checkpoint: those that lie beside its weights, else the packaged ones."""
    own = weights_file(checkpoint).with_name(PACKAGED.name)
    return own if own.is_file() else PACKAGED


def is_fitted_to(checkpoint: str | PathLike[str] | None = None) -> bool:
    """Whether the tables for a checkpoint were fitted to its weights.

    Raises:
        CheckpointError: one of the two is missing.
    """
    return load_judge(judge_file(checkpoint)).model_id == weights_id(checkpoint)
