"""Which contents lie at which paths of which revision, and what no revision names any more.

All of it is called inside `Store.writing`.
"""

import time
from collections.abc import Mapping, Sequence

from codebyte.indexer.listing import WORKING_TREE, Listing, Stat
from codebyte.indexer.skips import Skips
from codebyte.indexer.store import Store, as_text

# Only a plain folder has no commit; a branch may have any name but that of the working tree.
ON_DISK = f"(revisions.name = '{WORKING_TREE}' OR revisions.commit_id IS NULL)"


def stats(store: Store, source: str) -> dict[str, tuple[Stat, str]]:
    """What `list_source` said last of the files of a source."""
    found = store.run(
        "SELECT path, size, modified, changed, inode, oid FROM stats"
        " JOIN repos ON repos.id = stats.repo WHERE source = ?",
        (source,),
    )
    return {row[0]: ((row[1], row[2], row[3], row[4]), row[5]) for row in found}


def set_tree(
    store: Store, listing: Listing, blobs: Mapping[str, int], skips: Skips, name: str
) -> tuple[list[int], list[int]]:
    """Makes a revision what a listing says.

    Args:
        listing: of the source.
        blobs: path -> number of the content.
        skips: which files were left out, by reason.
        name: what the repository is called where it is new.

    Returns:
        The documents that are gone and those that are new.
    """
    repo = _repo(store, name, listing.source)
    now = time.time()
    store.run(
        "INSERT INTO revisions (repo, name, commit_id, updated, skips) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (repo, name) DO UPDATE SET commit_id = excluded.commit_id,"
        " updated = excluded.updated, skips = excluded.skips",
        (repo, listing.revision, listing.commit, now, skips.to_json()),
    )
    ((revision,),) = store.rows(
        "SELECT id FROM revisions WHERE repo = ? AND name = ?", (repo, listing.revision)
    )
    if listing.commit is not None:
        store.run(
            "INSERT INTO commits SELECT ?1, ?2, ?3, ?4 WHERE ?3 IS NOT (SELECT commit_id FROM"
            " commits WHERE repo = ?1 AND revision = ?2 ORDER BY rowid DESC LIMIT 1)",
            (repo, listing.revision, listing.commit, now),
        )
    if listing.folder is not None:  # a folder that is a repository now, or is none any more
        other = f"repo = ? AND id != ? AND {ON_DISK}"
        _remove_revisions(store, f"SELECT id FROM revisions WHERE {other}", (repo, revision))
    _note_stats(store, repo, listing)
    ((newest,),) = store.rows("SELECT coalesce(max(id), 0) FROM files")
    store.run("CREATE TEMP TABLE wanted (path TEXT PRIMARY KEY, blob INTEGER)")
    try:
        store.many("INSERT INTO wanted VALUES (?, ?)", blobs.items())
        store.run(
            "INSERT OR IGNORE INTO files (repo, path, blob) SELECT ?, path, blob FROM wanted"
            " ORDER BY path",
            (repo,),
        )
        there = "SELECT files.id FROM files JOIN wanted USING (path, blob) WHERE files.repo = ?"
        store.run(
            f"DELETE FROM tree WHERE revision = ? AND file NOT IN ({there})", (revision, repo)
        )
        store.run(
            "INSERT OR IGNORE INTO tree SELECT ?, files.id FROM files JOIN wanted"
            " USING (path, blob) WHERE files.repo = ?",
            (revision, repo),
        )
    finally:
        store.run("DROP TABLE wanted")
    store.run(
        "INSERT INTO documents (file, chunk) SELECT files.id, chunks.id FROM files"
        " JOIN chunks ON chunks.blob = files.blob WHERE files.id > ?"
        " ORDER BY files.id, chunks.id",
        (newest,),
    )
    new = store.rows("SELECT id FROM documents WHERE file > ?", (newest,))
    return sweep(store), [number for (number,) in new]


def remove_repo(store: Store, name: str, revision: str | None = None) -> list[int]:
    """Forgets a repository, or one revision of it; the documents that are gone."""
    values = (name, revision)
    chosen = (
        "SELECT revisions.id FROM revisions JOIN repos ON repos.id = repo"
        " WHERE repos.name = ?1 AND (?2 IS NULL OR revisions.name = ?2)"
    )
    _remove_revisions(store, chosen, values)
    gone = sweep(store)
    empty = "(SELECT id FROM repos WHERE id NOT IN (SELECT repo FROM revisions))"
    for table in ("stats", "commits", "histories"):
        store.run(f"DELETE FROM {table} WHERE repo IN {empty}")
    store.run(f"DELETE FROM repos WHERE id IN {empty}")
    return gone


def sweep(store: Store) -> list[int]:
    """Deletes what no tree names any more; the documents that are gone."""
    dead = "SELECT id FROM files WHERE id NOT IN (SELECT file FROM tree)"
    gone = store.rows(f"SELECT id FROM documents WHERE file IN ({dead})")
    store.run(f"DELETE FROM documents WHERE file IN ({dead})")
    store.run("DELETE FROM files WHERE id NOT IN (SELECT file FROM tree)")
    unused = store.rows(
        "SELECT id FROM blobs WHERE skipped IS NULL AND id NOT IN (SELECT blob FROM files)"
    )
    if unused:
        texts = [
            text
            for (blob,) in unused
            for (text,) in store.run("SELECT DISTINCT text FROM chunks WHERE blob = ?", (blob,))
        ]
        store.many("DELETE FROM chunks WHERE blob = ?", unused)
        store.many("DELETE FROM symbols WHERE blob = ?", unused)
        store.many("DELETE FROM blobs WHERE id = ?", unused)
        _sweep_texts(store, sorted(set(texts)))
    return [number for (number,) in gone]


def _remove_revisions(store: Store, chosen: str, values: Sequence[object]) -> None:
    """Deletes those that a query names; what only they had is left to `sweep`."""
    store.run(f"DELETE FROM tree WHERE revision IN ({chosen})", values)
    store.run(f"DELETE FROM revisions WHERE id IN ({chosen})", values)


def _sweep_texts(store: Store, texts: Sequence[int]) -> None:
    query = "SELECT id, body FROM texts WHERE id IN ({}) AND id NOT IN (SELECT text FROM chunks)"
    unused = list(store.rows_in(query, texts))
    if store.has_trigrams:
        store.many(
            "INSERT INTO trigrams (trigrams, rowid, body) VALUES ('delete', ?, ?)",
            [(number, as_text(body)) for number, body in unused],
        )
    store.many("DELETE FROM texts WHERE id = ?", [(number,) for number, _ in unused])


def _repo(store: Store, name: str, source: str) -> int:
    found = store.rows("SELECT id FROM repos WHERE source = ?", (source,))
    if found:
        return int(found[0][0])
    taken = {other for (other,) in store.rows("SELECT name FROM repos")}
    number = next(i for i in range(1, len(taken) + 2) if _numbered(name, i) not in taken)
    values = (_numbered(name, number), source)
    made = store.run("INSERT INTO repos (name, source) VALUES (?, ?)", values).lastrowid
    assert made is not None
    return made


def _note_stats(store: Store, repo: int, listing: Listing) -> None:
    if listing.folder is None:
        return
    rows = {path: (*stat, oid) for path, (stat, oid) in listing.stats.items()}
    before = {
        path: tuple(values)
        for path, *values in store.rows(
            "SELECT path, size, modified, changed, inode, oid FROM stats WHERE repo = ?",
            (repo,),
        )
    }
    gone = [(repo, path) for path in before.keys() - rows.keys()]
    store.many("DELETE FROM stats WHERE repo = ? AND path = ?", gone)
    store.many(
        "INSERT OR REPLACE INTO stats VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(repo, path, *row) for path, row in rows.items() if before.get(path) != row],
    )


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
