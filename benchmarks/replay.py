"""Replays commits of a history: an index kept current against one built from nothing."""

import random
from pathlib import Path

from codebyte.indexer.embedder import Embedder
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.repo import open_repo

EVERY = 10
QUERIES = ("open a file", "parse the arguments", "raise an error", '"return None"', "test")


def replay(
    repo: tuple[str, Path], work: Path, embedder: Embedder, count: int
) -> tuple[tuple[int, int], bool]:
    """Indexes random commits, oldest first.

    Returns:
        How many commits there were and how many times the indexes were compared, and whether they
        were equal each time.
    """
    name, path = repo
    opened = open_repo(path)
    assert opened.git is not None
    commits = opened.git.git.rev_list("--first-parent", "HEAD").split()
    chosen = sorted(random.Random(2).sample(range(len(commits)), min(count, len(commits))))
    every = min(EVERY, max(count // 2, 1))
    compared = 0
    equal = True
    with CodeIndex(work / "replayed", embedder) as index:
        for step, place in enumerate(reversed(chosen), 1):
            # Always under the same name of a revision, as a branch that moves.
            _follow(index, path, commits[place], name)
            if step % every == 0:
                with CodeIndex(work / f"fresh-{step}", embedder) as fresh:
                    _follow(fresh, path, commits[place], name)
                    compared += 1
                    equal = equal and state(index) == state(fresh)
    return (len(chosen), compared), equal


def _follow(index: CodeIndex, path: Path, commit: str, name: str) -> None:
    held = [it for (it,) in index.store.rows("SELECT name FROM revisions")]
    index.update(path, commit, name=name)
    for revision in held:
        if revision != commit:
            index.remove(name, revision)


def state(index: CodeIndex) -> list[object]:
    """What can be found and how well, without what depends on the order of events."""
    entries = index.store.entries([it for (it,) in index.store.rows("SELECT id FROM documents")])
    held = sorted(
        (it.path, it.symbol, it.kind, it.start_line, it.end_line, it.signature) for it in entries
    )
    hits = [
        sorted((round(hit.score, 3), hit.symbol, hit.copies) for hit in index.search(query, 50))
        for query in QUERIES
    ]
    texts = index.store.rows("SELECT digest FROM texts ORDER BY digest")
    vectors = index.store.rows(
        "SELECT digest FROM vectors WHERE digest IN (SELECT digest FROM texts) ORDER BY digest"
    )
    return [held, hits, texts, vectors, index.coverage()]
