"""What tenants spend: nothing is asked for one that has spent what it may in this month, and one that has
spent much is warned.

What a request may cost is set aside in the ledger before it is made, and what it has cost is told there when
it is over; so all workers know of all of it. One is made only if it has room below the limit, so a tenant is
beyond that by what requests cost more than was expected of them, and by nothing else.

Two policies, with the gates between them. `room` has a request wait while what runs may take the rest of its
tenant's money, and refuses one that has no room without that; `reserve` sets aside what it may cost, when it
has all its places and is about to be made. So nothing is set aside for what waits, and nobody who has
something set aside waits for others.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import ExitStack
from typing import Final

from palaver.shared.errors import SpendLimitError
from palaver.shared.ledger import AsyncLedger
from palaver.shared.ledger.operations.budgeting import Standing
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import Usage
from palaver.shared.spending import MonthlySpending, today
from palaver.workers.accounts import Account, Accounts
from palaver.workers.event_log import event_logger
from palaver.workers.lent_slots import LentSlots
from palaver.workers.metering import expected
from palaver.workers.policies import Ask
from palaver.workers.prices import Prices
from palaver.workers.providers import Asker, GenerationRequest, Provider, Sink, WarningPart
from palaver.workers.stop import Park, Unasked
from palaver.workers.tenancy import Tenancy

__all__ = ["Budgets"]

logger = event_logger("palaver.workers.budgets")

CLOSE_SECONDS: Final = 2.0
MOST_TOLD: Final = 10_000
"""So much news is remembered; what comes then may be told once more."""


class Budgets:
    """See the module; and who hears what requests have cost. One per process; `worker` is the name of this
    one life of it.
    """

    def __init__(
        self, ledger: AsyncLedger, tenancy: Tenancy, prices: Prices, *, lent: LentSlots, worker: str
    ) -> None:
        self._tenancy = tenancy
        self._prices = prices
        self._lent_slots = lent
        self._accounts = Accounts(ledger, worker=worker)
        self._told_in = ""
        self._told: set[tuple[str, ...]] = set()  # of that month

    def room(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> Awaitable[None]:
        """A policy, see `Policy`. Raises SpendLimitError, and Park for a job that is to wait."""
        tenant = _tenant_of(request)
        hard = self._tenancy.of(tenant).spend_hard
        if hard is None:
            return ask(provider, request, sink)
        return self._ask_with_room(tenant, ask, provider, request, sink)

    def reserve(
        self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> Awaitable[None]:
        """A policy, see `Policy`: the one next to the provider. Raises SpendLimitError."""
        if not self._tenancy.of(_tenant_of(request)).limits_spending:
            return ask(provider, request, sink)
        return self._ask_within(ask, provider, request, sink)

    def spent(self, tenant: str | None, _ref: ModelRef, usage: Usage) -> None:
        """A request for this tenant is over."""
        nanos = round((usage.cost or 0) * NANO)
        if not nanos:
            return
        account = self._accounts.of(tenant or "")
        account.owe(nanos)
        if self._tenancy.of(tenant).limits_spending:
            account.hurry()
        self._accounts.keep(account)

    async def told(self, seconds: float | None = None) -> None:
        """Return when the ledger knows what was spent, or after so long."""
        await self._accounts.told(seconds)

    async def aclose(self) -> None:
        """What is not said yet is, if the ledger answers at once."""
        await self.told(CLOSE_SECONDS)

    async def _ask_with_room(
        self, tenant: str, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> None:
        nanos, account = await self._may_cost(provider, request) or 0, self._accounts.of(tenant)
        while True:
            await self._wait_for_room(tenant, account, nanos, request.asker)
            try:
                return await ask(provider, request, sink)
            except Unasked:
                continue  # another one has taken it, while this one waited for its places

    async def _wait_for_room(self, tenant: str, account: Account, nanos: int, asker: Asker | None) -> None:
        """Return when the tenant has so much money left that nothing is to take which runs."""
        if await self._has_room(tenant, account, nanos):
            return
        with ExitStack() as slot:
            if asker is not None and not self._waits_here(asker, slot):
                raise Park(self._accounts.next_try(account))
            async with account.first_in_line():
                while not await self._has_room(tenant, account, nanos):
                    await account.change()

    async def _has_room(self, tenant: str, account: Account, nanos: int) -> bool:
        """Raises SpendLimitError where it will have none in this month."""
        standing = await account.look(nanos, self._tenancy.of(tenant).spend_hard)
        month = self._month(tenant, standing)
        if not month.has_room_for(nanos / NANO):
            raise month.error(nanos / NANO)
        return standing.may_run

    def _waits_here(self, asker: Asker, slot: ExitStack) -> bool:
        """Whether it waits in its worker, with the `slot` of its job lent, if it has one. What an agent has
        begun is not done again for want of a slot.
        """
        if not asker.in_code:
            return asker.is_line
        job = (asker.session_id, asker.job_id)
        if not self._lent_slots.lend(job, asker.tenant):
            return asker.goes_on
        slot.callback(self._lent_slots.take_back, job, asker.tenant)
        return True

    async def _ask_within(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        tenant = _tenant_of(request)
        cost, account = await self._may_cost(provider, request), self._accounts.of(tenant)
        nanos = cost or 0
        try:
            standing = await account.reserve(nanos, self._tenancy.of(tenant).spend_hard)
        finally:
            self._accounts.keep(account)
        month = self._month(tenant, standing)
        if not standing.may_run:
            raise Unasked(account.next_try())
        try:
            if month.is_much:
                self._tell("tenant.spends_much", month)
                sink.take([WarningPart("spend_soft", f"{month.told}, more than {month.soft:g}.")])
            if cost is None:
                self._tell_unpriced(provider, request, sink)
            await ask(provider, request, sink)
        finally:
            account.release(nanos)

    async def _may_cost(self, provider: Provider, request: GenerationRequest) -> int | None:
        """Billionths of a dollar; None if no price is known. Raises SpendLimitError for a tenant that may
        spend nothing that is not counted.
        """
        model, tenant = request.model, _tenant_of(request)
        price = await self._prices.of(provider, model)
        cost = price(expected(request, provider.profile.context_of(model)), None)
        if cost is not None:
            return round(cost * NANO)
        if self._tenancy.of(tenant).refuses_unpriced:
            told = f"{_unpriced(provider, request)}, and the tenant {tenant!r} has a limit of spending."
            todo = 'It needs a price in the `prices` of its profile, or the tenant spend_unpriced = "warn".'
            raise SpendLimitError(f"{told} {todo}")
        return None

    def _tell_unpriced(self, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        tenant, profile, model = _tenant_of(request), provider.profile.name, request.model
        if self._is_news("tenant.spends_unpriced", tenant, profile):
            logger.warning("tenant.spends_unpriced", tenant=tenant, profile=profile, model=model)
        sink.take(
            [WarningPart("spend_unpriced", f"{_unpriced(provider, request)}: what it costs is not counted.")]
        )

    def _month(self, tenant: str, standing: Standing) -> MonthlySpending:
        """The tenant's. Raises SpendLimitError if it has spent what it may."""
        limits = self._tenancy.of(tenant)
        month = MonthlySpending.of(
            tenant, today(), standing.spent, soft=limits.spend_soft, hard=limits.spend_hard
        )
        if month.is_over:
            self._tell("tenant.spent_all", month)
            raise month.error()
        return month

    def _tell(self, event: str, month: MonthlySpending) -> None:
        if self._is_news(event, month.tenant or ""):
            facts = {"tenant": month.tenant or "", "spent": month.spent}
            logger.warning(event, **facts, soft=month.soft, hard=month.hard)

    def _is_news(self, *what: str) -> bool:
        """Once a month in each process."""
        if (month := f"{today():%Y-%m}") != self._told_in or len(self._told) >= MOST_TOLD:
            self._told_in, self._told = month, set()
        known = what in self._told
        self._told.add(what)
        return not known


def _unpriced(provider: Provider, request: GenerationRequest) -> str:
    return f"No price is known for {provider.profile.name}/{request.model}"


def _tenant_of(request: GenerationRequest) -> str:
    return "" if request.asker is None else request.asker.tenant
