"""Tenants, profiles that cost money, and a worker whose lines wait for it."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, cast

from palaver.shared.messages import Message, Role
from palaver.shared.profiles import Profile
from palaver.shared.tenants import Tenant, Tenants
from palaver.workers.accounts import Account
from palaver.workers.budgets import Budgets
from palaver.workers.lent_slots import LentSlots
from palaver.workers.policies import Ask, wrapped
from palaver.workers.providers import Asker, GenerationRequest, Provider, Sink
from tests.integration.workers.conftest import Engine
from tests.integration.workers.test_costs import A_DOLLAR, COUNTED, SCRIPTED

TENANTS = {
    "acme": {"spend_soft": 100, "spend_hard": 200},
    "small": {"spend_hard": 70},
    "middle": {"spend_hard": 140},
}
PROFILES: dict[str, dict[str, Any]] = {
    "dear": {**SCRIPTED, "prices": {"*": A_DOLLAR}},
    "other": {**SCRIPTED, "prices": {"*": A_DOLLAR}},
}
SEVENTY = {"n": 4, "usage": COUNTED}
"""A script that costs seventy dollars."""
FEW, MANY = {"max_tokens": 5}, {"max_tokens": 40}
HOLD = {"n": 2, "fail": {"kind": "idle", "after": 1}}
"""An answer that ends only when its job does."""


async def answered(engine: Engine, tenant: str | None = "acme", **fields: Any) -> list[dict[str, Any]]:
    """The events of a job that would cost seventy dollars, once what it cost is known to everybody. It is
    expected to cost no more than that.
    """
    fields = {"model": "dear/echo", "session_id": None, "tenant": tenant, "params": FEW} | fields
    events = await engine.answer(fields.pop("messages", SEVENTY), **fields)
    await engine.service._bounding.budgets.told()
    return events


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


async def turn(engine: Engine) -> None:
    """Return when what was begun has asked the ledger, and has its answer."""
    for _ in range(5):
        await engine.service._link.caught_up()


def another_account(engine: Engine) -> Account:
    """Of acme, as another worker keeps it."""
    return Account(engine.service._link, engine.ledger.keys, "acme", worker="w2", numbers=itertools.count(1))
