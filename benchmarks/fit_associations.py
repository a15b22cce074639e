"""Learns which words of a question stand for which words of code: indexer/associations.txt.

From pairs of documentation and code of training repositories. Pairs of terms are kept whose link
pushes the right function up in most repositories in which the term is asked for (a t-test over
repositories of the gradient of a softmax over candidates); their weights, and the weights of the
terms themselves, are then learned by Adam with a penalty on both. Repositories named by --leave-out
are not learned from. Needs scipy; some minutes on one core.

Axes: q queries, n candidates, v terms.
"""

import argparse
import csv
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pairs import Function, cut_repository, find_repository
from scipy import sparse

from codebyte.indexer.associations import Associations
from codebyte.indexer.lexical import LENGTH, SATURATION, WEIGHTS
from codebyte.indexer.symbols import definition
from codebyte.indexer.words import count_terms, question_terms

Matrix = Any  # a scipy matrix in rows
Vector = NDArray[np.float32]

MOST_CANDIDATES, MOST_QUERIES = 9000, 4000  # of a repository
ASKED, ASKED_IN = 8, 3  # times and repositories that a term of questions must occur in
HELD, HELD_IN = 60, 6  # documents and repositories that a term of code must occur in
SHARPNESS = 0.6  # of the softmax over scores
BATCH, OTHERS = 256, 1500  # queries, and candidates beside theirs, of one step
LEAST_T, SMALL = 1.4, 0.004
EPOCHS, RATE, PENALTY, PULL, KEPT = 3, 0.005, 0.1, 0.3, 0.7
LEAST_WEIGHT, LEAST_CHANGE = 0.03, 0.02  # what is written


@dataclass(frozen=True, slots=True)
class Sample:
    """One repository; its first candidates answer its queries, in their order."""

    terms: list[str]
    holds: Matrix  # (n, its terms): BM25 without rarity, fields summed
    rarity: Vector
    queries: list[list[str]]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A sample over the common terms; what is said in others adds to the scores as it is."""

    holds: Matrix  # (n, v)
    rarity: Vector
    asks: Matrix  # (q, v), ones
    all_holds: Matrix
    asks_others: Matrix


def main() -> None:
    """Runs it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--repos", required=True, help="a folder with clones by owner+name")
    options.add_argument("--list", default="scripts/corpus.csv", help="of repositories")
    options.add_argument("--leave-out", nargs="*", default=[], help="owner/name, for development")
    options.add_argument("--out", default="indexer/associations.txt")
    args = options.parse_args()
    rng = np.random.default_rng(0)
    samples = []
    for row in csv.DictReader(Path(args.list).read_text(encoding="utf-8").splitlines()):
        folder = find_repository(args.repos, row["repository"])
        if row["split"] == "train" and row["repository"] not in args.leave_out and folder:
            samples.append(sample(cut_repository(folder, row["commit"]), rng))
            print(row["repository"], len(samples[-1].queries), flush=True)
    learn(samples, rng).write(args.out)


def sample(functions: list[Function], rng: np.random.Generator) -> Sample:
    """Counts what the functions of a repository hold, the asked ones first."""
    asked = rng.permutation([i for i, it in enumerate(functions) if it.query])[:MOST_QUERIES]
    others = rng.permutation([i for i, it in enumerate(functions) if not it.query])
    kept = [functions[int(i)] for i in [*asked, *others[: MOST_CANDIDATES - len(asked)]]]
    vocabulary: dict[str, int] = {}
    heads = [definition(it.code) for it in kept]
    texts: tuple[list[str | bytes], ...] = (
        [it.symbol for it in heads],
        [it.path.rpartition(".")[0] for it in kept],
        [it.signature for it in heads],
        [it.code for it in kept],
    )
    counted = [_count(some, vocabulary) for some in texts]
    size = (len(kept), len(vocabulary))
    fields = [sparse.csr_matrix(parts, shape=size, dtype=np.float32) for parts in counted]
    held = np.asarray((sum(fields) > 0).sum(0)).ravel()
    holds = sum(
        weight * _saturated(field, k1, b)
        for field, weight, k1, b in zip(fields, WEIGHTS, SATURATION, LENGTH, strict=True)
    )
    rarity = np.log1p((len(kept) - held + 0.5) / (held + 0.5)).astype(np.float32)
    queries = [question_terms(it.query) for it in kept[: len(asked)]]
    return Sample(list(vocabulary), sparse.csr_matrix(holds), rarity, queries)


def learn(samples: list[Sample], rng: np.random.Generator) -> Associations:
    """The table for samples of several repositories."""
    asking, holding = _common(samples)
    terms = sorted(asking | holding)
    place = {term: i for i, term in enumerate(terms)}
    encoded = [_encode(it, place) for it in samples]
    allowed = np.array([[term in asking, term in holding] for term in terms])
    rows, columns = _candidates(encoded, allowed, rng)
    print(f"{len(asking)} terms of questions, {len(rows)} candidates", flush=True)
    links, weights = np.zeros(len(rows), np.float32), np.ones(len(terms), np.float32)
    moments = [np.zeros_like(it) for it in (links, links, weights, weights)]
    asked = np.flatnonzero(allowed[:, 0])
    step, losses = 0, []
    for epoch in range(EPOCHS):
        rate = RATE * (1 - 0.95 * epoch / EPOCHS)
        for it, queries, candidates in _batches(encoded, rng):
            mask = ((rng.random(len(links)) < KEPT) / KEPT).astype(np.float32)
            table = sparse.csr_matrix((links * mask, (rows, columns)), shape=(len(terms),) * 2)
            loss, slopes = _slopes(it, queries, candidates, weights, table)
            losses.append(loss)
            step += 1
            diagonal = np.zeros_like(weights)
            diagonal[asked] = slopes[asked, asked]
            for value, slope, first, second in (
                (links, slopes[rows, columns] * mask, moments[0], moments[1]),
                (weights, diagonal, moments[2], moments[3]),
            ):
                first += 0.1 * (slope - first)
                second += 0.001 * (slope * slope - second)
                size = np.sqrt(second / (1 - 0.999**step)) + 1e-6
                value -= rate * first / (1 - 0.9**step) / size
            np.maximum(links - rate * PENALTY, 0, out=links)
            np.maximum(weights - rate * PULL * (weights - 1), 0, out=weights)
        print(f"epoch {epoch}: loss {np.mean(losses[-step:]):.4f}", flush=True)
    related: dict[str, list[tuple[str, float]]] = {}
    for row, column, link in zip(rows, columns, links, strict=True):
        if link >= LEAST_WEIGHT:
            related.setdefault(terms[row], []).append((terms[column], float(link)))
    told = {terms[i]: float(weights[i]) for i in asked}
    written = {term for term in told if abs(told[term] - 1) > LEAST_CHANGE} | related.keys()
    return Associations(
        {term: told[term] for term in written},
        {term: tuple(some) for term, some in related.items()},
    )


def _count(texts: list[str | bytes], vocabulary: dict[str, int]) -> tuple[list[int], ...]:
    values: list[int] = []
    places: list[int] = []
    starts = [0]
    for text in texts:
        for term, count in count_terms(text).items():
            places.append(vocabulary.setdefault(term, len(vocabulary)))
            values.append(count)
        starts.append(len(places))
    return values, places, starts


def _saturated(counts: Matrix, k1: float, b: float) -> Matrix:
    lengths = np.asarray(counts.sum(1)).ravel()
    norm = k1 * (1 - b + b * lengths / max(float(lengths.mean()), 1e-9))
    made = counts.copy()
    made.data = counts.data / (counts.data + np.repeat(norm, np.diff(counts.indptr)))
    return made


def _common(samples: list[Sample]) -> tuple[set[str], set[str]]:
    """The terms of questions and of code that occur in enough repositories."""
    asked, asked_in, held, held_in = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for it in samples:
        said = Counter(term for query in it.queries for term in query)
        asked.update(said)
        asked_in.update(said.keys())
        documents = np.diff(it.holds.tocsc().indptr)
        often = {term: int(n) for term, n in zip(it.terms, documents, strict=True) if n >= 3}
        held.update(often)
        held_in.update(often.keys())
    holding = {term for term, n in held.items() if n >= HELD and held_in[term] >= HELD_IN}
    asking = {term for term, n in asked.items() if n >= ASKED and asked_in[term] >= ASKED_IN}
    return asking, {term for term in holding if not term.isdigit()}


def _encode(it: Sample, place: dict[str, int]) -> Encoded:
    common = np.array([place.get(term, -1) for term in it.terms])
    kept = np.flatnonzero(common >= 0)
    chooses = sparse.csr_matrix(
        (np.ones(len(kept), np.float32), (kept, common[kept])), shape=(len(common), len(place))
    )
    rarity = np.zeros(len(place), np.float32)
    rarity[common[kept]] = it.rarity[kept]
    own = {term: i for i, term in enumerate(it.terms) if term not in place}
    asks = [[place[term] for term in query if term in place] for query in it.queries]
    others = [[own[term] for term in query if term in own] for query in it.queries]
    return Encoded(
        it.holds @ chooses,
        rarity,
        _ones(asks, len(place)),
        it.holds,
        _ones(others, len(it.terms)).multiply(it.rarity[None, :]).tocsr(),
    )


def _ones(rows: list[list[int]], width: int) -> Matrix:
    places = [i for row in rows for i in row]
    starts = np.cumsum([0, *map(len, rows)])
    ones = np.ones(len(places), np.float32)
    return sparse.csr_matrix((ones, places, starts), shape=(len(rows), width))


def _batches(
    encoded: list[Encoded], rng: np.random.Generator
) -> Iterator[tuple[Encoded, NDArray[np.int64], NDArray[np.int64]]]:
    """Queries and candidates of one repository at a time; the answers come first, in order."""
    batches = []
    for it in encoded:
        order = rng.permutation(it.asks.shape[0])
        parts = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        batches += [(it, part) for part in parts if len(part) >= 8]
    for i in rng.permutation(len(batches)):
        it, queries = batches[i]
        total = it.holds.shape[0]
        others = rng.choice(total, min(total, OTHERS), replace=False)
        yield it, queries, np.concatenate([queries, np.setdiff1d(others, queries)])


def _slopes(
    it: Encoded,
    queries: NDArray[np.int64],
    candidates: NDArray[np.int64],
    weights: Vector,
    table: Matrix,
) -> tuple[float, NDArray[np.float32]]:
    """The loss of a batch and its slope by each link from a term to a term, (v, v)."""
    asks, holds = it.asks[queries], it.holds[candidates]
    said = asks.multiply((weights * it.rarity)[None, :])
    meant = (asks @ table).multiply(it.rarity[None, :])
    scores = ((said + meant).tocsr() @ holds.T).toarray()
    scores += (it.asks_others[queries] @ it.all_holds[candidates].T).toarray()
    raised = SHARPNESS * (scores - scores.max(1, keepdims=True))
    shares = np.exp(raised)
    shares /= shares.sum(1, keepdims=True)
    own = np.arange(len(queries))
    loss = -float(np.log(np.maximum(shares[own, own], 1e-9)).mean())
    shares[own, own] -= 1
    back = (holds.T @ (SHARPNESS / len(queries) * shares).astype(np.float32).T).T
    return loss, np.asarray(asks.T @ (back * it.rarity[None, :]))


def _candidates(
    encoded: list[Encoded], allowed: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Links that most repositories want, from terms of questions to terms of code."""
    size = len(allowed)
    total, squares = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    repos = np.zeros(size)
    ones, nothing = np.ones(size, np.float32), sparse.csr_matrix((size, size), dtype=np.float32)
    for it in encoded:
        wanted, asked = np.zeros((size, size), np.float32), np.zeros(size)
        for _, queries, candidates in _batches([it], rng):
            slopes = _slopes(it, queries, candidates, ones, nothing)[1]
            wanted -= slopes * len(queries)
            asked += np.asarray(it.asks[queries].sum(0)).ravel()
        wanted /= asked[:, None] + 3
        counts = asked >= 2
        wanted[~counts] = 0
        repos += counts
        total += wanted
        squares += wanted * wanted
    number = np.maximum(repos, 1)[:, None]
    mean = total / number
    error = np.sqrt(np.maximum(squares / number - mean * mean, 0)) / np.sqrt(number)
    strength = mean / (error + SMALL)
    strength[np.arange(size), np.arange(size)] = -math.inf
    strength[~allowed[:, 0] | (repos < 4)] = -math.inf
    strength[:, ~allowed[:, 1]] = -math.inf
    rows, columns = np.nonzero(strength > LEAST_T)
    return rows, columns


if __name__ == "__main__":
    main()
