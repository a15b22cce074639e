"""Embedder: queries in words and chunks of code to vectors whose product says how near they are.

A chunk costs about as much as counting its words: their vectors are worked out once and remembered.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codebyte.tasks.bag import fields, parts, word
from codebyte.tasks.heads import FIELDS, Bags, SearchHead, load_head
from codebyte.tasks.ragged import Ragged

if TYPE_CHECKING:
    from codebyte.megabyte import Megabyte

MAX_TEXT = 4096  # bytes of a query that are read

_BATCH = 256  # chunks at a time, which bounds the memory
_REMEMBERED = 1 << 16  # words


class Embedder:
    """Gives unit rows for queries and for code; their products are cosines."""

    def __init__(self, model: "Megabyte | None" = None, head: SearchHead | None = None) -> None:
        """Takes the packaged head where none is given.

        Args:
            model: not asked: its states would cost fifty times as much (docs/search-head.md).
            head: from `codebyte.tasks.heads.load_head`.

        Raises:
            CheckpointError: the packaged head is missing or cannot be used.
        """
        self._head = load_head() if head is None else head
        self._lock, self._words = Lock(), _Words(self._head)
        self.dim = self._head.dim
        self.model_id = f"search-{self._head.fingerprint()}"

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of queries, (n, dim); one without a letter or a digit in it is all zeros."""
        encoded = (text[:MAX_TEXT].encode("utf-8", "replace") for text in texts)
        return self._embed(list(encoded), lambda text: (text, b"", b"", b""))

    def embed_code(self, chunks: Sequence[bytes]) -> NDArray[np.float32]:
        r"""Vectors of chunks, (n, dim), of which the first 8 KB are read.

        A first line `b"\x1e" + path + b"\x1f" + symbol` says what the chunk is called; without it
        the first definition in the chunk does.
        """
        return self._embed(chunks, _code_fields)

    def _embed(
        self, texts: Sequence[bytes], taken_apart: Callable[[bytes], Iterable[bytes]]
    ) -> NDArray[np.float32]:
        made = np.zeros((len(texts), self.dim), np.float32)
        for first in range(0, len(texts), _BATCH):
            batch = [list(taken_apart(text)) for text in texts[first : first + _BATCH]]
            made[first : first + _BATCH] = self._batch(batch).numpy()
        return made

    @torch.inference_mode()
    def _batch(self, texts: Sequence[Sequence[bytes]]) -> Tensor:
        split = [[parts(text[place]) for text in texts] for place in range(len(FIELDS))]
        with self._lock:
            if len(self._words) > _REMEMBERED:
                self._words = _Words(self._head)
            known = self._words
            found = [[known.look_up(one) for one in field] for field in split]
            vectors, weights = known.vectors(), known.weights()
        filled = {
            name: Bags.of(Ragged.of(field))
            for name, field in zip(FIELDS, found, strict=True)
            if any(field)
        }
        if not filled:
            return torch.zeros(len(texts), self.dim)
        return self._head(filled, vectors, weights)


class _Words:
    """Words met so far with their vectors; rows are only ever added."""

    def __init__(self, head: SearchHead) -> None:
        self._head = head
        self._places: dict[bytes, int] = {}  # of parts as they stand in the text
        self._by_word: dict[bytes, int] = {}
        self._vectors = torch.zeros(0, head.dim)
        self._weights = torch.zeros(0, len(FIELDS))
        self._new: list[bytes] = []

    def __len__(self) -> int:
        return len(self._places)

    def look_up(self, text: Sequence[bytes]) -> list[int]:
        """Where the words of a text are among the vectors."""
        places = self._places
        for part in text:
            if part not in places:
                name = word(part)
                if name not in self._by_word:
                    self._by_word[name] = len(self._by_word)
                    self._new.append(name)
                places[part] = self._by_word[name]
        return [places[part] for part in text]

    def vectors(self) -> Tensor:
        """Those of all words looked up, (w, dim)."""
        if self._new:
            self._learn()
        return self._vectors[: len(self._by_word)]

    def weights(self) -> Tensor:
        """Those of all words looked up, (w, fields)."""
        return self._weights[: len(self._by_word)]

    def _learn(self) -> None:
        head = self._head
        first, needed = len(self._by_word) - len(self._new), len(self._by_word)
        if needed > len(self._vectors):  # copied, so that rows handed out stay as they are
            grown = max(1024, 2 * needed)
            old, self._vectors = self._vectors, torch.zeros(grown, head.dim)
            self._vectors[:first] = old[:first]
            old, self._weights = self._weights, torch.zeros(grown, len(FIELDS))
            self._weights[:first] = old[:first]
        new = head.featured(self._new)
        self._vectors[first:needed] = head.word_vectors(new)
        self._weights[first:needed] = head.word_weights[new.weighed]
        self._new = []


def _code_fields(chunk: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    found = fields(chunk)
    return b"", found.symbol, found.signature, found.body
