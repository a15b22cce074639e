"""`codebyte web` as a process of its own."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from taught import HALF, REST, taught_checkpoint

from codebyte.apps.server import serve
from codebyte.errors import ConfigError

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "codebyte", "web", "--port", "0", "--json", "--checkpoint"]


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, str(taught_checkpoint())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def client(process: subprocess.Popen[str]) -> Iterator[httpx.Client]:
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["url"]
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        yield client


def first_piece(client: httpx.Client) -> tuple[str, float]:
    """The first text of a completion, and the seconds until it came."""
    began = time.perf_counter()
    with client.stream("POST", "/v1/complete", json={"prefix": HALF}) as reply:
        line = next(line for line in reply.iter_lines() if line)
        return json.loads(line.removeprefix("data: "))["text"], time.perf_counter() - began


def test_one_process_serves_the_page_and_the_api(client: httpx.Client) -> None:
    assert client.get("/").status_code == 200
    assert client.get("/config").json()["title"] == "codebyte"
    assert client.get("/health").json() == {"status": "ok", "requests": 0}


def test_the_page_names_no_other_address(client: httpx.Client) -> None:
    page = client.get("/").text
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="([^"]+)"', page)
    assert [link for link in loaded if "//" in link and not link.startswith("data:")] == []


def test_nobody_is_told_and_nothing_is_kept(client: httpx.Client) -> None:
    config = client.get("/config").json()
    assert config["analytics_enabled"] is False
    assert config["run_history"] is False
    assert config["footer_links"] == []


def test_the_editor_is_served_for_good_under_a_name_of_its_own(client: httpx.Client) -> None:
    links = re.findall(r"/cb-assets/editor\.(?:js|css)\?v=[0-9a-f]{12}", client.get("/").text)
    assert len(set(links)) == 2
    for link in links:
        asset = client.get(link)
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]


def test_a_known_prompt_is_answered_without_the_delay_of_small_packets(
    client: httpx.Client,
) -> None:
    first_piece(client)
    pieces = [first_piece(client) for _ in range(20)]
    assert all(REST.startswith(text) for text, _ in pieces)
    # Nagle's algorithm and delayed acknowledgements together hold a small piece back for 40 ms.
    assert min(seconds for _, seconds in pieces) < 0.03


def test_a_port_in_use_is_said_at_once(client: httpx.Client) -> None:
    port = client.base_url.port
    assert port is not None
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port} cannot be listened on \(Address"):
        serve(checkpoint="no such folder", port=port)


def test_an_interrupt_ends_it_well(process: subprocess.Popen[str], client: httpx.Client) -> None:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == ""
    assert err == "loading the model\n"
