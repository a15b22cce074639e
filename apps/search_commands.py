"""`codebyte index`, `search`, `similar` and `status`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from codebyte.apps.options import Json, print_json, read
from codebyte.apps.search_output import say_updated, show_hits
from codebyte.errors import CodebyteError, InputError

if TYPE_CHECKING:
    from codebyte.indexer.embedder import Embedder
    from codebyte.indexer.index import CodeIndex

LARGEST_SIMILAR = 1 << 20  # bytes of a file outside the index

IndexFolder = Annotated[
    Path | None,
    typer.Option(
        "--index",
        envvar="CODEBYTE_INDEX",
        metavar="FOLDER",
        help="Where the index is: .codebyte/index of the working copy one is in, else one's own.",
        show_default=False,
    ),
]
Mode = Annotated[
    Literal["hybrid", "lexical", "dense"],
    typer.Option(help="By words and meaning, by words alone (no model is loaded), or by meaning."),
]
Most = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many results.")]
Lines = Annotated[int, typer.Option(min=0, max=200, help="Lines shown of each result.")]
Paths = Annotated[
    list[str] | None,
    typer.Option("--path", metavar="GLOB", help="Only such paths; may be given several times."),
]
Languages = Annotated[
    list[str] | None,
    typer.Option("--lang", metavar="NAME", help="Only this language; may be given several times."),
]
Repos = Annotated[
    list[str] | None,
    typer.Option(
        "--repo", metavar="NAME", help="Only this repository; may be given several times."
    ),
]
Actors = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Spread repositories over the actors of this Ray cluster."
    ),
]
Shards = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Ask the shards of the index on this Ray cluster."),
]
Revision = Annotated[
    str | None,
    typer.Option("--rev", "--revision", metavar="REV", help="A branch, tag or commit."),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Accepted as by all commands; search has a head of its own and asks no language "
        "model.",
    ),
]


def index(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REPO",
            help="Working copies, bare repositories, plain folders, https or ssh URLs; "
            "the working copy or folder one is in if none is given.",
            show_default=False,
        ),
    ] = None,
    revision: Revision = None,
    words_only: Annotated[
        bool, typer.Option("--words-only", help="Make no vectors; load no model.")
    ] = False,
    reembed: Annotated[
        bool, typer.Option("--reembed", help="Make all vectors anew, for a changed model.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Forget the repositories named, instead.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and follow what is changed on the disk.")
    ] = False,
    ray: Actors = None,
    folder: IndexFolder = None,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Index repositories, or bring their index up to date."""
    from codebyte.apps.progress_bar import progress_bar
    from codebyte.indexer.index import CodeIndex

    if remove:
        _remove(folder, sources or [], as_json)
        return
    if watch and revision is not None:
        raise typer.BadParameter("--watch follows the disk, which has no --rev")
    named = sources or [str(_root() or ".")]
    place = folder or default_folder()
    if ray is not None:
        if watch or reembed:
            raise typer.BadParameter("--watch and --reembed do not go with --ray")
        from codebyte.apps.ray_search import index_on_ray

        index_on_ray(ray, place, named, revision, words_only, as_json)
        return
    embedder = None if words_only else _embedder()
    failed: list[CodebyteError] = []
    with CodeIndex(place, embedder) as opened:
        if reembed:
            opened.reembed()
        for source in named:
            try:
                with progress_bar() as progress:
                    done = opened.update(source, revision, embed=False, progress=progress)
            except CodebyteError as error:
                if len(named) == 1:
                    raise
                failed.append(error)
                typer.echo(f"codebyte: {error}", err=True)
                continue
            say_updated(done, as_json)
        with progress_bar() as progress:
            opened.embed(progress)
        _say_coverage(opened)
        if failed:
            raise InputError(f"{len(failed)} of {len(named)} sources could not be indexed")
        if watch:
            _follow(opened, named, as_json)


def search(
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY",
            help='Words; also "exact text", /regular expressions/, path: lang: repo: sym: filters.',
        ),
    ],
    k: Most = 10,
    mode: Mode = "hybrid",
    paths: Paths = None,
    languages: Languages = None,
    repos: Repos = None,
    revision: Revision = None,
    lines: Lines = 6,
    ray: Shards = None,
    folder: IndexFolder = None,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Find code by what it does, what it is called, or what it says."""
    text = " ".join(query)
    if ray is not None:
        if revision is not None:
            raise typer.BadParameter("--rev does not go with --ray")
        filters = [f'path:"{it}"' for it in paths or ()] + [f"lang:{it}" for it in languages or ()]
        text = " ".join([text, *filters, *(f"repo:{it}" for it in repos or ())])
        from codebyte.apps.ray_search import search_on_ray

        search_on_ray(ray, folder or default_folder(), text, k, mode, lines, as_json)
        return
    with _opened(folder, mode) as opened:
        hits = opened.search(
            text,
            k,
            mode,
            paths=paths or (),
            languages=languages or (),
            repos=repos or (),
            revision=revision,
        )
        _say_coverage(opened)
        show_hits(hits, text, lines, as_json)


def similar(
    place: Annotated[
        str, typer.Argument(metavar="FILE:LINE", help="A place in an indexed file, or any other.")
    ],
    k: Most = 10,
    mode: Mode = "hybrid",
    lines: Lines = 6,
    folder: IndexFolder = None,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Find code like that at a place in a file."""
    name, _, number = place.rpartition(":")
    if not name or not number.isdecimal() or int(number) < 1:
        raise typer.BadParameter(f"{place!r} is not FILE:LINE, such as src/main.py:12")
    with _opened(folder, mode) as opened:
        held = opened.place_of(name)
        data = read(Path(name), LARGEST_SIMILAR) if held is None else None
        repo, path = held or (None, name)
        hits = opened.similar(path, int(number), k, mode, repo=repo, data=data)
        _say_coverage(opened)
        show_hits(hits, "", lines, as_json)


def status(folder: IndexFolder = None, as_json: Json = False) -> None:
    """Say what is indexed, what has changed since, and what was left out and why."""
    from codebyte.indexer.index import CodeIndex
    from codebyte.indexer.report import report, report_lines

    with CodeIndex.load(folder or default_folder()) as opened:
        found = report(opened)
        if as_json:
            print_json(found)
        else:
            for line in report_lines(found):
                typer.echo(line)


def default_folder() -> Path:
    """`.codebyte/index` of the working copy that one is in, else one in the user's data folder."""
    if (root := _root()) is not None:
        return root / ".codebyte" / "index"
    from platformdirs import user_data_path

    return user_data_path("codebyte") / "index"


def _root() -> Path | None:
    """The working copy that one is in, or the folder above that has an index."""
    here = Path.cwd()
    marks = (".codebyte/index", ".git")
    return next(
        (it for it in (here, *here.parents) if any((it / mark).exists() for mark in marks)), None
    )


def _opened(folder: Path | None, mode: str) -> "CodeIndex":
    from codebyte.indexer.index import CodeIndex

    opened = CodeIndex.load(folder or default_folder())
    if mode != "lexical" and opened.store.get("model") is not None:
        opened.embedder = _embedder()
    return opened


def _embedder() -> "Embedder":
    from codebyte.tasks.search import Embedder

    return Embedder()


def _remove(folder: Path | None, names: list[str], as_json: bool) -> None:
    from codebyte.indexer.index import CodeIndex

    if not names:
        raise typer.BadParameter("--remove needs the names of repositories, see `codebyte status`")
    place = folder or default_folder()
    CodeIndex.load(place).close()  # says so where there is none
    with CodeIndex(place) as opened:
        for name in names:
            gone = opened.remove(name)
            if as_json:
                print_json({"repo": name, "removed": gone})
            else:
                typer.echo(f"{name}: {gone:,} chunks removed")


def _follow(opened: "CodeIndex", sources: list[str], as_json: bool) -> None:
    from codebyte.indexer.watch import follow

    typer.echo("watching; Ctrl-C ends it", err=True)
    for done in follow(opened, sources):
        if isinstance(done, CodebyteError):
            typer.echo(f"codebyte: {done}; it is tried again", err=True)
        elif done.added or done.removed:
            say_updated(done, as_json)


def _say_coverage(opened: "CodeIndex") -> None:
    covered = opened.coverage()
    typer.echo(
        f"{covered.documents:,} chunks, {covered.share:.0%} of them searchable by meaning"
        + ("" if covered.embedded == covered.documents else ", the rest by words"),
        err=True,
    )
