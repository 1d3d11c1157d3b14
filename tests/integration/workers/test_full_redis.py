"""A Redis that has no memory left while streams run: what readers have is what the job comes to."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
import redis

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger.operations.budgeting import OneMore, Standing
from palaver.shared.ledger.operations.spending import NANO
from palaver.workers.accounts import Account
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.doubles import Anew, Gated
from tests.servers import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
async def engine(make_engine: MakeEngine, own_redis: Callable[..., RedisServer]) -> AsyncIterator[Engine]:
    """An engine on a Redis of its own, which is given memory again at the end."""
    engine = await make_engine(redis_url=own_redis("--maxmemory-policy", "noeviction").url, lease_seconds=60)
    yield engine
    memory(engine, 0)


def memory(engine: Engine, most: int) -> None:
    with redis.Redis.from_url(engine.service.settings.redis_url) as client:
        client.config_set("maxmemory", most)


def written(events: list[dict[str, Any]]) -> str:
    """The text that the chunks alone tell, without the end."""
    return text_of([event for event in events if event["type"] != "stream_end"])


async def whole(engine: Engine, job: ChatJob) -> str:
    """The text of an ended job, which is the same in its events, its end and its result."""
    events = await engine.events(job)
    view = await engine.ledger.job(job.job_id)
    assert view.response is not None
    end = events[-1]["data"]
    told = end["text"] if "error" in end else end["response"]["content"]
    assert told == view.response.content == written(events)
    return view.response.content


@pytest.mark.parametrize("raised", ["before the end", "after the end"])
async def test_a_job_ends_with_the_text_that_was_logged(engine: Engine, raised: str) -> None:
    jobs = [await engine.submit({"n": 300}, model="slow/echo", session_id=f"s{n}") for n in range(20)]
    running = [asyncio.create_task(engine.run(job)) for job in jobs]
    for job in jobs:
        await engine.said(job)
    memory(engine, 1)
    if raised == "before the end":
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        memory(engine, 0)
    outcomes = await asyncio.gather(*running)
    texts = [await whole(engine, job) for job in jobs]
    assert Status.FAILED in {outcome.status for outcome in outcomes}
    assert all("".join(f" w{n}" for n in range(300)).startswith(text) for text in texts)


async def test_an_answer_that_could_not_begin_anew_stays_what_it_was(engine: Engine) -> None:
    job = await engine.submit("Hello", model="anew/m")
    running = asyncio.create_task(engine.run(job))
    await engine.told(job, "retry")
    memory(engine, 1)
    engine.provider("anew", Anew).gate.set()
    assert (await running).code == "ledger_full"
    assert await whole(engine, job) == "one"


async def test_a_call_that_could_not_be_stored_was_not_made(engine: Engine) -> None:
    job = await engine.submit("Hello", model="gated/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    memory(engine, 1)
    engine.provider("gated", Gated).gate.set()
    assert (await running).code == "ledger_full"
    assert await whole(engine, job) == "one"
    response = (await engine.ledger.job(job.job_id)).response
    assert response is not None
    assert response.tool_calls == []
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.estimated) == (
        3,
        True,
    )  # what was said is not counted
    assert "tool_rounds" not in response.metadata
    assert "tool_call" not in [event["type"] for event in await engine.events(job)]


async def test_what_a_session_remembers_of_a_cancelled_job_is_what_was_logged(engine: Engine) -> None:
    job = await engine.submit({"n": 150}, model="slow/echo")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    memory(engine, 1)
    await engine.ledger.cancel("s1", job.job_id)
    outcome = await running
    text = await whole(engine, job)
    history = [orjson.loads(message)["content"] for message in await engine.ledger.messages("s1")]
    assert history[1:] == ([text] if outcome.status is Status.CANCELLED else [])


async def test_what_was_spent_is_told_all_the_same(engine: Engine) -> None:
    keys, one = engine.ledger.keys, OneMore(nanos=NANO, hard=10)
    account = Account(engine.service._link, keys, "acme", worker="w", numbers=itertools.count(1))
    assert (await account.reserve(one)).may_run
    memory(engine, 1)
    account.owe(NANO)
    account.release(NANO)
    async with asyncio.timeout(10):
        await account.keep()
    assert await account.look(one) == Standing(1, 0, may_run=True)
