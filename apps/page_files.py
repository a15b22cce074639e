"""The files of the registered repositories, and of no others, for the page's editor to open."""

from typing import Any

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from codebyte.apps.library import Library
from codebyte.errors import CodebyteError

MOST_LISTED = 100  # paths of one answer


def mount_files(app: FastAPI, library: Library) -> None:
    """Serves one file at /cb-file, and the names of repositories and files at /cb-files."""

    @app.get("/cb-file", include_in_schema=False)
    def file(repo: str, path: str) -> Response:
        try:
            data = library.read(repo, path)
        except CodebyteError as error:
            return _refused(error)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    @app.get("/cb-files", include_in_schema=False)
    def files(repo: str | None = None, part: str = "") -> Response:
        """The repositories; and those paths of one that hold every word of `part`."""
        answer: dict[str, Any] = {}
        try:
            if repo is None:
                answer["repositories"] = library.names()
            else:
                answer["paths"], answer["found"] = library.paths(repo, part, MOST_LISTED)
        except CodebyteError as error:
            return _refused(error)
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def _refused(error: CodebyteError) -> Response:
    return JSONResponse({"error": {"message": str(error)}}, status_code=404)
