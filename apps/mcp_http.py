"""POST /mcp: search, similar and scan over the page's repositories, as tools for agents.

The Model Context Protocol over HTTP, in the page's own process and behind its guard. Gradio's own
(`mcp_server=True`) wants a version of the protocol's package before the one that is used here.
Nothing but the repositories of the page is read, by their names.
"""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import from_thread
from fastapi import FastAPI
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import Field

import codebyte
from codebyte.apps.library import Library
from codebyte.apps.mcp_server import Count, Line, Text, as_finding, as_hit, told
from codebyte.apps.session import Session

_INSTRUCTIONS = """\
Tools over the repositories that this server has indexed. `search` finds code by words and by
meaning, `similar` code like a given place, `scan` lines that look wrong with likelier code where
there is some. Hits name their repository. Lines and columns count from 1."""

Repo = Annotated[str, Field(max_length=4096, description="a repository's name")]


def mount_mcp(app: FastAPI, session: Session, library: Library) -> None:
    """Adds the route; to be called before the page is mounted at /."""
    # The guard has looked at Host and Origin already, and knows of tokens too.
    guarded = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    inner = _server(session, library).streamable_http_app(
        stateless_http=True, transport_security=guarded
    )
    app.router.routes.extend(inner.routes)
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with outer(app) as state, inner.router.lifespan_context(inner):
            yield state

    app.router.lifespan_context = lifespan


def _server(session: Session, library: Library) -> MCPServer:
    server = MCPServer(
        "codebyte", version=codebyte.__version__, instructions=_INSTRUCTIONS, log_level="WARNING"
    )
    scanning = threading.Lock()

    @server.tool()
    def search(
        query: Text, path: Text = "", repo: Repo = "", k: Count = 10
    ) -> list[dict[str, Any]]:
        """Find code by what it does, is called or says, in all repositories or in one.

        A path is a pattern such as src/**/*.py.
        """
        repos = [repo] if repo else []
        return told(
            lambda: [as_hit(hit) for hit in library.search(query, path=path, repos=repos)[:k]]
        )

    @server.tool()
    def similar(repo: Repo, path: Text, line: Line, k: Count = 10) -> list[dict[str, Any]]:
        """Find code like that at a line of a file of a repository."""
        return told(
            lambda: [as_hit(hit) for hit in library.index().similar(path, line, k, repo=repo)]
        )

    @server.tool()
    def scan(context: Context, repo: Repo, k: Count = 20) -> list[dict[str, Any]]:
        """List the most suspicious places of a repository, with likelier code where known."""

        def progress(stage: str, done: int, total: int) -> None:
            from_thread.check_cancelled()  # ends the scan if the client has given it up
            if stage == "scoring":
                from_thread.run(context.report_progress, done, total)

        def scanned() -> list[dict[str, Any]]:
            from codebyte.tasks.scan_config import load_config
            from codebyte.tasks.scan_targets import open_tree
            from codebyte.tasks.scan_workers import Scorer
            from codebyte.tasks.scanning import scan_tree

            tree = open_tree(library.source(repo), fetch=False)
            with scanning:
                found = scan_tree(
                    tree,
                    Scorer(model=session.model),
                    config=load_config(tree.root),
                    progress=progress,
                )
            return [as_finding(place, place.finding.path) for place in found.places[:k]]

        return told(scanned)

    return server
