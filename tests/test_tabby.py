"""What Tabby's editor plugins ask, over a real socket."""

from collections.abc import Iterator

import httpx
import pytest
from served import serving
from taught import AFTER, BEFORE, HALF, HOLE, PATH, REST, taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.guard import Guard
from codebyte.apps.session import Session


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    app = Guard(create_api(Session(taught_checkpoint())))
    with (
        serving(app) as address,
        httpx.Client(base_url=address, timeout=120, trust_env=False) as client,
    ):
        yield client


def test_segments_are_completed_as_an_editor_wants_it(client: httpx.Client) -> None:
    asked = {"language": "python", "segments": {"prefix": BEFORE, "suffix": AFTER}}
    body = client.post("/v1/completions", json=asked).json()
    assert body["choices"] == [{"index": 0, "text": HOLE}]
    assert body["id"].startswith("cmpl-")


def test_all_that_tabby_agent_sends_is_taken(client: httpx.Client) -> None:
    segments = {
        "prefix": HALF,
        "suffix": "\n",
        "filepath": PATH,
        "git_url": "https://example.org/shapes.git",
        "declarations": [{"filepath": "a.py", "body": "def other(): ...\n"}],
        "relevant_snippets_from_changed_files": [{"filepath": "b.py", "body": "x", "score": 1}],
        "clipboard": "copied",
    }
    asked = {"language": "python", "segments": segments, "temperature": None, "mode": "standard"}
    reply = client.post("/v1/completions", json=asked | {"user": "ada", "seed": -5})
    assert reply.status_code == 200, reply.text
    segments |= {"declarations": None, "relevant_snippets_from_changed_files": None}
    body = client.post("/v1/completions", json=asked | {"segments": segments}).json()
    assert body["choices"][0]["text"] == REST


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_health_tells_what_plugins_show(client: httpx.Client, method: str) -> None:
    body = client.request(method, "/v1/health").json()
    assert (body["model"], body["device"], body["cuda_devices"]) == ("codebyte", "cpu", [])
    assert sorted(body["version"]) == ["build_date", "build_timestamp", "git_describe", "git_sha"]


def test_no_telemetry_is_wanted_and_events_are_thrown_away(client: httpx.Client) -> None:
    setting = client.get("/v1beta/server_setting").json()
    assert setting == {"disable_client_side_telemetry": True}
    assert client.post("/v1/events", json={"type": "view", "completion_id": "x"}).status_code == 200


def test_segments_that_are_none_are_refused(client: httpx.Client) -> None:
    reply = client.post("/v1/completions", json={"segments": {"suffix": "x"}})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("segments: ")
