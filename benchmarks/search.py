"""How well search finds the function that a sentence describes, and the file that holds an answer.

Functions: of each held-out repository of a list like scripts/corpus.csv, every function is a
candidate, without its documentation; what is asked is the first sentence of the documentation of
those that have one, outside tests. Mean over repositories. No ranker is told about tests.

Files: 81 queries with answers that MinishLab/semble (MIT) wrote for four repositories, given as a
table of repository, category, query, relevant and secondary paths; normalised discounted gain of
the first ten files, and the share of unique names whose definition comes first.
"""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import rankers
from contenders import fail, load_ours
from numpy.typing import NDArray
from pairs import Function, cut_repository, find_repository
from report import Check, Report, interval, parser
from semble import search_files

from codebyte.errors import CodebyteError
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.lexical import Fields, LexicalIndex
from codebyte.indexer.ranking import Rules
from codebyte.indexer.symbols import definition
from codebyte.tasks.heads import load_head
from codebyte.tasks.search import Embedder

FEWEST = 20  # queries that a repository must have to count
SHOWN = 10  # results that count
FIELDS, PLAIN, HYBRID = "BM25 with fields", "BM25, split names", "hybrid"
MINILM, MINILM_WEIGHT = "MiniLM-L6", 0.7
Places = dict[str, NDArray[np.float64]]  # by ranker: the place of the answer to each query


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__)
    options.add_argument("--repos", help="a folder with clones, bare or not, by owner+name")
    options.add_argument("--list", default="scripts/corpus.csv", help="of repositories")
    options.add_argument("--split", default="valid", help="whose rows of the list are asked")
    options.add_argument("--files", help="a table of queries with files as answers")
    options.add_argument("--checkpoint", help="a model's folder (default: the packaged model)")
    options.add_argument("--head", help="a search head's file (default: the packaged one)")
    options.add_argument("--queries", type=int, default=200, help="most for each repository")
    options.add_argument("--minilm", action="store_true", help="compare it, too: an hour")
    args = options.parse_args()
    report = Report("search", quick=args.quick, packages=("faiss-cpu", "sentence-transformers"))
    try:
        head = load_head(args.head) if args.head else None
        embedder = Embedder(load_ours(args.checkpoint)[0], head)
        found: dict[str, Places] = {}
        for name, folder, commit in _repositories(args.repos, args.list, args.split):
            if args.quick and len(found) == 2:
                break
            functions = cut_repository(folder, commit)
            places = ask(functions, embedder, 30 if args.quick else args.queries, args.minilm)
            if len(places[FIELDS]) >= FEWEST:
                found[name] = places
                print(f"{name}: {len(functions):,} functions, {len(places[FIELDS])} queries")
        files = search_files(args.files, args.repos, embedder, report) if args.files else {}
    except CodebyteError as error:
        fail(str(error))
    if not found:
        fail(
            "no repository of the list is under --repos with 20 documented functions: give --repos"
        )
    _print(found, report)
    means = {name: _mean(found, name) for name in next(iter(found.values()))}
    gains = [_mean({name: it}, HYBRID) - _mean({name: it}, FIELDS) for name, it in found.items()]
    report.finish(
        {
            "hybrid MRR@10 above BM25 with fields": Check(means[HYBRID] - means[FIELDS], 0.06),
            "BM25 with fields above plain BM25": Check(means[FIELDS] - means[PLAIN], 0.08),
            "hybrid's worst repository against BM25 with fields": Check(min(gains), -0.01),
            **files,
        },
        unit="MRR@10",
        spread=interval(gains, np.ones(len(gains))),
        mrr=means,
        by_repository={
            name: {ranker: float(reciprocal(it).mean()) for ranker, it in places.items()}
            for name, places in found.items()
        },
        queries={name: len(places[FIELDS]) for name, places in found.items()},
    )


def ask(functions: list[Function], embedder: Embedder, most: int, minilm: bool) -> Places:
    """Asks every ranker for the documented functions of one repository.

    Args:
        functions: the candidates.
        embedder: for vectors.
        most: queries; a seeded sample where there are more.
        minilm: whether to ask that model, too.
    """
    rng = np.random.default_rng(1)
    wanted = np.array([i for i, it in enumerate(functions) if it.query], np.int64)
    if len(wanted) > most:
        wanted = np.sort(rng.choice(wanted, most, replace=False))
    queries = [functions[i].query for i in wanted]
    texts = [it.code.decode("utf-8", "replace") for it in functions]
    split = [rankers.split_words(text) for text in texts]
    fields = _fields(functions, queries)
    scores = {
        "random": rng.random((len(queries), len(texts)), np.float32),
        "grep, words found": rankers.grep(queries, texts),
        PLAIN: rankers.bm25([rankers.split_words(query) for query in queries], split),
        FIELDS: fields,
    }
    if minilm and len(queries) >= FEWEST:
        named = [f"{it.path} {text}" for it, text in zip(functions, texts, strict=True)]
        if (cosines := rankers.minilm(queries, named)) is not None:
            scores[MINILM] = cosines
            scores[f"{MINILM} + {FIELDS}"] = rankers.fused(fields, cosines, MINILM_WEIGHT)
    places = {name: rankers.places(matrix, wanted) for name, matrix in scores.items()}
    documents = [(it.path, it.code) for it in functions]
    with CodeIndex.from_documents(documents, embedder) as index:
        for mode in ("lexical", "dense", "hybrid"):
            places[mode] = np.full(len(queries), np.inf)
            for i, query in enumerate(queries):
                hits = index.search(query, k=SHOWN, mode=mode, rules=Rules.of_documents())
                for place, hit in enumerate(hits, 1):
                    if hit.id == wanted[i]:
                        places[mode][i] = place
    return places


def reciprocal(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / place of each answer, 0 beyond the results that count."""
    return np.where(places <= SHOWN, 1 / places, 0.0)


def _fields(functions: list[Function], queries: list[str]) -> NDArray[np.float32]:
    index = LexicalIndex()
    documents = []
    for it in functions:
        found = definition(it.code)
        documents.append(
            Fields(symbol=found.symbol, path=it.path, signature=found.signature, body=it.code)
        )
    index.add(range(len(documents)), documents)
    scores = np.zeros((len(queries), len(functions)), np.float32)
    for row, query in zip(scores, queries, strict=True):
        ids, values = index.scores(query)
        row[ids] = values
    return scores


def _repositories(repos: str | None, listed: str, split: str) -> list[tuple[str, Path, str]]:
    """Name, folder and commit of the rows of a list that are there; of others it says so."""
    if repos is None:
        return []
    with Path(listed).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    found = []
    for row in rows:
        folder = find_repository(repos, row["repository"])
        if folder is None:
            print(f"{row['repository']} is not under {repos}: left out")
        else:
            found.append((row["repository"], folder, row["commit"]))
    return found


def _mean(found: dict[str, Places], ranker: str) -> float:
    return float(np.mean([reciprocal(places[ranker]).mean() for places in found.values()]))


def _print(found: dict[str, Places], report: Report) -> None:
    columns: dict[str, list[list[float]]] = defaultdict(list)
    for places in found.values():
        for ranker, it in places.items():
            gain = np.where(it <= SHOWN, 1 / np.log2(1 + it), 0.0)
            shares = [(it <= most).mean() for most in (1, 5, SHOWN)]
            columns[ranker].append([reciprocal(it).mean(), gain.mean(), *shares])
    head = ["ranker", "MRR@10", "NDCG@10", "R@1", "R@5", "R@10"]
    report.table(head, [[name, *map(float, np.mean(it, 0))] for name, it in columns.items()])
    shown = [PLAIN, FIELDS, "lexical", "dense", HYBRID]
    shown += [name for name in columns if name.startswith(MINILM)]
    rows = [
        [name, *(float(reciprocal(places[ranker]).mean()) for ranker in shown)]
        for name, places in found.items()
    ]
    report.table(["repository, MRR@10", *shown], rows)


if __name__ == "__main__":
    main()
