"""`codebyte doctor` and `bench`."""

import json
import socket

import pytest
from served import serving
from starlette.responses import JSONResponse
from taught import taught_checkpoint
from typer.testing import CliRunner

import codebyte
from codebyte.apps.api import create_api
from codebyte.apps.cli import app
from codebyte.apps.doctor_commands import Finding, findings
from codebyte.apps.session import Session
from codebyte.errors import InputError

RUNNER = CliRunner()


def found(port: int, checkpoint: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings(port, checkpoint)}


@pytest.fixture(scope="module")
def checkpoint() -> str:
    return str(taught_checkpoint())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_all_that_is_needed_is_found(checkpoint: str) -> None:
    looked = found(free_port(), checkpoint)
    assert {name for name in looked if not looked[name].good} <= {"speed", "machine"}
    assert looked["codebyte"].found.startswith(codebyte.__version__)
    assert "parameters on cpu" in looked["model"].found
    assert "is free" in looked["port"].found


def test_a_missing_model_is_said_with_the_remedy(tmp_path: object) -> None:
    model = found(free_port(), str(tmp_path))["model"]
    assert not model.good
    assert model.found.startswith(f"there is no checkpoint at {tmp_path}")
    assert "--checkpoint FOLDER" in model.advice


def test_a_port_taken_by_another_is_told_from_one_of_ours(checkpoint: str) -> None:
    async def other(scope: dict, receive: object, send: object) -> None:
        await JSONResponse({"hello": 1})(scope, receive, send)

    with serving(other) as address:
        port = found(int(address.rpartition(":")[2]), checkpoint)["port"]
        assert not port.good
        assert port.advice == "give `codebyte web` another --port"
    with serving(create_api(Session(checkpoint))) as address:
        port = found(int(address.rpartition(":")[2]), checkpoint)["port"]
        assert port.good
        assert port.found == f"codebyte answers at {address}/"


def test_what_failed_is_printed_and_ends_with_an_error(tmp_path: object) -> None:
    done = RUNNER.invoke(app, ["doctor", "--json", "--checkpoint", str(tmp_path)])
    assert isinstance(done.exception, InputError)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["name"] for line in lines if not line["good"]] in (
        ["model"],
        ["model", "port"],
        ["machine", "model"],
    )


def test_bench_measures_what_a_person_waits_for(checkpoint: str) -> None:
    done = RUNNER.invoke(app, ["bench", "--json", "--checkpoint", checkpoint])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert sorted(figures) == [
        "cold_ms",
        "key_ms",
        "key_p95_ms",
        "load_s",
        "memory_mb",
        "score_bytes_per_s",
        "write_bytes_per_s",
    ]
    assert 0 < figures["key_ms"] <= figures["key_p95_ms"]
    assert figures["memory_mb"] > 50
