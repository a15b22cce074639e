"""An inverted file over vectors, by FAISS: a cache that can be made again at any time.

Axes: n rows, d width.
"""

import os
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np

from codebyte.indexer.vector_file import Rows, VectorFile

faiss: Any = typed_faiss  # its types lack much of what there is

_TRAINED_ON = 40  # vectors for each list


def build(vectors: VectorFile, rows: Rows) -> Any:
    """An inverted file of some rows, one byte a number."""
    num_lists = int(4 * np.sqrt(len(rows)))
    quantizer = faiss.IndexFlatIP(vectors.dim)
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, vectors.dim, num_lists, kind, faiss.METRIC_INNER_PRODUCT
    )
    index.own_fields = True
    quantizer.this.disown()
    drawn = np.random.default_rng(0).permutation(len(rows))[: num_lists * _TRAINED_ON]
    index.cp.seed, index.cp.niter = 0, 6
    index.train(vectors.take(rows[np.sort(drawn)]))
    index.set_direct_map_type(faiss.DirectMap.Hashtable)
    for block in vectors.blocks(rows):
        index.add_with_ids(vectors.take(block), block)
    return index


def load(cache: Path | None, vectors: VectorFile, rows: Rows) -> tuple[Any, int]:
    """The cached index brought up to date, or None where it has to be made again.

    With it, how many rows that took.
    """
    if cache is None or not cache.exists():
        return None, 0
    try:
        index = faiss.read_index(os.fspath(cache))
    except RuntimeError:
        return None, 0  # damaged: it is only a cache
    if not isinstance(index, faiss.IndexIVF) or index.d != vectors.dim:
        return None, 0
    if len(rows) > 2 * (index.nlist / 4) ** 2:
        return None, 0  # twice as many as it was trained for
    held = np.sort(_ids(index))
    gone = np.setdiff1d(held, rows, assume_unique=True)
    new = np.setdiff1d(rows, held, assume_unique=True)
    if len(gone):
        index.remove_ids(faiss.IDSelectorArray(gone))
    for block in vectors.blocks(new):
        index.add_with_ids(vectors.take(block), block)
    return index, len(gone) + len(new)


def _ids(index: Any) -> Rows:
    lists = index.invlists
    sizes = [lists.list_size(number) for number in range(index.nlist)]
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(number), size).copy()
        for number, size in enumerate(sizes)
        if size
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def save(index: Any, cache: Path) -> None:
    """Keeps an index, where there is room and permission for it."""
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
    try:
        faiss.write_index(index, os.fspath(temporary))
        temporary.replace(cache)
    except (RuntimeError, OSError):
        pass  # no space or no permission: the next one who opens the index makes it again
    finally:
        temporary.unlink(missing_ok=True)
