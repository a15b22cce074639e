"""The page's server as a program meets it: Gradio's own client."""

import gc
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from served import serving
from taught import TEXT, taught_checkpoint

from codebyte.apps.guard import LARGEST_BODY, LARGEST_UPLOAD
from codebyte.apps.session import Session
from codebyte.scoring import surprisal

gradio_client = pytest.importorskip("gradio_client")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # gradio's own

MakeRepo = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture(autouse=True)
def left_open() -> Iterator[None]:
    """Closes what gradio leaves open, here, where that is a warning and not an error."""
    yield
    gc.collect()


def test_gradios_client_finds_the_functions_and_calls_them(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    from codebyte.apps.library import Library
    from codebyte.apps.server import create_app

    repo = make_repo(tmp_path / "shapes", {"shapes.py": TEXT.encode()})
    session = Session(taught_checkpoint())
    Library(tmp_path / "index").add(str(repo), lambda *_: None)
    with serving(create_app(session, index=tmp_path / "index")) as address:
        client = gradio_client.Client(address, verbose=False, analytics_enabled=False)
        named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
        assert sorted(named) == ["/score", "/search"]
        scored = client.predict(TEXT, api_name="/score")
        expected = surprisal(session.model, TEXT.encode())
        assert scored["bits"] == pytest.approx(expected.tolist(), abs=1e-3)
        hit, *_ = client.predict("greet", "", "", api_name="/search")
        assert (hit["repo"], hit["file"]) == ("shapes", "shapes.py")
        assert "def greet" in hit["snippet"]
        with pytest.raises(gradio_client.exceptions.AppError, match="it may have 1 to"):
            client.predict("", api_name="/score")
        client.close()


def test_the_page_and_gradios_own_routes_are_guarded_as_the_api_is(tmp_path: Path) -> None:
    from codebyte.apps.server import create_app

    session, token = Session(taught_checkpoint()), "a-token-of-some-length"
    bearer = {"authorization": f"Bearer {token}"}
    with serving(create_app(session, token=token, index=tmp_path / "index")) as address:
        for path in ("/", "/config", "/gradio_api/info", "/cb-file", "/cb-assets/editor.js"):
            assert httpx.get(f"{address}{path}").status_code == 401, path
        for path in ("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/call/score"):
            assert httpx.post(f"{address}{path}", json={}).status_code == 401, path
        for path, most in (("upload", LARGEST_UPLOAD), ("queue/join", LARGEST_BODY)):
            huge = bearer | {"content-length": str(most + (1 << 20))}
            connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
            connection.putrequest("POST", f"/gradio_api/{path}")
            for name, value in huge.items():
                connection.putheader(name, value)
            connection.endheaders()  # and no body: what it claims to have is enough
            assert connection.getresponse().status == 413, path
            connection.close()
        files = {"files": ("large.txt", b"x" * (LARGEST_BODY + 1))}
        reply = httpx.post(f"{address}/gradio_api/upload", files=files, headers=bearer)
        assert reply.status_code == 200
        for path in ("/etc/passwd", reply.json()[0] + "/../../../../etc/passwd"):
            reply = httpx.get(f"{address}/gradio_api/file={path}", headers=bearer)
            assert reply.status_code in (403, 404), path
        assert httpx.get(f"{address}/config", headers=bearer).status_code == 200
