"""The page's server as a program meets it: Gradio's own client."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from served import serving
from taught import TEXT, taught_checkpoint

from codebyte.apps.session import Session
from codebyte.scoring import surprisal

gradio_client = pytest.importorskip("gradio_client")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # gradio's own

MakeRepo = Callable[[Path, Mapping[str, bytes]], Path]


def test_gradios_client_finds_the_functions_and_calls_them(
    tmp_path: Path, make_repo: MakeRepo
) -> None:
    from codebyte.apps.library import Library
    from codebyte.apps.server import create_app

    repo = make_repo(tmp_path / "shapes", {"shapes.py": TEXT.encode()})
    session = Session(taught_checkpoint())
    Library(tmp_path / "index", session.model).add(str(repo), lambda *_: None)
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
