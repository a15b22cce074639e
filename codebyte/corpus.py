"""Training text on disk, and batches of it that are a pure function of a step number.

A corpus is a folder (S is train or valid):

    S.bin        the documents' bytes, one after the other
    S.ends.npy   int64, where each document ends
    S.repos.npy  int32, each document's repository: its place in the list in corpus.json
    S.paths.txt  "repository/path", one document a line
    corpus.json  format version, kind of split, repositories, languages, files left out by reason

Documents lie in order of repository and path, so that neighbours are related.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codebyte.corpus_writer import FORMAT, Document, write_corpus
from codebyte.errors import CorpusError
from codebyte.packing import Shard, fill_row

__all__ = ["Corpus", "Document", "Shard", "write_corpus"]

_SPLITS = {"train": 0, "valid": 1}  # the number goes into the seed


class Corpus:
    """A corpus folder opened for reading."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the folder.

        Raises:
            CorpusError: it is not a corpus, is damaged, or was written by a newer version.
        """
        self.path = Path(path)
        try:
            text = (self.path / "corpus.json").read_text(encoding="utf-8")
            self.info: dict[str, Any] = json.loads(text)
            version = self.info["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{self.path} is not a corpus: give a folder that write_corpus has written"
            raise CorpusError(message) from error
        if version != FORMAT:
            message = f"{self.path} has corpus format {version}, not {FORMAT}: write it anew"
            raise CorpusError(message)
        self._shards = {split: self._open(split) for split in _SPLITS}

    def shard(self, split: str) -> Shard:
        """The documents of "train" or "valid"."""
        if split not in self._shards:
            raise CorpusError(f"{split!r} is not a split: use 'train' or 'valid'")
        return self._shards[split]

    def num_bytes(self, split: str) -> int:
        """Bytes of text in a split, sentinels not counted."""
        return len(self.shard(split).data)

    def require(self, split: str) -> None:
        """Refuses a corpus of which a split is empty.

        Raises:
            CorpusError: there is no text in the split.
        """
        if not self.num_bytes(split):
            message = f"{self.path} has no {split} text: write it from more repositories or files"
            raise CorpusError(message)

    def batch(
        self,
        split: str,
        step: int,
        *,
        seed: int,
        rows: int,
        length: int,
        fim_rate: float = 0.0,
        path_rate: float = 0.0,
        rank: int = 0,
        world: int = 1,
    ) -> NDArray[np.uint16]:
        """Rows to train on at a step, a pure function of the arguments (see `codebyte.packing`).

        Args:
            split: "train" or "valid".
            step: counts from 0.
            seed: of the whole run.
            rows: per rank; the global batch has rows * world.
            length: ids in a row.
            fim_rate: share of documents rearranged by `apply_fim`, after cropping.
            path_rate: share of documents headed by their path.
            rank: which rows of the global batch are returned: rank * rows and on.
            world: number of ranks.

        Returns:
            uint16 (rows, length).

        Raises:
            CorpusError: the split is empty.
        """
        self.require(split)
        shard = self.shard(split)
        batch = np.empty((rows, length), np.uint16)
        first = (step * world + rank) * rows
        for row, ids in enumerate(batch):
            fill_row(
                ids,
                shard,
                first + row,
                seed=(seed, _SPLITS[split]),
                fim_rate=fim_rate,
                path_rate=path_rate,
            )
        return batch

    def _open(self, split: str) -> Shard:
        try:
            ends = np.load(self.path / f"{split}.ends.npy", allow_pickle=False)
            repos = np.load(self.path / f"{split}.repos.npy", allow_pickle=False)
            file = self.path / f"{split}.bin"
            size = file.stat().st_size
            data = np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)
            text = (self.path / f"{split}.paths.txt").read_bytes()
            names = [entry["name"] for entry in self.info["repositories"]]
            listed = text.decode("utf-8", "surrogateescape").split("\n")[:-1]
            if not len(listed) == len(ends) == len(repos):
                raise ValueError(f"{len(listed)} paths for {len(ends)} documents")
            if size != (int(ends[-1]) if len(ends) else 0):
                raise ValueError(f"{split}.bin has {size} bytes, not as many as its documents")
            lines = zip(listed, repos, strict=True)
            paths = tuple(line.removeprefix(names[repo] + "/") for line, repo in lines)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise CorpusError(f"{self.path} is damaged ({error}): write the corpus anew") from error
        return Shard(data=np.asarray(data), ends=ends, repos=repos, paths=paths)
