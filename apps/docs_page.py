"""/docs: Swagger UI over the OpenAPI document, from this process alone.

FastAPI's own page loads Swagger UI from a CDN; here it comes with the package (swagger-ui.LICENSE).
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, Response

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
_ADDRESS = "/cb-docs"
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Crect width='32' height='32' rx='8' fill='%230b7a67'/%3E%3C/svg%3E"
)


def add_docs(app: FastAPI) -> None:
    """Adds the page and what it loads."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="codebyte: the HTTP API",
            swagger_js_url=f"{_ADDRESS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ADDRESS}/swagger-ui.css",
            swagger_favicon_url=_ICON,
            # The validator would send the document to a server of Swagger's.
            swagger_ui_parameters={"validatorUrl": None, "defaultModelsExpandDepth": -1},
        )

    folder = Path(__file__).parent
    for name, kind in _ASSETS.items():
        app.get(f"{_ADDRESS}/{name}", include_in_schema=False)(_asset(folder / name, kind))


def _asset(path: Path, kind: str) -> Callable[[], Awaitable[Response]]:
    async def asset() -> Response:
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "max-age=86400"})

    return asset
