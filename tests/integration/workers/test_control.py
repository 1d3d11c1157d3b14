"""What operators tell workers on the channel of control."""

import asyncio

import pytest

from palaver.shared.ledger import operations
from tests.integration.workers.conftest import MakeEngine

pytestmark = pytest.mark.redis


async def test_a_worker_that_is_drained_leaves_once_and_takes_no_more_jobs(make_engine: MakeEngine) -> None:
    engine, other = await make_engine(), await make_engine()
    ledger, alias = engine.ledger, engine.service.alias
    for _ in range(3):  # as often as it is told, it leaves no sooner
        await ledger.query(operations.drain_notice(ledger.keys, alias, by="ann@desk"))
    async with asyncio.timeout(20):
        while not any(worker.data["draining"] for worker in await ledger.workers()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert {worker.name: worker.data["draining"] for worker in await ledger.workers()} == {
        alias: True,
        other.service.alias: False,
    }
    job = await engine.submit("hello")
    outcome = await engine.run(job)
    assert (outcome.reason, outcome.dispatch and outcome.dispatch.job_id) == ("draining", job.job_id)
    assert (await other.run(job)).status == "completed"
    assert engine.host.asked == ["leave"]


@pytest.mark.parametrize(
    "notice", [b"no JSON", b"[]", b"{}", b'{"type": "drain"}', b'{"type": "drain", "worker": 1, "by": 2}']
)
async def test_nonsense_drains_nobody(make_engine: MakeEngine, notice: bytes) -> None:
    engine = await make_engine()
    engine.client.publish(engine.ledger.keys.control, notice)
    assert (await engine.run(await engine.submit("hello"))).status == "completed"
