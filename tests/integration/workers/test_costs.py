"""What jobs are said to have used and cost, however they end, and over all their workers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from palaver.shared.jobs import Status
from palaver.shared.responses import ChatResponse
from palaver.shared.spending import DailyUsage, Spending, Spent
from tests.integration.workers.conftest import Engine, MakeEngine, text_of
from tests.integration.workers.doubles import PREFIX, Silent
from tests.integration.workers.test_engine import KeptPost, end_of

pytestmark = pytest.mark.redis

COUNTED = {"input_tokens": 30, "output_tokens": 40}
A_DOLLAR = {"input": 1e6, "output": 1e6}  # a token
SCRIPTED = {"kind": "scripted", "options": {"rate": 0}}
PROFILES: dict[str, dict[str, Any]] = {
    "dear": {**SCRIPTED, "prices": {"echo": A_DOLLAR}},
    "slow": {**SCRIPTED, "options": {"rate": 10}, "prices": {"*": A_DOLLAR}},
    "cheap": {**SCRIPTED, "prices": {"*": {"input": 0, "output": 0}}},
    "unknown": SCRIPTED,
    "silent": {"kind": PREFIX + "Silent", "prices": {"*": A_DOLLAR}},
}


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return await make_engine(profiles=PROFILES, lease_seconds=60, renew_seconds=20)


async def spent(engine: Engine) -> dict[str, tuple[int, float | None]]:
    """Requests and cost of each model, as the day has them."""
    return {row.model: (row.requests, row.cost) for row in await rows(engine)}


async def rows(engine: Engine) -> list[DailyUsage]:
    """Of today, and of yesterday, in case that midnight was a moment ago."""
    today = datetime.now(UTC).date()
    return await engine.ledger.usage(since=today - timedelta(days=1), until=today)


def noted(engine: Engine, job_id: str) -> list[Spent]:
    """What the ledger knows of a job that has not ended."""
    note: Any = engine.client.hget(engine.ledger.keys.job("s1", job_id), "spent")
    return Spending.model_validate_json(note).models


async def test_a_cost_is_in_the_response_and_at_the_end_of_the_stream(engine: Engine) -> None:
    job = await engine.submit({"n": 4, "usage": COUNTED}, model="dear/echo")
    await engine.run(job)
    end = end_of(await engine.events(job))
    assert end["usage"]["cost"] == end["response"]["usage"]["cost"] == 70
    assert "estimated" not in end["usage"]
    assert ChatResponse.model_validate(end["response"]).cost == 70
    assert await spent(engine) == {"dear/echo": (1, 70)}


@pytest.mark.parametrize(("model", "cost"), [("cheap/echo", 0), ("unknown/echo", None)])
async def test_what_is_free_costs_nothing_and_what_is_unknown_is_not_said(
    engine: Engine, model: str, cost: float | None
) -> None:
    assert end_of(await engine.answer({"n": 4, "usage": COUNTED}, model=model))["usage"].get("cost") == cost


async def test_what_the_provider_does_not_count_is_estimated(engine: Engine) -> None:
    usage = end_of(await engine.answer({"text": "x" * 400, "usage": False}, model="dear/echo"))["usage"]
    assert usage["estimated"] is True
    assert usage["output_tokens"] == 100
    assert usage["cost"] == usage["total_tokens"] > 100


async def test_a_cancelled_answer_costs_what_was_said(engine: Engine) -> None:
    job = await engine.submit("hello", model="silent/m")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    await engine.ledger.cancel("s1", job.job_id)
    assert (await running).status is Status.CANCELLED
    usage = end_of(await engine.events(job))["usage"]
    # "hello" and "one", in tokens of four bytes
    assert (usage["input_tokens"], usage["output_tokens"], usage["estimated"], usage["cost"]) == (
        2,
        1,
        True,
        3,
    )


@pytest.mark.parametrize("agent", ["asking", "asking/blocking"])
async def test_a_cancelled_answer_costs_what_was_said_to_its_agent(
    make_engine: MakeEngine, agent: str
) -> None:
    engine = await make_engine(profiles=PROFILES, agents="tests.integration.workers.user_agents")
    job = await engine.submit("hello", model="silent/m", agent=agent)
    running, provider = asyncio.create_task(engine.run(job)), engine.provider("silent", Silent)
    async with asyncio.timeout(20):
        while not provider.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await engine.ledger.cancel("s1", job.job_id)
    assert (await running).status is Status.CANCELLED
    usage = end_of(await engine.events(job))["usage"]
    assert (usage["output_tokens"], usage["estimated"]) == (1, True)
    assert await spent(engine) == {"silent/m": (1, usage["cost"])}


async def test_what_an_agents_model_has_thought_is_paid_although_it_was_cut(make_engine: MakeEngine) -> None:
    """Also where it has said nothing yet."""
    engine = await make_engine(profiles=PROFILES, agents="tests.integration.workers.user_agents")
    cut = {"reasoning": "x" * 400, "text": "never said", "fail": {"kind": "cut", "after": 1}}
    events = await engine.answer(cut, model="dear/echo", agent="asking", max_retries=0)
    end = end_of(events)
    assert end["status"] == "failed"
    assert end["usage"]["output_tokens"] == 100
    assert end["usage"]["cost"] > 100


async def test_a_job_that_no_provider_took_costs_nothing(engine: Engine) -> None:
    end = end_of(await engine.answer({"fail": {"status": 401}}, model="dear/echo"))
    assert (end["status"], end.get("usage")) == ("failed", None)


async def test_failed_requests_are_in_the_sum(engine: Engine) -> None:
    cut = {"kind": "cut", "after": 2, "times": 1}
    job = await engine.submit({"n": 8, "usage": COUNTED, "fail": cut}, model="dear/echo")
    await engine.run(job)
    end = end_of(await engine.events(job))
    assert end["status"] == "completed"
    assert end["usage"]["estimated"] is True
    assert end["usage"]["cost"] > 70
    assert await spent(engine) == {"dear/echo": (2, end["usage"]["cost"])}


async def test_a_parked_job_forgets_nothing(engine: Engine) -> None:
    cut = {"kind": "error", "status": 429, "retry_after": 3.1, "after": 2, "times": 1}
    job = await engine.submit({"n": 8, "usage": COUNTED, "fail": cut}, model="dear/echo")
    assert (await engine.run(job)).reason == "parked"
    (first,) = noted(engine, job.job_id)
    assert (first.requests, await rows(engine)) == (1, [])
    assert first.usage.cost
    post = KeptPost()
    await engine.service.serve(post)
    async with asyncio.timeout(30):
        await post.sent.get()
    await engine.run(job)
    assert await spent(engine) == {"dear/echo": (2, first.usage.cost + 70)}


@pytest.mark.parametrize("dies", [True, False], ids=["dies", "hands over"])
async def test_an_earlier_workers_part_is_in_the_sum(make_engine: MakeEngine, dies: bool) -> None:
    faster = PROFILES["slow"] | {"options": {"rate": 0}}
    first = await make_engine(profiles=PROFILES)
    second = await make_engine(profiles=PROFILES | {"slow": faster})
    job = await first.submit({"n": 100, "usage": COUNTED}, model="slow/echo", params={"max_tokens": 100})
    running = asyncio.create_task(first.run(job))
    await first.said(job)
    if dies:
        await first.service.close()
        second.client.hdel(second.ledger.keys.job("s1", job.job_id), "holder")  # as a sweep
    else:
        await first.service.drain(0)
    await running
    assert (await second.run(job)).status is Status.COMPLETED
    events = await second.events(job)
    assert text_of(events) == "".join(f" w{n}" for n in range(100))
    usage = end_of(events)["usage"]
    assert usage["estimated"] is True
    assert usage["cost"] > 70
    assert [requests for requests, _ in (await spent(second)).values()] == [2]


async def test_rounds_are_counted_once(engine: Engine) -> None:
    rounds = {
        "rounds": [{"tool_calls": [{"name": "nobody"}], "usage": COUNTED}, {"text": "x", "usage": COUNTED}]
    }
    results: list[dict[str, Any]] = []
    job = await engine.submit(rounds, model="dear/echo", tools=[{"name": "nobody"}])
    await engine.run(job)
    results.append(end_of(await engine.events(job))["usage"])
    truncated = {"n": 10, "usage": COUNTED}
    job = await engine.submit(
        truncated, model="dear/echo", params={"max_tokens": 4}, complete=True, session_id="s1"
    )
    await engine.run(job)
    results.append(end_of(await engine.events(job))["usage"])
    assert [usage["cost"] for usage in results] == [70, 210]
    assert await spent(engine) == {"dear/echo": (4, 280)}


async def test_a_day_adds_up_whatever_became_of_the_jobs(engine: Engine) -> None:
    counted = {"n": 4, "usage": COUNTED}
    for _ in range(2):
        await engine.answer(counted, model="dear/echo", tenant="acme", cache=True, history=[])
    await engine.answer({"fail": {"status": 401}}, model="dear/echo", tenant="acme")
    await engine.answer(counted, model="unknown/echo", tenant="acme")
    job = await engine.submit("hello", model="silent/m", session_id="s2")
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    await engine.ledger.cancel("s2", job.job_id)
    await running
    day = await rows(engine)
    told = [(row.tenant, row.model, row.jobs, row.requests, row.hits, row.cost) for row in day]
    assert told == [
        (None, "silent/m", 1, 1, 0, 3),
        ("acme", "dear/echo", 2, 1, 1, 70),
        ("acme", "unknown/echo", 1, 1, 0, None),
    ]
    assert [row.estimated for row in day] == [1, 0, 0]
    assert day[1].input_tokens == COUNTED["input_tokens"]
