"""What the tests of the index share: an embedder without a model, and commits."""

import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import git
import numpy as np
from numpy.typing import NDArray

WORD = re.compile(rb"[A-Za-z][a-z]+")


class Bag:
    """Counts words, each in the place that its hash says: near texts have near vectors."""

    def __init__(self, dim: int = 64, model_id: str = "bag") -> None:
        self.dim, self.model_id = dim, model_id
        self.embedded = 0  # pieces of code so far

    def embed_text(self, texts: list[str]) -> NDArray[np.float32]:
        return self._embed([text.encode() for text in texts])

    def embed_code(self, codes: list[bytes]) -> NDArray[np.float32]:
        self.embedded += len(codes)
        return self._embed(codes)

    def _embed(self, texts: list[bytes]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in WORD.findall(text):
                row[zlib.crc32(word.lower()) % self.dim] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def commit(folder: Path, files: Mapping[str, bytes | None], message: str = "Go on") -> str:
    """Commits files, None deletes one; the commit's id."""
    with git.Repo(folder) as repo:
        for path, data in files.items():
            if data is None:
                (folder / path).unlink()
            else:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
        repo.git.add("--all")
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        repo.git.execute(["git", *who, "-c", "commit.gpgsign=false", "commit", "-q", "-m", message])
        return repo.head.commit.hexsha
