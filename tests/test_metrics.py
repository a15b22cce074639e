"""What /metrics counts, /docs shows, and what a full server answers."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import serving
from starlette.routing import Route
from taught import ENDLESS, TEXT, taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.guard import Guard
from codebyte.apps.scheduler import Queue
from codebyte.apps.session import Session


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(taught_checkpoint())


@pytest.fixture
def client(session: Session) -> Iterator[httpx.Client]:
    with (
        serving(Guard(create_api(session))) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
    ):
        yield client


def values(client: httpx.Client) -> dict[str, float]:
    """All samples, named as in the text form."""
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_a_completion_is_counted_with_its_bytes_and_times(client: httpx.Client) -> None:
    asked = {"prompt": TEXT[:30], "max_tokens": 5, "temperature": 0}
    for _ in range(2):
        assert client.post("/v1/completions", json=asked).status_code == 200
    found = values(client)
    assert found["codebyte_requests_total{outcome=done,route=/v1/completions}"] == 2
    assert found["codebyte_bytes_total{kind=read}"] == 60
    assert found["codebyte_bytes_total{kind=written}"] == 40
    assert 30 <= found["codebyte_bytes_total{kind=cached}"] <= 60
    assert found["codebyte_first_byte_seconds_count{route=/v1/completions}"] == 2
    assert found["codebyte_requests_inside"] == 0
    assert found["codebyte_prompt_caches"] >= 1
    assert found["process_resident_memory_bytes"] > 1e7


@pytest.mark.parametrize("stream", [True, False])
def test_whoever_leaves_is_counted_and_stops_the_decode_within_50_ms(
    client: httpx.Client, session: Session, stream: bool
) -> None:
    asked = {"prompt": ENDLESS * 4, "max_tokens": 4096, "temperature": 0, "stream": stream}
    if stream:
        with client.stream("POST", "/v1/completions", json=asked) as open_reply:
            next(open_reply.iter_lines())
        left = time.perf_counter()
    else:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/completions", json=asked, timeout=0.5)
        left = time.perf_counter()
    while session.queue.inside:
        assert time.perf_counter() - left < 5
        time.sleep(0.001)
    # 50 ms on an idle machine; other programs may hold this one back.
    assert time.perf_counter() - left < 0.5
    assert values(client)["codebyte_requests_total{outcome=cancelled,route=/v1/completions}"] == 1


def test_a_full_server_says_when_to_come_again(client: httpx.Client, session: Session) -> None:
    usual, session.queue = session.queue, Queue(most=1)
    try:
        with session.queue.enter("somebody"):
            for route in ("/v1/completions", "/infill", "/v1/complete"):
                reply = client.post(route, json={})
                assert reply.status_code == 429
                assert reply.headers["retry-after"] == "1"
                error = reply.json()["error"]
                assert error["code"] == "rate_limit_exceeded"
                assert error["message"] == "1 requests are under way; ask again in 1 s"
        assert client.post("/infill", json={}).status_code == 200
    finally:
        session.queue = usual
    assert values(client)["codebyte_requests_total{outcome=refused,route=/infill}"] == 1


def test_the_docs_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/docs").text
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    loaded = [link for link in linked if not link.startswith("data:")]
    assert sorted(loaded) == ["/cb-docs/swagger-ui-bundle.js", "/cb-docs/swagger-ui.css"]
    assert '"validatorUrl": null' in page
    for link in loaded:
        asset = client.get(link)
        assert asset.status_code == 200
        assert len(asset.content) > 100_000
    assert "http" not in re.sub(r'href="data:[^"]+"', "", page)


PAGE = {"/v1/complete", "/v1/alternatives", "/docs", "/openapi.json", "/v1/{rest:path}"}


def test_every_route_is_described_but_the_pages_own(client: httpx.Client, session: Session) -> None:
    document = client.get("/openapi.json").json()
    described = {
        (path, method.upper()) for path, found in document["paths"].items() for method in found
    }
    assert sorted({path for path, _ in described}) == [
        "/health",
        "/infill",
        "/metrics",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/events",
        "/v1/health",
        "/v1/models",
        "/v1/models/{name}",
        "/v1beta/server_setting",
    ]
    there = {
        (route.path, method)
        for route in create_api(session).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
        if route.path not in PAGE and not route.path.startswith("/cb-docs/")
    }
    assert there == described


def test_operations_have_names_of_their_own(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    names = [one["operationId"] for found in document["paths"].values() for one in found.values()]
    assert len(set(names)) == len(names)
