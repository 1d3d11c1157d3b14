"""What tenants spend: nothing is asked for one that has spent what it may in this month, and one that has
spent much is warned.

What a request has cost is told to the ledger when it is over, so that all workers know it; what they know is
a second old at most. So a tenant is beyond its limit by what ran when it was reached.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import Usage
from palaver.shared.spending import MonthlySpending, today
from palaver.workers.event_log import event_logger
from palaver.workers.policies import Ask
from palaver.workers.providers import GenerationRequest, Provider, Sink, WarningPart
from palaver.workers.tenancy import Tenancy

__all__ = ["Budgets"]

logger = event_logger("palaver.workers.budgets")

FRESH_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 2.0


class Budgets:
    """A policy (see `Policy`), and who hears what requests have cost. One per process; `worker` is the name
    of this one life of it.
    """

    def __init__(self, ledger: AsyncLedger, tenancy: Tenancy, *, worker: str) -> None:
        self._ledger = ledger
        self._tenancy = tenancy
        self._worker = worker
        self._months: dict[str, tuple[MonthlySpending, float]] = {}  # as it was at that time
        self._reading = asyncio.Lock()
        self._warned: set[tuple[str, str, str]] = set()
        self._unsaid: defaultdict[str, int] = defaultdict(int)  # billionths of a dollar, by tenant
        self._additions = 0
        self._saying: asyncio.Task[None] | None = None

    def __call__(
        self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> Awaitable[None]:
        """Raises SpendLimitError."""
        tenant = "" if request.asker is None else request.asker.tenant
        if not self._is_limited(tenant):
            return ask(provider, request, sink)
        return self._within(tenant, ask, provider, request, sink)

    def spent(self, tenant: str | None, _ref: ModelRef, usage: Usage) -> None:
        """A request for this tenant is over."""
        name = tenant or ""
        nanos = round((usage.cost or 0) * NANO)
        if nanos and self._is_limited(name):
            self._unsaid[name] += nanos
            if name in self._months:
                known, at = self._months[name]
                self._months[name] = _with(known, nanos), at
            if self._saying is None or self._saying.done():
                self._saying = asyncio.create_task(self._say(), name="palaver-budgets")

    async def aclose(self) -> None:
        """What is not said yet is, if the ledger answers at once."""
        if self._saying is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._saying, CLOSE_SECONDS)

    def _is_limited(self, tenant: str) -> bool:
        limits = self._tenancy.of(tenant)
        return limits.spend_soft is not None or limits.spend_hard is not None

    async def _within(
        self, tenant: str, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> None:
        month = await self._month(tenant)
        if month.is_over:
            self._tell("tenant.spent_all", month)
            raise month.error()
        if month.is_much:
            self._tell("tenant.spends_much", month)
            sink.take([WarningPart("spend_soft", f"{month.told}, more than {month.soft:g}.")])
        await ask(provider, request, sink)

    async def _month(self, tenant: str) -> MonthlySpending:
        async with self._reading:
            known, at = self._months.get(tenant, (None, 0.0))
            if known is None or time.monotonic() - at > FRESH_SECONDS:
                known = await self._ledger.spending(tenant)
                known = _with(known, self._unsaid.get(tenant, 0))
                self._months[tenant] = known, time.monotonic()
            return known

    async def _say(self) -> None:
        while self._unsaid:
            tenant, nanos = next(iter(self._unsaid.items()))
            self._additions += 1
            await self._add(tenant, self._additions, nanos)
            self._unsaid[tenant] -= nanos
            if not self._unsaid[tenant]:
                del self._unsaid[tenant]

    async def _add(self, tenant: str, number: int, nanos: int) -> None:
        """Again under the same number, while nobody knows what became of it."""
        keys = self._ledger.keys
        addition = operations.spend(keys, today(), tenant, worker=self._worker, number=number, nanos=nanos)
        while True:
            try:
                await self._ledger.run(addition)
            except PalaverError as error:
                logger.warning("spending.not_counted", error=error.type, tenant=tenant)
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return

    def _tell(self, event: str, month: MonthlySpending) -> None:
        """Once a month in each process."""
        which = (event, month.tenant or "", month.month)
        if which not in self._warned:
            self._warned.add(which)
            facts = {"tenant": month.tenant or "", "spent": month.spent}
            logger.warning(event, **facts, soft=month.soft, hard=month.hard)


def _with(month: MonthlySpending, nanos: int) -> MonthlySpending:
    return month.model_copy(update={"spent": month.spent + nanos / NANO}) if nanos else month
