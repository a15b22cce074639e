"""What an index asks of whatever makes its vectors, and what it gives it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codebyte.errors import InputError, StaleIndexError
from codebyte.indexer.ranking import Mode
from codebyte.indexer.store import Store

MOST_NAMES = 1 << 14  # of files, whose vectors are remembered

_EVERYWHERE = {"__init__", "index", "mod", "main", "lib"}


class Embedder(Protocol):
    """What turns words and code into vectors that can be compared."""

    @property
    def dim(self) -> int:
        """The width of a vector."""
        ...

    @property
    def model_id(self) -> str:
        """What made the vectors: those of another id cannot be compared with them."""
        ...

    def embed_text(self, texts: list[str], /) -> NDArray[np.float32]:
        """Unit vectors of questions, (n, dim)."""
        ...

    def embed_code(self, codes: list[bytes], /) -> NDArray[np.float32]:
        """Unit vectors of code, (n, dim)."""
        ...


def embedded_input(symbol: str, body: bytes) -> bytes:
    """What the model is given of a chunk: its name and what it says, wherever it lies.

    The path between the two separators is left empty, so that a moved file keeps its vectors.
    """
    return b"\x1e\x1f" + symbol.encode("utf-8", "replace") + b"\n" + body


def naming(path: str) -> str:
    """What a path calls a file: its stem, unless that is every folder's, and its folder."""
    folder, _, name = path.rpartition("/")
    stem, folder = name.partition(".")[0], folder.rpartition("/")[2]
    return folder if stem.lower() in _EVERYWHERE and folder else f"{stem} {folder}"


def nearness_of_paths(
    paths: Sequence[str],
    vector: NDArray[np.float32] | None,
    embedder: Embedder | None,
    known: dict[str, NDArray[np.float32]],
) -> NDArray[np.float32]:
    """How near the names of files and their folders are to a query, as cosines; 0 without vectors.

    Args:
        paths: of files.
        vector: of the query.
        embedder: of that vector.
        known: the vectors of names met before, which grows.
    """
    if vector is None or embedder is None:
        return np.zeros(len(paths), np.float32)
    names = [naming(path) for path in paths]
    if len(known) > MOST_NAMES:
        known.clear()
    if new := sorted(set(names) - set(known)):
        made = embedder.embed_code([embedded_input(name, b"") for name in new])
        known.update(zip(new, made, strict=True))
    return np.array([known[name] @ vector for name in names], np.float32)


def query_vector(
    embedder: Embedder | None, store: Store, words: str, mode: Mode
) -> NDArray[np.float32] | None:
    """The vector of some words, or None where the index is to be asked by words alone.

    Raises:
        InputError: mode "dense" without vectors or without a model.
        StaleIndexError: the vectors are another model's.
    """
    usable = usable_embedder(embedder, store, mode)
    return None if usable is None or not words.strip() else usable.embed_text([words])[0]


def usable_embedder(embedder: Embedder | None, store: Store, mode: Mode) -> Embedder | None:
    """The embedder, or None where the index is to be asked by words alone.

    Raises:
        InputError: mode "dense" without vectors or without a model.
        StaleIndexError: the vectors are another model's.
    """
    if mode == "lexical":
        return None
    if embedder is None or store.get("model") is None:
        if mode == "dense":
            lacks = "the index has no vectors yet" if embedder else "no model was given"
            raise InputError(f"mode 'dense' cannot be used, {lacks}: use mode 'lexical'")
        return None
    check_model(embedder, store)
    return embedder


def check_model(embedder: Embedder, store: Store) -> None:
    """Raises StaleIndexError where the vectors are another model's."""
    model, dim = store.get("model"), store.get("dim")
    if model is not None and (model, dim) != (embedder.model_id, embedder.dim):
        raise StaleIndexError(
            f"the index has vectors of model {model}, not of {embedder.model_id}: run "
            "`codebyte index --reembed`, or search with `--mode lexical`"
        )
