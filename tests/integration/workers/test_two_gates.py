"""A tenant that may have few of its jobs run, at a profile that answers few at once: whoever waits at one of
the two gates has no place at the other.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import operations
from palaver.shared.profiles import Limits
from tests.integration.workers.conftest import Engine, MakeEngine, completed, stand
from tests.integration.workers.test_batches import HASTE, drive, open_batch_on
from tests.integration.workers.test_engine import end_of
from tests.model_server import ModelServer

pytestmark = pytest.mark.redis

HOLD = {"n": 2, "fail": {"kind": "idle", "after": 1}}
"""An answer that ends only when its job does."""


@pytest.fixture
async def engine(make_engine: MakeEngine, server: ModelServer, tmp_path: Path) -> Engine:
    """One place at `http`, one at `weak`, which one failure closes for a moment, and one for `acme`."""
    http = {"kind": "openai", "base_url": server.openai_url}
    return await make_engine(
        profiles={
            "http": {**http, "limits": {"concurrent": 1}},
            "weak": {**http, "limits": {"concurrent": 1}, "breaker": {"failures": 1, "pause": 0.05}},
            "spare": http,
        },
        tenants={"acme": {"running": 1}},
        agents="tests.integration.workers.user_agents",
        files_url=f"file://{tmp_path}/files",
        **HASTE,
    )


async def hold(engine: Engine, **fields: Any) -> tuple[ChatJob, "asyncio.Task[Any]"]:
    """A job that has its places until it is cancelled."""
    job = await engine.submit(HOLD, **fields)
    running = asyncio.create_task(engine.run(job))
    await engine.said(job)
    return job, running


async def cancel(engine: Engine, held: tuple[ChatJob, "asyncio.Task[Any]"]) -> None:
    job, running = held
    await engine.ledger.cancel(job.session_id or "", job.job_id)
    await running


async def test_a_line_an_agent_and_a_job_of_one_tenant_all_end(engine: Engine, server: ModelServer) -> None:
    first = await hold(engine, model="http/m", session_id="a")
    batch = await open_batch_on(engine)([{"n": 2}] * 2, model="http/m", tenant="acme")
    driving = asyncio.create_task(drive(engine, batch))
    await stand(engine, "http", running=1, waiting=1)
    await stand(engine, "tenant/acme", running=0, waiting=0)  # its line waits at its provider
    agent = await engine.submit({"n": 2}, model="http/m", session_id="b", tenant="acme", agent="asking")
    engine.service.slots = 4
    asking = asyncio.create_task(engine.run(agent))
    await stand(engine, "http", running=1, waiting=2)
    job = await engine.submit({"n": 2}, model="http/m", session_id="c", tenant="acme")
    doing = asyncio.create_task(completed(engine, job))
    await stand(engine, "http", running=1, waiting=3)
    await cancel(engine, first)
    async with asyncio.timeout(20):
        assert (await asking).status is Status.COMPLETED
        assert await driving == "completed"
        await doing
    assert server.stats()["max_open"] == 1


async def test_an_agent_that_is_cancelled_while_its_request_waits_leaves_its_tenants_place(
    engine: Engine,
) -> None:
    """What it had given away for that time it does not want again: its request ends after it."""
    first = await hold(engine, model="http/m", session_id="a")
    engine.service.slots = 4
    agent = await engine.submit({"n": 2}, model="http/m", session_id="b", tenant="acme", agent="asking")
    asking = asyncio.create_task(engine.run(agent))
    await stand(engine, "http", running=1, waiting=1)
    await stand(engine, "tenant/acme", running=0, waiting=0)
    await cancel(engine, (agent, asking))
    await stand(engine, "http", running=1, waiting=0)
    job = await engine.submit({"n": 2}, model="spare/m", session_id="c", tenant="acme")
    assert (await engine.run(job)).status is Status.COMPLETED
    await stand(engine, "tenant/acme", running=0, waiting=0)
    await cancel(engine, first)


async def test_a_line_whose_tenant_is_full_leaves_its_provider_to_others(
    engine: Engine, server: ModelServer
) -> None:
    first = await hold(engine, model="http/m", session_id="a")
    batch = await open_batch_on(engine)([{"n": 2}] * 2, model="http/m", tenant="acme")
    driving = asyncio.create_task(drive(engine, batch))
    await stand(engine, "http", running=1, waiting=1)
    await stand(engine, "tenant/acme", running=0, waiting=0)  # its line waits at its provider
    second = await hold(engine, model="spare/m", session_id="b", tenant="acme")
    await cancel(engine, first)
    await stand(engine, "tenant/acme", running=1, waiting=1)
    other = await engine.submit({"n": 2}, model="http/m", session_id="c", tenant="other")
    await completed(engine, other)
    await cancel(engine, second)
    assert await driving == "completed"


async def test_nobody_who_waits_keeps_others_from_finding_out_that_a_provider_answers_again(
    engine: Engine,
) -> None:
    broken = await engine.answer({"fail": {"status": 500}}, model="weak/m", session_id="a", max_retries=0)
    assert end_of(broken)["error"]["type"] == "ServerError"
    keys, elsewhere = engine.ledger.keys, ("s", "in another worker")
    entering = operations.enter_gate(
        keys,
        "weak",
        elsewhere,
        token="t",
        line=operations.Line(),
        limits=Limits(concurrent=1),
        lease=60.0,
    )
    assert (await engine.ledger.run(entering)).has_place
    batch = await open_batch_on(engine)([{"n": 2}], model="weak/m", tenant="acme")
    driving = asyncio.create_task(drive(engine, batch))
    await stand(engine, "weak", running=1, waiting=1)
    await stand(engine, "tenant/acme", running=0, waiting=0)  # its line waits at its provider
    second = await hold(engine, model="spare/m", session_id="b", tenant="acme")
    await engine.ledger.run(operations.leave_gate(keys, "weak", elsewhere, token="t"))
    await stand(engine, "tenant/acme", running=1, waiting=1)  # and now for its tenant
    other = await engine.answer({"n": 2}, model="weak/m", session_id="c", tenant="other", max_retries=0)
    assert end_of(other)["status"] == "completed"
    await cancel(engine, second)
    assert await driving == "completed"
