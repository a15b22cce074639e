"""Makes the vectors that are missing, batch by batch, each of which counts once it is written."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codebyte.errors import InputError
from codebyte.indexer.embedder import Embedder, check_model, embedded_input
from codebyte.indexer.snapshot import OpenVectors
from codebyte.indexer.store import Store
from codebyte.indexer.updating import Progress, only_writer
from codebyte.indexer.vector_file import VectorFile

BATCH = 512  # texts
_WASTE = 0.5  # share of the rows in no use above which the file is written anew
_SPARE = 1000  # rows of waste that are always borne

_PENDING = (
    "SELECT texts.id, texts.digest, texts.symbol, texts.body FROM texts LEFT JOIN vectors"
    " USING (digest) WHERE texts.id > ? AND vectors.row IS NULL ORDER BY texts.id LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of an index can be found by its meaning."""

    documents: int
    embedded: int

    @property
    def share(self) -> float:
        """0 to 1; an empty index lacks nothing."""
        return self.embedded / self.documents if self.documents else 1.0


def embed_pending(
    store: Store,
    folder: Path | None,
    embedder: Embedder,
    open_vectors: OpenVectors,
    progress: Progress,
    stopped: Callable[[], bool],
    lock: AbstractContextManager[object],
) -> int:
    """Embeds all texts that have no vector yet; how many there were.

    The lock is held while the database is used, not while the model works.

    Raises:
        StaleIndexError: the index has vectors of another model.
        InputError: another process is writing, or the embedder gives what it did not promise.
    """
    with lock:
        check_model(embedder, store)
        ((total,),) = store.rows(
            "SELECT count(*) FROM texts WHERE digest NOT IN (SELECT digest FROM vectors)"
        )
    progress("embedding", 0, total)
    done = last = 0
    while not stopped():
        with lock:
            found = store.rows(_PENDING, (last, BATCH))
        if not found:
            break
        inputs = [embedded_input(symbol, body) for _, _, symbol, body in found]
        rows = np.asarray(embedder.embed_code(inputs), np.float32)
        if rows.shape != (len(found), embedder.dim) or not np.isfinite(rows).all():
            raise InputError(
                f"model {embedder.model_id} gave vectors of shape {rows.shape} or not finite, "
                f"where ({len(found)}, {embedder.dim}) was due"
            )
        with lock, only_writer(folder), store.writing():
            if store.get("vectors") is None:
                _begin(store, embedder, 1)
            check_model(embedder, store)
            vectors = open_vectors(store.get("vectors"), embedder.dim)
            vectors.grow(int(store.get("rows")))
            first = vectors.append(rows)
            store.many(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                [(digest, first + place) for place, (_, digest, _, _) in enumerate(found)],
            )
            store.set("rows", vectors.count)
        last = found[-1][0]
        done += len(found)
        progress("embedding", done, total)
    return done


def start_anew(store: Store, folder: Path | None, embedder: Embedder) -> None:
    """Forgets all vectors, to make them again with this embedder."""
    with only_writer(folder), store.writing():
        name = store.get("vectors")
        number = int(Path(name).stem.rpartition("-")[2]) + 1 if name else 1
        store.many("DELETE FROM vectors", [()])
        _begin(store, embedder, number)


def compact(store: Store, folder: Path | None) -> bool:
    """Writes the rows in use to a new file where most of the old one is waste; whether it did.

    Call it inside `store.writing`.
    """
    name, dim, total = store.get("vectors"), store.get("dim"), int(store.get("rows"))
    used = store.rows("SELECT digest, row FROM vectors WHERE digest IN (SELECT digest FROM texts)")
    if name is None or folder is None or len(used) >= (1 - _WASTE) * total - _SPARE:
        return False
    used.sort(key=lambda item: item[1])
    old = VectorFile(folder / name, dim, total)
    number = int(Path(name).stem.rpartition("-")[2]) + 1
    new = VectorFile(folder / f"vectors-{number}.f16", dim)
    numbers = np.array([row for _, row in used], np.int64)
    for block in old.blocks(numbers):
        new.append(old.take(block))
    store.many("DELETE FROM vectors", [()])
    store.many(
        "INSERT INTO vectors VALUES (?, ?)", [(digest, i) for i, (digest, _) in enumerate(used)]
    )
    store.set("vectors", f"vectors-{number}.f16")
    store.set("rows", len(used))
    return True


def _begin(store: Store, embedder: Embedder, number: int) -> None:
    store.set("model", embedder.model_id)
    store.set("dim", embedder.dim)
    store.set("vectors", f"vectors-{number}.f16")
    store.set("rows", 0)
