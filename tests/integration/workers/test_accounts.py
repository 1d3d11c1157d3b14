"""What a worker tells of its tenants' money, where words are lost, late or of another month."""

import asyncio
import itertools
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from palaver.shared.errors import LedgerFullError, QueueFullError
from palaver.shared.ledger import AsyncLedger, Command, Query, operations
from palaver.shared.ledger.operations.budgeting import OneMore, Standing
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.spending import today
from palaver.workers.accounts import AGAIN_SECONDS, Account
from palaver.workers.link import Link
from tests.integration.workers.conftest import Engine, MakeEngine
from tests.integration.workers.money import FEW, PROFILES, TENANTS, answered
from tests.integration.workers.test_engine import end_of

pytestmark = pytest.mark.redis


SEVENTY = OneMore(nanos=70 * NANO, hard=200)
NOTHING = OneMore(nanos=0, hard=200)


class Clock:
    """That of an account."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: str) -> None:
        self.now = datetime.fromisoformat(now)
        monkeypatch.setattr(
            "palaver.workers.accounts.today",
            lambda ahead=0.0: (self.now + timedelta(seconds=ahead)).date(),
        )


@pytest.fixture
def ledger(engine: Engine) -> AsyncLedger:
    return engine.service.ledger


@pytest.fixture
def link(engine: Engine) -> Link:
    return engine.service._link


@pytest.fixture
def account(link: Link, ledger: AsyncLedger) -> Account:
    return Account(link, ledger.keys, "acme", worker="w", numbers=itertools.count(1))


async def test_what_was_asked_for_one_who_is_cancelled_may_come_last(
    ledger: AsyncLedger, link: Link, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that Redis has forgotten is sent again behind others: that is then set aside for nobody."""
    run, asked, late = link.run, asyncio.Event(), list[Any]()

    async def hang(operation: Any) -> Any:
        late.append(operation)
        asked.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(link, "run", hang)
        reserving = asyncio.create_task(account.reserve(SEVENTY))
        await asked.wait()
        reserving.cancel()
    await account.keep()
    await run(late[0])
    held = Command("HLEN", f"{ledger.keys.spent(today(), 'acme')}:held")
    assert await ledger.query(Query(commands=(held,), decode=lambda replies: replies[0])) == 0


async def test_what_was_spent_is_set_aside_while_an_addition_before_it_is_said_again(
    ledger: AsyncLedger, link: Link, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = link.run

    async def cut(operation: Any) -> Any:
        await run(operation)
        raise QueueFullError("a failure of any kind")

    assert (await account.reserve(SEVENTY)).may_run
    account.owe(10 * NANO)
    with monkeypatch.context() as patch:
        patch.setattr(link, "run", cut)
        with pytest.raises(QueueFullError):
            await account.look(NOTHING)
    account.release(70 * NANO)
    account.owe(70 * NANO)
    assert await account.look(NOTHING) == Standing(10, 70, may_run=True)
    assert await account.look(NOTHING) == Standing(80, 0, may_run=True)


async def test_what_the_ledger_has_refused_is_told_soon_again_while_others_run(
    ledger: AsyncLedger, link: Link, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, refused = link.run, asyncio.Event()

    async def refuse_one(operation: Any) -> Any:
        if refused.is_set():
            return await run(operation)
        refused.set()
        raise LedgerFullError

    monkeypatch.setattr("palaver.workers.accounts.PAUSE_SECONDS", 0.01)
    assert (await account.reserve(SEVENTY)).may_run
    monkeypatch.setattr(link, "run", refuse_one)
    account.owe(10 * NANO)
    account.hurry()
    keeping = asyncio.create_task(account.keep())
    async with asyncio.timeout(10):
        while await ledger.query(operations.spent_in_month(ledger.keys, today(), "acme")) != 10:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    keeping.cancel()


async def test_a_month_is_judged_by_itself_while_the_one_before_is_not_told(
    ledger: AsyncLedger, link: Link, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, "2026-11-30T12:00:00+00:00")

    async def lose(_operation: Any) -> Any:
        raise QueueFullError("a failure of any kind")

    account.owe(200 * NANO)
    with monkeypatch.context() as patch:
        patch.setattr(link, "run", lose)
        with pytest.raises(QueueFullError):
            await account.reserve(SEVENTY)
    clock.now += timedelta(days=1)
    assert await account.reserve(SEVENTY) == Standing(0, 70, may_run=True)
    old = operations.spent_in_month(ledger.keys, date(2026, 11, 1), "acme")
    assert await ledger.query(old) == 200


@pytest.mark.parametrize(("released", "held"), [(False, 70), (True, 0)])
async def test_a_month_knows_from_its_first_moment_of_what_was_set_aside_before(
    ledger: AsyncLedger,
    link: Link,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    released: bool,
    held: int,
) -> None:
    clock = Clock(monkeypatch, "2026-12-31T12:00:00+00:00")
    assert (await account.reserve(SEVENTY)).may_run
    clock.now += timedelta(hours=12, seconds=-AGAIN_SECONDS)
    await account.look(NOTHING)  # as it does this often
    if released:
        account.release(SEVENTY.nanos)
        await account.keep()
    clock.now += timedelta(seconds=AGAIN_SECONDS)
    other = Account(link, ledger.keys, "acme", worker="other", numbers=itertools.count(1))
    assert await other.look(OneMore(nanos=140 * NANO, hard=200)) == Standing(0, held, may_run=released)


async def test_the_next_month_is_told_again_what_it_could_not_be_told(
    ledger: AsyncLedger, link: Link, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, "2026-12-31T23:59:30+00:00")
    assert (await account.reserve(SEVENTY)).may_run
    run, refused = link.run, list[Any]()

    async def refuse_one(operation: Any) -> Any:
        if operation.keys == (ledger.keys.spent(date(2027, 1, 1), "acme"),) and not refused:
            refused.append(operation)
            raise LedgerFullError
        return await run(operation)

    monkeypatch.setattr("palaver.workers.accounts.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(link, "run", refuse_one)
    account.release(SEVENTY.nanos)
    await account.keep()
    assert refused
    clock.now += timedelta(seconds=40)
    other = Account(link, ledger.keys, "acme", worker="other", numbers=itertools.count(1))
    assert await other.look(OneMore(nanos=140 * NANO, hard=200)) == Standing(0, 0, may_run=True)


async def test_what_the_ledger_refuses_is_no_failure_of_the_provider(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its breaker stays closed, however often that happens."""
    engine = await make_engine(profiles=PROFILES, tenants=TENANTS)
    ledger, link = engine.service.ledger, engine.service._link
    run = link.run

    async def full(operation: Any) -> Any:
        if operation.keys == (ledger.keys.spent(today(), "acme"),) and "take" in operation.args:
            raise LedgerFullError
        return await run(operation)

    with monkeypatch.context() as patch:
        patch.setattr(link, "run", full)
        for n in range(12):
            events = await engine.answer("hi", model="dear/echo", tenant="acme", params=FEW, max_retries=0)
            assert end_of(events)["error"]["type"] == "LedgerFullError", n
    assert end_of(await answered(engine, session_id="s"))["status"] == "completed"
