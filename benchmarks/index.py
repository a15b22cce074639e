"""Seconds from clone to searchable, of an update after a commit, and milliseconds of a query.

indexing    a bare clone of one repository with 5 to 10 MB that are indexed, then its index with
            all words and all vectors, in a new folder
update      commits that change one file each, in a working copy of the same repository
query       hybrid, warm, over about 50,000 chunks of several repositories; the queries are first
            sentences of doc comments in them, and names
replay      random commits of one history, one after the other: the index that was updated
            must be the one that is built from nothing, at every tenth
vectors     a million made by disturbing real ones: what the inverted file finds of the true ten
            nearest, how long it takes and how much memory (see many_vectors.py)
"""

import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import git
import numpy as np
from many_vectors import many_vectors
from replay import replay
from report import Check, Report, parser

from codebyte.errors import CodebyteError
from codebyte.indexer.chunk import chunk_file
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.languages import is_test, language_of
from codebyte.indexer.repo import open_repo, read_blobs
from codebyte.tasks.search import Embedder

BARS = {"index": 60.0, "update": 1.0, "p50": 30.0, "p95": 80.0}
COMMITS = 20
QUERIES = 300
CHUNKS = 50_000


def main() -> None:
    """Measures all, or with --quick a little of everything."""
    options = parser(__doc__)
    options.add_argument("--repos", type=Path, required=True, help="folder of bare clones")
    options.add_argument("--large", default="xarray", help="part of the name of the one to time")
    options.add_argument(
        "--replayed", default="flask", help="part of the name of the one to replay"
    )
    options.add_argument(
        "--names", nargs="*", default=[], help="parts of names to use; all if none"
    )
    options.add_argument("--vectors", type=int, default=1_000_000)
    args = options.parse_args()
    quick = args.quick
    report = Report("index", quick=quick, packages=("faiss-cpu", "numpy", "tree-sitter"))
    clones = bare_clones(args.repos, args.names)
    embedder = Embedder(None)
    with tempfile.TemporaryDirectory(prefix="codebyte-index-") as folder:
        work = Path(folder)
        large = one_of(clones, args.replayed if quick else args.large)
        timed = time_indexing(report, work, large, embedder)
        updates = time_updates(report, work, large, embedder, 3 if quick else COMMITS)
        index = fill(work, clones, embedder, 2000 if quick else CHUNKS)
        latencies = time_queries(report, index, 30 if quick else QUERIES)
        steps, equal = replay(one_of(clones, args.replayed), work, embedder, 6 if quick else 50)
        report.table(("replayed", "commits", "compared", "equal"), [(args.replayed, *steps, equal)])
        rows = 60_000 if quick else args.vectors
        found = many_vectors(report, index, embedder, rows, queries_of(index, 20 if quick else 200))
    p50, p95 = (float(np.percentile(latencies, share)) for share in (50, 95))
    report.finish(
        {
            "query p50, ms": Check(p50, BARS["p50"], at_most=True),
            "query p95, ms": Check(p95, BARS["p95"], at_most=True),
            "clone to searchable, s": Check(timed["total"], BARS["index"], at_most=True),
            "one-file commit, s (slowest)": Check(max(updates), BARS["update"], at_most=True),
            "replay equal": Check(float(equal), 1.0),
            "vectors, recall@10": Check(found["recall"], 0.97),
            "vectors, p95 ms": Check(found["p95_ms"], 30.0, at_most=True),
        },
        unit="ms",
        spread=[float(np.percentile(latencies, 5)), float(np.percentile(latencies, 99))],
        indexing=timed,
        update_seconds=updates,
        chunks=index.coverage().documents,
        vectors=found,
    )


def bare_clones(folder: Path, names: list[str]) -> dict[str, Path]:
    """Repositories under a folder, by name: FOLDER/NAME.git, FOLDER/NAME or FOLDER/NAME/repo."""
    found = {}
    for place in sorted(folder.iterdir()):
        for bare in (place, place / "repo"):
            if (bare / "HEAD").is_file() and (bare / "objects").is_dir():
                found[place.name.removesuffix(".git").replace("+", "/")] = bare
    return {
        name: path
        for name, path in found.items()
        if not names or any(part in name for part in names)
    }


def one_of(clones: dict[str, Path], part: str) -> tuple[str, Path]:
    """The first repository whose name has a part."""
    try:
        return next((name, path) for name, path in clones.items() if part in name)
    except StopIteration:
        raise SystemExit(
            f"no repository's name has {part!r}: there are {', '.join(clones)}"
        ) from None


def time_indexing(
    report: Report, work: Path, repo: tuple[str, Path], embedder: Embedder
) -> dict[str, float]:
    """Clones and indexes one repository; seconds of each step, and its size."""
    name, source = repo
    began = time.perf_counter()
    clone = work / "timed.git"
    command = [
        "git",
        "clone",
        "--quiet",
        "--bare",
        "--no-local",
        "--depth=1",
        source.as_uri(),
        clone,
    ]
    subprocess.run(command, check=True)
    cloned = time.perf_counter()
    index = CodeIndex(work / "timed", embedder)
    done = index.update(clone, embed=False)
    words = time.perf_counter()
    index.embed()
    vectors = time.perf_counter()
    index.search("a first query")
    end = time.perf_counter()
    ((size,),) = index.store.rows("SELECT sum(size) FROM blobs WHERE skipped IS NULL")
    disk = sum(file.stat().st_size for file in (work / "timed").iterdir())
    index.close()
    shutil.rmtree(clone)
    seconds = {"clone": cloned - began, "words": words - cloned, "vectors": vectors - words}
    seconds |= {"first query": end - vectors, "total": end - began}
    report.table(
        ("repository", "MB", "files", "chunks", "index MB", *seconds),
        [(name, size / 1e6, done.files, done.added, disk / 1e6, *seconds.values())],
    )
    return seconds | {"bytes": size, "chunks": done.added}


def time_updates(
    report: Report, work: Path, repo: tuple[str, Path], embedder: Embedder, count: int
) -> list[float]:
    """Commits changes of one file each; the seconds of each update, vectors and search included."""
    copy = work / "copy"
    command = ["git", "clone", "--quiet", "--no-local", "--depth=1", repo[1].as_uri(), copy]
    subprocess.run(command, check=True)
    rng = random.Random(1)
    with CodeIndex(work / "timed", embedder) as index, git.Repo(copy) as opened:
        index.update(copy, name="copy")
        paths = [
            path
            for (path,) in index.store.rows("SELECT DISTINCT path FROM files")
            if path.endswith((".py", ".go", ".rs", ".ts", ".java", ".c", ".js"))
        ]
        seconds = []
        for number, path in enumerate(rng.sample(sorted(paths), count)):
            with (copy / path).open("ab") as file:
                file.write(b"\n# commit number %d\n" % number)
            opened.git.add(path)
            who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
            opened.git.execute(["git", *who, "commit", "--quiet", "-m", f"Change {path}"])
            began = time.perf_counter()
            index.update(copy, name="copy")
            hits = index.search(f'"commit number {number}"', 1)
            seconds.append(time.perf_counter() - began)
            assert hits[0].path == path
    shutil.rmtree(copy)
    report.table(
        ("one-file commit", "median s", "slowest s"),
        [(f"{count} commits", statistics.median(seconds), max(seconds))],
    )
    return seconds


def fill(work: Path, clones: dict[str, Path], embedder: Embedder, chunks: int) -> CodeIndex:
    """An index of as many repositories as it takes to have so many chunks."""
    index = CodeIndex(work / "many", embedder)
    for name, path in clones.items():
        try:
            index.update(path, "HEAD", name=name)
        except CodebyteError as error:
            print(f"{name} is left out: {error}")
        if index.coverage().documents >= chunks:
            break
    return index


def queries_of(index: CodeIndex, count: int) -> list[str]:
    """First sentences of doc comments, and every fourth a name, of an index's repositories."""
    sentences: list[str] = []
    names: list[str] = []
    for (source,) in index.store.rows("SELECT source FROM repos"):
        for blob in read_blobs(open_repo(source)):
            if is_test(blob.path):
                continue
            for chunk in chunk_file(blob.path, blob.data, language_of(blob.path)):
                sentence = chunk.doc.split("\n\n")[0].replace("\n", " ").split(". ")[0]
                if chunk.kind in ("function", "method") and 20 < len(sentence) < 200:
                    sentences.append(sentence)
                    names.append(chunk.symbol)
    rng = random.Random(3)
    places = rng.sample(range(len(sentences)), min(count, len(sentences)))
    return [names[it] if place % 4 == 3 else sentences[it] for place, it in enumerate(places)]


def time_queries(report: Report, index: CodeIndex, count: int) -> list[float]:
    """Milliseconds of queries, each asked once, after some that are not counted."""
    queries = queries_of(index, count + 20)
    rows = []
    latencies: dict[str, list[float]] = {}
    for mode in ("hybrid", "lexical", "dense"):
        for query in queries[:20]:
            index.search(query, mode=mode)
        latencies[mode] = []
        for query in queries[20:]:
            began = time.perf_counter()
            index.search(query, mode=mode)
            latencies[mode].append(1000 * (time.perf_counter() - began))
        shares = [float(np.percentile(latencies[mode], share)) for share in (50, 95, 99)]
        rows.append((f"{mode}, {index.coverage().documents:,} chunks", len(queries) - 20, *shares))
    report.table(("query", "queries", "p50 ms", "p95 ms", "p99 ms"), rows)
    return latencies["hybrid"]


if __name__ == "__main__":
    main()
