"""Lines of a worker that wait for their tenant's money, beside jobs of others: somebody always goes on."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from palaver.shared.ledger.operations.budgeting import OneMore
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.messages import Message, Role
from palaver.shared.profiles import Profile
from palaver.shared.tenants import Tenant, Tenants
from palaver.workers import accounts
from palaver.workers.accounts import Account
from palaver.workers.budgets import Budgets
from palaver.workers.lent_slots import LentSlots
from palaver.workers.policies import Ask, wrapped
from palaver.workers.providers import Asker, GenerationRequest, Provider, Sink
from palaver.workers.stop import Park, Unasked
from tests.integration.workers.conftest import Engine

pytestmark = pytest.mark.redis

ALL = OneMore(nanos=10 * NANO, hard=10)


class Free:
    """A provider whose requests are expected to cost ten dollars, one for each token, and cost nothing."""

    profile = Profile(name="free", kind="scripted")
    default_max_tokens = 10

    async def of(self, *_: object) -> Callable[..., float]:
        return lambda usage, _: float(usage.output_tokens)

    async def answer(self, *_: object) -> None:
        """Nothing, at once."""


class Limits:
    """What acme may spend, which may change."""

    def __init__(self) -> None:
        self.tenants = Tenants({"acme": {"spend_hard": 10}})

    def of(self, tenant: str | None) -> Tenant:
        return self.tenants.of(tenant)


class Worker:
    """The lines of a worker; `gate` is what each waits for when it has room, `told` names who came there."""

    def __init__(self, engine: Engine) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.told: list[str] = []
        self.told_one = asyncio.Event()
        self._limits = Limits()
        self.budgets = Budgets(
            engine.service._link,
            engine.ledger.keys,
            cast("Any", self._limits),
            cast("Any", Free()),
            lent=LentSlots(lambda: 1),
            worker="w1",
        )
        self._ask = wrapped([self.budgets.room, self._wait, self.budgets.reserve])

    def limit(self, dollars: float | None) -> None:
        """So much acme may spend from now on; None: as it likes."""
        self._limits.tenants = Tenants({} if dollars is None else {"acme": {"spend_hard": dollars}})

    def line(self, name: str) -> "asyncio.Task[None]":
        return self._begin(self._ask, name, is_line=True)

    def job(self, name: str) -> "asyncio.Task[None]":
        return self._begin(self._ask, name, is_line=False)

    def about_to_ask(self, name: str) -> "asyncio.Task[None]":
        """A line that has all its places."""
        return self._begin(wrapped([self.budgets.reserve]), name, is_line=True)

    def _begin(self, ask: Ask, name: str, *, is_line: bool) -> "asyncio.Task[None]":
        asker = Asker(session_id="s", job_id=name, tenant="acme", is_line=is_line)
        request = GenerationRequest(model="m", messages=[Message(role=Role.USER, content="Hi")], asker=asker)
        asking: Any = ask(cast("Any", Free()), request, cast("Any", None))
        return asyncio.create_task(asking)

    async def _wait(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        assert request.asker is not None
        self.told.append(request.asker.job_id)
        self.told_one.set()
        await self.gate.wait()
        await ask(provider, request, sink)


@pytest.fixture
async def worker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr("palaver.workers.accounts.LOOK_SECONDS", 0.3)
    worker = Worker(engine)
    yield worker
    await worker.budgets.aclose()


@pytest.fixture
def other(engine: Engine) -> Account:
    """That of another worker."""
    return Account(engine.service._link, engine.ledger.keys, "acme", worker="w2", numbers=itertools.count(1))


async def turn(engine: Engine) -> None:
    """Return when what was begun has asked the ledger, and has its answer."""
    for _ in range(5):
        await engine.service._link.caught_up()


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
