"""Asks an index for files, with queries and answers that MinishLab/semble wrote (MIT)."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pairs import find_repository
from report import Check, Report

from codebyte.errors import InputError
from codebyte.indexer.chunk import cut
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.languages import language_of
from codebyte.indexer.repo import open_repo, read_blobs
from codebyte.tasks.search import Embedder

COMMITS = {
    "aiohttp": ("aio-libs/aiohttp", "fc67cfdf"),
    "cobra": ("spf13/cobra", "61968e89"),
    "gson": ("google/gson", "f4d371d2"),
    "model2vec": ("MinishLab/model2vec", "b3012ee0"),
}
SHORT = {"g:": "gson/src/main/java/com/google/gson/"}
SHOWN = 10  # files that count
ASKED = 40  # chunks that are asked for, to have so many files
MOST_NAMES = 300  # of a repository
BARS = {"lexical": 0.86, "hybrid": 0.88}


@dataclass(frozen=True, slots=True)
class Question:
    """A query and the files that answer it."""

    repo: str
    category: str
    text: str
    relevant: tuple[str, ...]


def read_questions(table: str) -> list[Question]:
    """Reads the table: repository, category, query, relevant and secondary paths, by tabs.

    Raises:
        InputError: it cannot be read.
    """
    try:
        lines = Path(table).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{table} cannot be read ({error}): give a table of queries") from error
    rows = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    return [
        Question(repo, category, text, tuple(_whole(it) for cell in cells for it in cell.split()))
        for repo, category, text, *cells in rows
    ]


def search_files(
    table: str, repos: str | None, embedder: Embedder, report: Report
) -> dict[str, Check]:
    """Prints the gain by category and repository; gives what is held to a bar."""
    gains: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    named: list[bool] = []
    for name, (full, commit) in COMMITS.items():
        folder = None if repos is None else find_repository(repos, full)
        if folder is None:
            report.note(f"{full} is not under --repos: its files are not asked for")
            continue
        with CodeIndex(None, embedder) as index:
            index.update(folder, revision=commit)
            index.embed()
            for question in (it for it in read_questions(table) if it.repo == name):
                for mode in ("lexical", "dense", "hybrid"):
                    hits = index.search(question.text, k=ASKED, mode=mode)
                    gain = file_gain([hit.path for hit in hits], question.relevant)
                    gains["all"][mode].append(gain)
                    gains[question.category][mode].append(gain)
                    gains[name][mode].append(gain)
            for symbol, path in unique_names(folder, commit):
                first = index.search(symbol, k=1)
                named.append(
                    bool(first)
                    and first[0].path == path
                    and first[0].symbol.rpartition(".")[2] == symbol
                )
    modes = ["lexical", "dense", "hybrid"]
    rows = [
        [name, len(of["hybrid"]), *(float(np.mean(of[mode])) for mode in modes)]
        for name, of in gains.items()
    ]
    report.table(["files, NDCG@10", "queries", *modes], rows)
    if not gains:
        return {}
    checks = {
        f"files, {mode}": Check(float(np.mean(gains["all"][mode])), bar)
        for mode, bar in BARS.items()
    }
    return {**checks, "unique names that come first": Check(float(np.mean(named)), 0.95)}


def file_gain(paths: Sequence[str], relevant: Sequence[str]) -> float:
    """Normalised discounted cumulative gain of the first files, each counted where first seen."""
    files = list(dict.fromkeys(paths))[:SHOWN]
    gain = sum(1 / np.log2(2 + i) for i, path in enumerate(files) if path in relevant)
    return float(gain / sum(1 / np.log2(2 + i) for i in range(min(SHOWN, len(relevant)))))


def unique_names(folder: Path, commit: str) -> list[tuple[str, str]]:
    """Names that a repository defines once, with the paths; a seeded sample."""
    found: list[tuple[str, str]] = []
    for blob in read_blobs(open_repo(folder, commit)):
        symbols = cut(blob.path, blob.data, language_of(blob.path))[1]
        found += [(it.name, blob.path) for it in symbols]
    counts = Counter(name for name, _ in found)
    once = [it for it in found if counts[it[0]] == 1 and len(it[0]) > 2]
    order = np.random.default_rng(1).permutation(len(once))[:MOST_NAMES]
    return [once[i] for i in order]


def _whole(path: str) -> str:
    for short, folder in SHORT.items():
        if path.startswith(short):
            return folder + path.removeprefix(short)
    return path
