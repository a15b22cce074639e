"""`codebyte serve`, `lsp` and `mcp`: for editors and agents, without the page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codebyte.apps.options import Alone, Checkpoint, Json, Served, print_json

if TYPE_CHECKING:
    from codebyte.apps.session import Session

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="CODEBYTE_TOKEN",
        help="What every request must carry; needed for any HOST but this machine.",
    ),
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 7860,
    token: Token = None,
    repo: Served = None,
    alone: Alone = False,
    checkpoint: Checkpoint = None,
    as_json: Json = False,
) -> None:
    """Serve the HTTP API alone: as `web`, without the page and its memory."""
    from codebyte.apps.guard import check_binding

    check_binding(host, token)
    from codebyte.apps import server

    def ready(address: str) -> None:
        if as_json:
            print_json({"url": address})
        else:
            typer.echo(
                f"codebyte's API is at {address}, its description at {address}docs", err=True
            )

    server.serve(
        checkpoint=checkpoint,
        host=host,
        port=port,
        token=token,
        page=False,
        repo=repo,
        alone=alone,
        ready=ready,
    )


def lsp(alone: Alone = False, checkpoint: Checkpoint = None) -> None:
    """Speak the Language Server Protocol over stdin and stdout: completions, findings, repairs."""
    from codebyte.apps.lsp import create_server

    def load() -> "Session":
        from codebyte.apps.session import Session
        from codebyte.apps.settle import settle

        settle()
        session = Session(checkpoint)
        session.warm_up()
        return session

    create_server(load, alone=alone).start_io()


def mcp(
    root: Annotated[
        Path,
        typer.Option(
            exists=True, file_okay=False, help="The folder whose files the tools may read."
        ),
    ] = Path("."),
    index: Annotated[
        Path | None,
        typer.Option(
            envvar="CODEBYTE_INDEX",
            metavar="FOLDER",
            help="Where the index is: .codebyte/index of the root.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Checkpoint = None,
) -> None:
    """Offer search, similar, scan and complete to agents: the Model Context Protocol on stdio."""
    from codebyte.apps.mcp_server import Tools, create_mcp

    create_mcp(Tools(root, index=index, checkpoint=checkpoint)).run()
