"""What a gate gives to a job that was parked there, and then goes elsewhere, is the next one's at once.
Nobody sweeps here: what is not handed on stays given.
"""

import asyncio
from typing import Any

import pytest

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import operations
from palaver.shared.profiles import Limits
from tests.integration.workers.conftest import Engine, MakeEngine, stand
from tests.integration.workers.test_engine import end_of
from tests.integration.workers.test_two_gates import HOLD, cancel
from tests.model_server import ModelServer

pytestmark = pytest.mark.redis

TWO = Limits(concurrent=2)


@pytest.fixture
async def engines(make_engine: MakeEngine, server: ModelServer) -> list[Engine]:
    """Two, with two places at `http`, which one failure closes for them."""
    http = {"kind": "openai", "base_url": server.openai_url}
    limited = {**http, "limits": {"concurrent": 2}, "breaker": {"failures": 1, "pause": 60}}
    return [await make_engine(profiles={"http": limited, "spare": http}) for _ in range(2)]


async def hold(engine: Engine, token: str) -> None:
    """Have a request of another worker hold a place."""
    entering = operations.enter_gate(
        engine.ledger.keys, "http", ("s", token), token=token, line=operations.Line(), limits=TWO, lease=60.0
    )
    assert (await engine.ledger.run(entering)).has_place


async def leave(engine: Engine, token: str) -> None:
    await engine.ledger.run(operations.leave_gate(engine.ledger.keys, "http", ("s", token), token=token))


async def given(engine: Engine, *others: ChatJob, **fields: Any) -> ChatJob:
    """A job that was parked at the gate, and has been given a place there. These were parked after it."""
    for token in ("t1", "t2"):
        await hold(engine, token)
    job = await engine.submit(**{"messages": {"n": 2}, "model": "http/m", "history": []} | fields)
    for number, waiting in enumerate([job, *others], start=1):
        await engine.run(waiting)
        await stand(engine, "http", running=2, waiting=number)
    await leave(engine, "t1")
    await stand(engine, "http", running=2, waiting=len(others))
    return job


async def fail(engine: Engine) -> None:
    """The provider is asked no more by this worker."""
    events = await engine.answer({"fail": {"status": 500}}, model="http/m", session_id="f", max_retries=0)
    assert end_of(events)["error"]["type"] == "ServerError"


async def test_a_job_that_a_breaker_refuses_hands_its_place_on(engines: list[Engine]) -> None:
    one, other = engines
    await fail(other)
    next_one = await one.submit({"n": 2}, model="http/m", session_id="b", history=[])
    job = await given(one, next_one, max_retries=0)
    await other.run(job)
    assert end_of(await other.events(job))["error"]["type"] == "CircuitOpenError"
    await stand(one, "http", running=2, waiting=0)
    await one.run(next_one)
    assert end_of(await one.events(next_one))["status"] == "completed"


async def test_a_job_that_asks_another_model_hands_its_place_on_before_that_has_answered(
    engines: list[Engine],
) -> None:
    one, other = engines
    await fail(other)
    job = await given(one, messages=HOLD, model=["http/m", "spare/m"])
    running = asyncio.create_task(other.run(job))
    await other.said(job)
    await stand(one, "http", running=1, waiting=0)
    await cancel(other, (job, running))


async def test_a_job_that_the_cache_answers_hands_its_place_on(engines: list[Engine]) -> None:
    one, _ = engines
    job = await given(one, cache=True)
    await leave(one, "t2")
    await one.answer({"n": 2}, model="http/m", session_id="c", history=[], cache=True)
    await one.run(job)
    assert end_of(await one.events(job))["usage"]["from_cache"]
    await stand(one, "http", running=0, waiting=0)
