"""What tenants spend: nothing is asked for one that has spent what it may in this month, and one that has
spent much is warned.

What a request may cost is set aside in the ledger before it is made, and what it has cost is told there when
it is over; so all workers know of all of it. A tenant is beyond its limit by the one request that reached it,
and by what requests cost more than was expected of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from palaver.shared.errors import SpendLimitError
from palaver.shared.ledger import AsyncLedger
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import Usage
from palaver.shared.spending import MonthlySpending, today
from palaver.shared.tenants import Tenant
from palaver.workers.accounts import Account, Accounts
from palaver.workers.event_log import event_logger
from palaver.workers.metering import expected
from palaver.workers.policies import Ask
from palaver.workers.prices import Prices
from palaver.workers.providers import GenerationRequest, Provider, Sink, WarningPart
from palaver.workers.stop import Park
from palaver.workers.tenancy import Tenancy

__all__ = ["Budgets"]

logger = event_logger("palaver.workers.budgets")

WAIT_SECONDS: Final = 5.0
"""So long a job waits that may go on if what runs costs less than was set aside for it."""
CLOSE_SECONDS: Final = 2.0


class Budgets:
    """A policy (see `Policy`), and who hears what requests have cost. One per process; `worker` is the name
    of this one life of it.
    """

    def __init__(self, ledger: AsyncLedger, tenancy: Tenancy, prices: Prices, *, worker: str) -> None:
        self._tenancy = tenancy
        self._prices = prices
        self._accounts = Accounts(ledger, worker=worker)
        self._told_in = ""
        self._told: set[tuple[str, ...]] = set()  # of that month

    def __call__(
        self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> Awaitable[None]:
        """Raises SpendLimitError, and Park for a job that is to wait."""
        tenant = "" if request.asker is None else request.asker.tenant
        limits = self._tenancy.of(tenant)
        if not limits.limits_spending:
            return ask(provider, request, sink)
        return self._within(tenant, limits, ask, provider, request, sink)

    def spent(self, tenant: str | None, _ref: ModelRef, usage: Usage) -> None:
        """A request for this tenant is over."""
        name = tenant or ""
        nanos = round((usage.cost or 0) * NANO)
        if nanos and self._tenancy.of(name).limits_spending:
            account = self._accounts.of(name)
            account.owe(nanos)
            self._accounts.keep(name, account)

    async def told(self, seconds: float | None = None) -> None:
        """Return when the ledger knows what was spent, or after so long."""
        await self._accounts.told(seconds)

    async def aclose(self) -> None:
        """What is not said yet is, if the ledger answers at once."""
        await self.told(CLOSE_SECONDS)

    async def _within(
        self,
        tenant: str,
        limits: Tenant,
        ask: Ask,
        provider: Provider,
        request: GenerationRequest,
        sink: Sink,
    ) -> None:
        nanos = await self._may_cost(tenant, limits, provider, request, sink)
        account = self._accounts.of(tenant)
        month = await self._reserve(tenant, limits, account, nanos, request)
        self._accounts.keep(tenant, account)
        try:
            if month.is_much:
                self._tell("tenant.spends_much", month)
                sink.take([WarningPart("spend_soft", f"{month.told}, more than {month.soft:g}.")])
            await ask(provider, request, sink)
        finally:
            account.release(nanos)

    async def _may_cost(
        self, tenant: str, limits: Tenant, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> int:
        """Billionths of a dollar; none if no price is known."""
        model = request.model
        price = await self._prices.of(provider, model)
        cost = price(expected(request, provider.profile.context_of(model)), None)
        if cost is not None:
            return round(cost * NANO)
        told = f"No price is known for {provider.profile.name}/{model}"
        if limits.spend_unpriced == "refuse":
            raise SpendLimitError(f"{told}, and the tenant {tenant!r} may spend nothing that is not counted.")
        if self._is_news("tenant.spends_unpriced", tenant, told):
            logger.warning(
                "tenant.spends_unpriced", tenant=tenant, profile=provider.profile.name, model=model
            )
        sink.take([WarningPart("spend_unpriced", f"{told}: what it costs is not counted.")])
        return 0

    async def _reserve(
        self, tenant: str, limits: Tenant, account: Account, nanos: int, request: GenerationRequest
    ) -> MonthlySpending:
        """Return when the request may be made. Raises SpendLimitError, Park."""
        while True:
            standing = await account.reserve(nanos, limits.spend_hard)
            month = MonthlySpending.of(
                tenant, today(), standing.spent, soft=limits.spend_soft, hard=limits.spend_hard
            )
            if standing.may_run:
                return month
            if month.is_over:
                self._tell("tenant.spent_all", month)
                raise month.error()
            # What runs may take the rest: whether it does is known when it is over.
            if request.asker is not None and request.asker.may_park:
                raise Park(WAIT_SECONDS)
            await asyncio.sleep(WAIT_SECONDS)

    def _tell(self, event: str, month: MonthlySpending) -> None:
        if self._is_news(event, month.tenant or ""):
            facts = {"tenant": month.tenant or "", "spent": month.spent}
            logger.warning(event, **facts, soft=month.soft, hard=month.hard)

    def _is_news(self, *what: str) -> bool:
        """Once a month in each process."""
        if (month := f"{today():%Y-%m}") != self._told_in:
            self._told_in, self._told = month, set()
        known = what in self._told
        self._told.add(what)
        return not known
