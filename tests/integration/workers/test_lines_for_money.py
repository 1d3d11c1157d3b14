"""Lines of a worker that wait for their tenant's money, beside jobs of others: somebody always goes on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from palaver.shared.ledger.operations.budgeting import OneMore
from palaver.shared.ledger.operations.spending import NANO
from palaver.workers import accounts
from palaver.workers.accounts import Account
from palaver.workers.stop import Park, Unasked
from tests.integration.workers.conftest import Engine
from tests.integration.workers.money import Worker, another_account, turn

pytestmark = pytest.mark.redis

ALL = OneMore(nanos=10 * NANO, hard=10)


@pytest.fixture
async def worker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr("palaver.workers.accounts.LOOK_SECONDS", 0.3)
    worker = Worker(engine)
    yield worker
    await worker.budgets.aclose()


@pytest.fixture
def other(engine: Engine) -> Account:
    return another_account(engine)


async def test_whoever_comes_when_the_first_has_taken_its_money_stops_nobody(
    engine: Engine, worker: Worker, other: Account
) -> None:
    job = OneMore(nanos=10 * NANO, hard=10, who="s/job")
    assert (await other.reserve(ALL)).may_run
    assert (await other.look(job, waits=True)).is_first
    lines = [worker.line("l2")]
    await turn(engine)
    other.release(ALL.nanos)
    assert (await other.reserve(job)).may_run
    lines.append(worker.line("l1"))
    await turn(engine)
    other.release(ALL.nanos)
    await other.keep()
    async with asyncio.timeout(10):
        await asyncio.gather(*lines)


async def test_who_has_room_and_loses_it_at_the_gate_looks_again(
    engine: Engine, worker: Worker, other: Account
) -> None:
    """Money is kept for it, and another one of its worker looks for those that wait in line."""
    assert (await other.reserve(ALL)).may_run
    first = worker.line("l1")
    await turn(engine)
    worker.gate.clear()
    other.release(ALL.nanos)
    await other.keep()
    async with asyncio.timeout(10):
        await worker.told_one.wait()
    second = worker.line("l2")
    await turn(engine)
    assert (await other.reserve(OneMore(nanos=10 * NANO, hard=None))).may_run, "it knows of no limit yet"
    worker.gate.set()
    await turn(engine)
    other.release(ALL.nanos)
    await other.keep()
    async with asyncio.timeout(10):
        await asyncio.gather(first, second)
    assert worker.told == ["l1", "l1", "l2"]


async def test_lines_that_lose_their_room_put_no_job_off(
    engine: Engine, worker: Worker, other: Account
) -> None:
    assert (await other.reserve(ALL)).may_run
    waiting = worker.line("first")
    await turn(engine)
    for n in range(20):
        with pytest.raises(Unasked):
            await worker.about_to_ask(f"l{n}")
    with pytest.raises(Park) as parked:
        await worker.job("j")
    assert parked.value.seconds == pytest.approx(accounts.LOOK_SECONDS)
    other.release(ALL.nanos)
    await other.keep()
    async with asyncio.timeout(10):
        await waiting


async def test_who_is_first_hears_soon_of_what_other_workers_release(
    engine: Engine, worker: Worker, other: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks more often than those for whom nothing is kept."""
    monkeypatch.setattr("palaver.workers.accounts.FIRST_SECONDS", 0.1)
    monkeypatch.setattr("palaver.workers.accounts.LOOK_SECONDS", 60)
    assert (await other.reserve(ALL)).may_run
    line = worker.line("l1")
    await turn(engine)
    other.release(ALL.nanos)
    await other.keep()
    async with asyncio.timeout(10):
        await line
