"""What an index holds, what has changed since, and what was left out and why."""

import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from codebyte.errors import CodebyteError
from codebyte.indexer.clone import is_url
from codebyte.indexer.filters import format_skips
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.listing import WORKING_TREE, Stat, list_source
from codebyte.indexer.skips import Skips
from codebyte.indexer.store import Store
from codebyte.indexer.trees import stats


def report(index: CodeIndex) -> dict[str, Any]:
    """All that `codebyte status` says, as plain values."""
    store = index.store
    with index.snapshot():
        coverage = index.coverage()
        revisions = [_revision(store, *row) for row in store.rows(_REVISIONS)]
        known = {found["source"]: stats(store, found["source"]) for found, _ in revisions}
        left_out = {oid for (oid, _), (_, reason) in store.blobs().items() if reason is not None}
        ((symbols,),) = store.rows("SELECT count(*) FROM symbols")
        ((texts, size),) = store.rows("SELECT count(*), total(length(body)) FROM texts")
        model = store.get("model")
    for found, held in revisions:  # takes long: others search and write meanwhile
        found["stale"] = _stale(found, held, known[found["source"]], left_out)
    folder = index.folder
    files = folder.iterdir() if folder is not None else ()
    return {
        "folder": str(folder) if folder is not None else None,
        "bytes_on_disk": sum(file.stat().st_size for file in files if file.is_file()),
        "chunks": coverage.documents,
        "chunks_with_vectors": coverage.embedded,
        "coverage": round(coverage.share, 4),
        "texts": texts,
        "text_bytes": int(size),
        "symbols": symbols,
        "model": model,
        "revisions": [found for found, _ in revisions],
    }


def report_lines(found: dict[str, Any]) -> Iterator[str]:
    """A report for a person to read."""
    yield f"index in {found['folder']}: {found['bytes_on_disk'] / 1e6:.1f} MB on the disk"
    yield (
        f"{found['chunks']:,} chunks, {found['symbols']:,} symbols; "
        f"{found['coverage']:.0%} of the chunks searchable by meaning"
        + (f" (model {found['model']})" if found["model"] else "")
    )
    for it in found["revisions"]:
        at = f" at {it['commit'][:12]}" if it["commit"] else ""
        yield f"{it['repo']} ({it['revision']}{at}) from {it['source']}"
        yield f"  {it['files']:,} files, {it['chunks']:,} chunks, indexed {_ago(it['updated'])} ago"
        yield f"  {format_skips(it['skipped'])}"
        yield f"  {it['stale']}"


_REVISIONS = (
    "SELECT revisions.id, repos.name, repos.source, revisions.name, commit_id, updated, skips"
    " FROM revisions JOIN repos ON repos.id = revisions.repo ORDER BY repos.name, revisions.name"
)


def _revision(
    store: Store,
    number: int,
    repo: str,
    source: str,
    revision: str,
    commit: str | None,
    updated: float,
    skips: str,
) -> tuple[dict[str, Any], dict[str, str]]:
    """What is said of a revision, and the content of each path in it."""
    held = {
        path: oid
        for path, oid in store.rows(
            "SELECT files.path, blobs.oid FROM tree JOIN files ON files.id = file"
            " JOIN blobs ON blobs.id = files.blob WHERE revision = ?",
            (number,),
        )
    }
    ((chunks,),) = store.rows(
        "SELECT count(*) FROM tree JOIN documents USING (file) WHERE revision = ?", (number,)
    )
    left_out = Skips.from_json(skips)
    found = {
        "repo": repo,
        "source": source,
        "revision": revision,
        "commit": commit,
        "updated": updated,
        "files": len(held),
        "chunks": chunks,
        "skipped": dict(left_out),
        "skipped_paths": left_out.paths,  # the first of each reason
    }
    return found, held


def _stale(
    found: Mapping[str, Any],
    held: Mapping[str, str],
    known: Mapping[str, tuple[Stat, str]],
    left_out: Collection[str],
) -> str:
    """One clause about what has changed in a source since it was indexed."""
    source, revision, commit = found["source"], found["revision"], found["commit"]
    if is_url(source):
        return "not on this disk: whether it has changed is not known"
    if not Path(source).is_dir():
        return f"not there any more: `codebyte index --remove {found['repo']}` forgets it"
    on_disk = revision == WORKING_TREE or commit is None
    try:
        listing = list_source(source, None if on_disk else revision, known=known)
    except CodebyteError as error:
        return f"cannot be read any more: {error}"
    if not on_disk:
        return "up to date" if listing.commit == commit else f"stale: now at {listing.commit}"
    now = {path: oid for path, oid in listing.files.items() if oid not in left_out}
    changed = len({path for path, _ in now.items() ^ held.items()})
    if not changed:
        return "up to date"
    return f"stale: {changed:,} files have changed" if changed > 1 else "stale: 1 file has changed"


def _ago(then: float) -> str:
    seconds = max(time.time() - then, 0)
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
