"""What the routes share, asked by a client that has gone."""

import asyncio

import pytest
from starlette.requests import Request
from taught import taught_checkpoint

from codebyte.apps.serving import Serving
from codebyte.apps.session import Session


@pytest.fixture(scope="module")
def serving() -> Serving:
    return Serving(Session(taught_checkpoint()))


def test_a_client_that_left_before_the_work_began_costs_none_and_is_counted(
    serving: Serving,
) -> None:
    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def ask() -> object:
        running = serving.begin(Request({"type": "http", "client": None}, receive), "/infill")
        return await running.whole(lambda: began.append(running) or "an answer")

    began: list[object] = []
    assert asyncio.run(ask()) is None
    assert began == []
    assert serving.session.queue.inside == 0
    assert b'codebyte_requests_total{outcome="cancelled",route="/infill"} 1.0' in (
        serving.metrics.text()
    )
