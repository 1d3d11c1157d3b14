"""Limits of spending that change while requests wait for their tenant's money, or are about to be made."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from palaver.shared.errors import SpendLimitError
from palaver.shared.ledger import Command, Query, operations
from palaver.shared.ledger.operations.budgeting import OneMore
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.profiles import Catalog
from palaver.shared.spending import today
from palaver.workers.accounts import Account
from tests.integration.workers.conftest import Engine, MakeEngine, stand
from tests.integration.workers.money import FEW, HOLD, MANY, PROFILES, SEVENTY, Worker, another_account, turn
from tests.integration.workers.test_batches import drive, open_batch_on

pytestmark = pytest.mark.redis

TEN = OneMore(nanos=10 * NANO, hard=100)


@pytest.fixture
async def worker(engine: Engine) -> AsyncIterator[Worker]:
    worker = Worker(engine)
    yield worker
    await worker.budgets.aclose()


@pytest.fixture
def other(engine: Engine) -> Account:
    return another_account(engine)


async def somebody_waits(engine: Engine) -> None:
    """Return when acme's money is kept for one that waits for it."""
    first = Command("EXISTS", f"{engine.ledger.keys.spent(today(), 'acme')}:first")
    async with asyncio.timeout(20):
        while not await engine.ledger.query(Query(commands=(first,), decode=lambda replies: replies[0])):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def limit(engine: Engine, file: Path, dollars: float) -> None:
    file.write_text(f"[tenants.acme]\nspend_hard = {dollars}\n")
    engine.service._bounding.tenancy.renew()


async def test_lines_that_wait_go_on_when_the_limit_is_raised(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    file = tmp_path / "palaver.toml"
    file.write_text("")
    engine = await make_engine(profiles=PROFILES, config=str(file), files_url=f"file://{tmp_path}/files")
    limit(engine, file, 70)
    holding = await engine.submit(HOLD, model="dear/echo", tenant="acme", session_id="h", params=MANY)
    held = asyncio.create_task(engine.run(holding))
    await engine.said(holding)
    batch = await open_batch_on(engine)(
        [SEVENTY], tenant="acme", window=1, model="dear/echo", each={"params": FEW}
    )
    driven = asyncio.create_task(drive(engine, batch))
    await somebody_waits(engine)
    limit(engine, file, 1000)
    async with asyncio.timeout(20):
        assert await driven == "completed"
    assert (await engine.ledger.batch(batch.batch_id)).counts.completed == 1
    engine.service.end(holding.job_id)
    await held


@pytest.mark.parametrize("before", [20, None])
async def test_who_finds_a_lower_limit_behind_the_gates_waits_for_room_below_that(
    engine: Engine, worker: Worker, other: Account, before: float | None
) -> None:
    """And does not come to the gates again and again meanwhile. So does a line that came without a limit."""
    worker.limit(before)
    assert (await other.reserve(TEN)).may_run
    worker.gate.clear()
    line = worker.line("l1")
    async with asyncio.timeout(10):
        await worker.told_one.wait()
    worker.limit(15)
    worker.gate.set()
    for _ in range(10):
        await turn(engine)
    assert worker.told == ["l1"]
    other.release(TEN.nanos)
    await other.keep()
    async with asyncio.timeout(10):
        await line
    assert worker.told == ["l1", "l1"]


async def test_who_is_refused_by_a_limit_that_came_while_it_asked_has_nothing_set_aside(
    engine: Engine, worker: Worker, other: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = engine.service._link
    run = link.run

    async def lower(operation: Any) -> Any:
        reply = await run(operation)
        worker.limit(0)
        return reply

    with monkeypatch.context() as patch:
        patch.setattr(link, "run", lower)
        with pytest.raises(SpendLimitError):
            await worker.about_to_ask("l1")
    async with asyncio.timeout(10):
        await worker.budgets.told()
    assert (await other.look(TEN)).held == 0


# At gates


async def held_and_a_line(engine: Engine, gate: str) -> "asyncio.Task[str]":
    """A job has a gate's only place for as long as it runs; the drive of a batch whose line waits there."""
    holding = await engine.submit(HOLD, model="scripted/echo", tenant="acme", session_id="h")
    running = asyncio.create_task(engine.run(holding))
    await engine.said(holding)
    batch = await open_batch_on(engine)(["hi"], tenant="acme", model="scripted/echo")
    driving = asyncio.create_task(drive(engine, batch))
    await stand(engine, gate, running=1, waiting=1)
    assert not running.done()
    return driving


async def ends(driving: "asyncio.Task[str]") -> None:
    async with asyncio.timeout(20):
        assert await driving == "completed"


async def test_a_line_waits_for_as_much_room_as_its_tenant_has_now(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    file = tmp_path / "palaver.toml"
    file.write_text("[tenants.acme]\nrunning = 1\n")
    engine = await make_engine(config=str(file), files_url=f"file://{tmp_path}/files")
    driving = await held_and_a_line(engine, operations.tenant_gate("acme"))
    file.write_text("[tenants.acme]\nrunning = 2\n")
    assert engine.service._bounding.tenancy.renew()
    await ends(driving)


async def test_a_line_waits_at_a_profile_by_the_limits_of_now(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    def catalog(concurrent: int) -> dict[str, Any]:
        return {"scripted": {"kind": "scripted", "limits": {"concurrent": concurrent}}}

    engine = await make_engine(profiles=catalog(1), files_url=f"file://{tmp_path}/files")
    driving = await held_and_a_line(engine, "scripted")
    engine.service._served._catalog = Catalog.of(catalog(2))  # as if its file had been written
    await ends(driving)
