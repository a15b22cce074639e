"""Puts the page, the API and the guard together in one process, and runs it."""

import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from os import PathLike
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from codebyte.apps.api import create_api
from codebyte.apps.guard import Guard, check_binding, is_loopback
from codebyte.apps.mixers import served_repository
from codebyte.apps.newer import follow
from codebyte.apps.session import Session
from codebyte.apps.settle import settle
from codebyte.errors import ConfigError


def create_app(
    session: Session,
    *,
    token: str | None = None,
    page: bool = True,
    index: str | PathLike[str] | None = None,
) -> ASGIApp:
    """Builds the whole application, guarded; without the page it needs 100 MB less.

    Args:
        session: the model.
        token: what requests must carry.
        page: whether there is one.
        index: the folder of the index that the page works on; None for the user's own.
    """
    app = create_api(session)
    if page:
        from codebyte.apps.library import Library, own_folder
        from codebyte.apps.mcp_http import mount_mcp
        from codebyte.apps.web import mount

        library = Library(own_folder() if index is None else Path(index))
        session.mixers.others = library.folders
        mount_mcp(app, session, library)
        mount(app, session, library)
    return Guard(app, token=token)


def serve(
    *,
    checkpoint: str | PathLike[str] | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    page: bool = True,
    index: str | PathLike[str] | None = None,
    repo: Path | None = None,
    alone: bool = False,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves until interrupted.

    Args:
        checkpoint: a folder; None for the packaged model.
        host: address to listen on; any but this machine's own needs a token.
        port: 0 takes a free one.
        token: what requests must carry.
        page: whether there is a page beside the API.
        index: the folder of the index that the page works on; None for the user's own.
        repo: the repository that is worked in; None for the one this is started in, where only
            this machine is served.
        alone: whether completions shall leave every repository's files out.
        ready: told the page's address once connections are accepted.

    Raises:
        ConfigError: if the address cannot be listened on, or is open to others without a token.
    """
    check_binding(host, token)
    # Listening before the model is loaded tells of a port in use at once.
    listener = _listen(host, port)
    with listener:
        settle()
        session = Session(checkpoint)
        local = is_loopback(host) and token is None
        session.mixers.served = served_repository(repo, local=local, alone=alone)
        session.warm_up()
        follow(session)
        config = uvicorn.Config(
            create_app(session, token=token, page=page, index=index),
            log_level="warning",
            access_log=False,  # would hold the token of /?token=...
            timeout_graceful_shutdown=2,
            server_header=False,
        )
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listener.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):  # raised again once all has been shut down
            uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # Only sockets of a named protocol are freed from Nagle's delay by asyncio: 40 ms a piece.
        with ExitStack() as failing:
            listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            failing.enter_context(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(128)
            failing.pop_all()
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}): "
            "give another --host or --port"
        ) from error
    return listener
