"""`codebyte index --ray` and `codebyte search --ray`: an index in shards on a cluster."""

from pathlib import Path

import typer

from codebyte.apps.search_output import say_updated, show_hits
from codebyte.errors import InputError
from codebyte.indexer.ranking import Mode
from codebyte.indexer.ray_shards import start_shards
from codebyte.indexer.shards import ShardedIndex
from codebyte.tasks.search import Embedder


def index_on_ray(
    address: str, folder: Path, sources: list[str], revision: str | None, words: bool, as_json: bool
) -> None:
    """Indexes sources in the shards of a cluster."""
    shards = start_shards(address, folder, None, _no_embedder if words else _packaged_embedder)
    result = ShardedIndex(shards).update(sources, revision)
    for done in result.done.values():
        say_updated(done, as_json)
    for source, failure in result.failures.items():
        typer.echo(f"codebyte: {source}: {failure}", err=True)
    if result.failures:
        raise InputError(f"{len(result.failures)} of {len(sources)} sources could not be indexed")


def search_on_ray(
    address: str, folder: Path, text: str, k: int, mode: Mode, lines: int, as_json: bool
) -> None:
    """Asks all shards, and says which did not answer."""
    shards = start_shards(address, folder, None, _packaged_embedder)
    embedder = None if mode == "lexical" else _packaged_embedder()
    answer = ShardedIndex(shards, embedder).search(text, k, mode)
    if answer.missing:
        lost = ", ".join(map(str, answer.missing))
        typer.echo(f"shards {lost} of {len(shards)} did not answer: results are partial", err=True)
    show_hits(answer.hits, text, lines, as_json)


def _packaged_embedder() -> Embedder:
    return Embedder(None)


def _no_embedder() -> None:
    return None
