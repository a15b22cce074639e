"""How results of indexing and searching are printed, for people and as JSON lines."""

from typing import TYPE_CHECKING, Any

import typer

from codebyte.apps.options import print_json

if TYPE_CHECKING:
    from codebyte.indexer.searching import Hit
    from codebyte.indexer.updating import Updated


def say_updated(done: "Updated", as_json: bool) -> None:
    """Says what an update did."""
    from codebyte.indexer.filters import format_skips

    if as_json:
        print_json(
            {"repo": done.repo, "revision": done.revision, "commit": done.commit}
            | {"files": done.files, "read": done.new_contents}
            | {"chunks_added": done.added, "chunks_removed": done.removed, "skipped": done.skips}
        )
        return
    at = f" {done.commit[:12]}" if done.commit else ""
    typer.echo(
        f"{done.repo} ({done.revision}{at}): {done.files:,} files, {done.new_contents:,} of them "
        f"read; {done.added:,} chunks added, {done.removed:,} removed; {format_skips(done.skips)}"
    )


def show_hits(hits: "list[Hit]", query: str, lines: int, as_json: bool) -> None:
    """Prints hits, best first.

    Args:
        hits: what was found.
        query: its words are marked.
        lines: how many of each hit are shown.
        as_json: one JSON line for each instead.
    """
    if as_json:
        for hit in hits:
            print_json(_hit_json(hit))
        return
    if not hits:
        typer.echo("nothing found", err=True)
        return
    from codebyte.apps.hits import print_hits

    print_hits(hits, query, lines)


def _hit_json(hit: "Hit") -> dict[str, Any]:
    return {
        "path": hit.path,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "symbol": hit.symbol,
        "kind": hit.kind,
        "language": hit.language,
        "repo": hit.repo,
        "score": round(hit.score, 4),
        "why": hit.why,
        "copies": hit.copies,
        "snippet": hit.snippet,
    }
