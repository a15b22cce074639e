"""Finds the nearest of a million vectors, made by disturbing real ones."""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import Report

from codebyte.indexer.embedder import Embedder
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.vectors import VectorFile, VectorSearch

NOISE = 0.6  # length of what is added to a unit vector: copies are at a cosine of 0.86 from it
K = 10
_BLOCK = 1 << 16


def many_vectors(
    report: Report, index: CodeIndex, embedder: Embedder, count: int, queries: list[str]
) -> dict[str, float]:
    """Builds a search over so many vectors and asks it; recall, latency and memory."""
    name, rows = index.store.get("vectors"), index.store.get("rows")
    assert index.folder is not None
    real = VectorFile(index.folder / name, embedder.dim, rows).take(range(rows))
    asked = embedder.embed_text(queries)
    with tempfile.TemporaryDirectory(prefix="codebyte-vectors-") as folder:
        file = VectorFile(Path(folder, "vectors.f16"), embedder.dim)
        for place in range(0, count, _BLOCK):
            file.append(disturbed(real, min(_BLOCK, count - place), seed=place))
        cache = Path(folder, "vectors.faiss")
        began = time.perf_counter()
        VectorSearch(file, np.arange(count), cache)
        built = time.perf_counter()
        search = VectorSearch(file, np.arange(count), cache)
        loaded = time.perf_counter()
        for query in asked[:10]:
            search.nearest(query, K)
        milliseconds, found = [], []
        for query in asked:
            start = time.perf_counter()
            found.append(search.nearest(query, K)[0])
            milliseconds.append(1000 * (time.perf_counter() - start))
        true = exact(file, asked)
        recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, true, strict=True)])
        figures = {
            "recall": float(recall),
            "p50_ms": float(np.percentile(milliseconds, 50)),
            "p95_ms": float(np.percentile(milliseconds, 95)),
            "build_s": built - began,
            "open_s": loaded - built,
            "rows_mb": count * embedder.dim * 2 / 1e6,
            "inverted_file_mb": cache.stat().st_size / 1e6 if cache.exists() else 0.0,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        }
    report.table(("vectors", *figures), [(f"{count:,} of {embedder.dim}", *figures.values())])
    return figures


def disturbed(real: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Real vectors, drawn at random, each with noise added."""
    rng = np.random.default_rng(seed)
    rows = real[rng.integers(0, len(real), count)]
    noise = rng.normal(size=rows.shape).astype(np.float32)
    rows = rows + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def exact(file: VectorFile, queries: NDArray[np.float32]) -> list[NDArray[np.int64]]:
    """The true nearest rows of each query, by comparing all."""
    best = np.empty((len(queries), 0), np.float32)
    places = np.empty((len(queries), 0), np.int64)
    for rows in file.blocks(np.arange(file.count)):
        best = np.hstack([best, queries @ file.take(rows).T])
        places = np.hstack([places, np.broadcast_to(rows, (len(queries), len(rows)))])
        kept = np.argpartition(-best, K - 1, axis=1)[:, :K]
        best = np.take_along_axis(best, kept, 1)
        places = np.take_along_axis(places, kept, 1)
    return list(places)
