"""What tenants spend: nothing is asked for one that has spent what it may in this month, and one that has
spent much is warned.

What a request may cost is set aside in the ledger before it is made, and what it has cost is told there when
it is over; so all workers know of all of it. One is made only if it has room below the limit, so a tenant is
beyond that by what requests cost more than was expected of them, and by nothing else.

Two policies, with the gates between them. `room` has a request wait while what runs may take the rest of its
tenant's money, and refuses one that has no room without that; `reserve` sets aside what it may cost, when it
has all its places and is about to be made. So nothing is set aside for what waits, and nobody who has
something set aside waits for others. Whoever has asked tells what it has cost in the step in which the
request ends: so that is in the message which takes back what was set aside.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final

from palaver.shared.errors import SpendLimitError
from palaver.shared.ledger import Keys
from palaver.shared.ledger.operations.budgeting import OneMore, Standing
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import Usage
from palaver.shared.spending import MonthlySpending, today
from palaver.workers.accounts import LOOK_SECONDS, Account, Accounts
from palaver.workers.event_log import event_logger
from palaver.workers.lent_slots import LentSlots
from palaver.workers.link import Link
from palaver.workers.metering import expected
from palaver.workers.policies import Ask
from palaver.workers.prices import Prices
from palaver.workers.providers import Asker, GenerationRequest, Provider, Sink, WarningPart
from palaver.workers.stop import Park, Unasked
from palaver.workers.tenancy import Tenancy

__all__ = ["Budgets"]

logger = event_logger("palaver.workers.budgets")

MOST_TOLD: Final = 10_000
"""So much news is remembered; what comes then may be told once more."""


class Budgets:
    """See the module; and who hears what requests have cost. One per process; `worker` is the name of this
    one life of it.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        tenancy: Tenancy,
        prices: Prices,
        *,
        lent: LentSlots,
        worker: str,
    ) -> None:
        self._tenancy = tenancy
        self._prices = prices
        self._lent_slots = lent
        self._accounts = Accounts(link, keys, worker=worker)
        self._told_in = ""
        self._told: set[tuple[str, ...]] = set()  # of that month

    def room(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> Awaitable[None]:
        """A policy, see `Policy`. Raises SpendLimitError, and Park for a job that is to wait."""
        tenant, asker = _tenant_of(request), request.asker
        parks = asker is not None and not asker.is_line
        if parks and self._tenancy.of(tenant).spend_hard is None:
            return ask(provider, request, sink)  # a limit that comes meanwhile parks it
        return self._ask_with_room(tenant, ask, provider, request, sink)

    def reserve(
        self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> Awaitable[None]:
        """A policy, see `Policy`: the last one that asks the ledger. Raises SpendLimitError."""
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
        """What nobody has `told` by now nobody tells."""
        await self._accounts.aclose()

    async def _ask_with_room(
        self, tenant: str, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> None:
        while True:
            if self._tenancy.of(tenant).spend_hard is not None:
                cost, account = await self._may_cost(provider, request), self._accounts.of(tenant)
                one_more = self._one_more(tenant, cost, request.asker)
                await self._wait_for_room(tenant, account, one_more, request.asker)
            try:
                return await ask(provider, request, sink)
            except Unasked:
                continue  # another one has taken it, while this one waited for its places

    async def _wait_for_room(
        self, tenant: str, account: Account, one_more: OneMore, asker: Asker | None
    ) -> None:
        """Return when the tenant has so much money left that nothing is to take which runs."""
        standing = await self._standing(tenant, account, one_more)
        if standing.may_run:
            return
        look_again = partial(self._standing, tenant, account, one_more, waits=True)
        with ExitStack() as slot:
            if asker is None or self._waits_here(asker, slot):
                async with account.in_line(is_first=standing.is_first):
                    await account.until(look_again)
                return
        standing = await look_again()
        if not standing.may_run:
            raise Park(self._accounts.next_try(account, is_first=standing.is_first))

    async def _standing(
        self, tenant: str, account: Account, one_more: OneMore, *, waits: bool = False
    ) -> Standing:
        """Whether there is room below the limit of now. Raises SpendLimitError where there will be none in
        this month.
        """
        one_more = replace(one_more, hard=self._tenancy.of(tenant).spend_hard)
        standing = await account.look(one_more, waits=waits)
        month, dollars = self._month(tenant, standing), one_more.nanos / NANO
        if not month.has_room_for(dollars):
            raise month.error(dollars)
        return standing

    def _one_more(self, tenant: str, cost: int | None, asker: Asker | None) -> OneMore:
        who = "" if asker is None else f"{asker.session_id}/{asker.job_id}"
        return OneMore(nanos=cost or 0, hard=self._tenancy.of(tenant).spend_hard, who=who)

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
        one_more = self._one_more(tenant, cost, request.asker)
        try:
            standing = await account.reserve(one_more)
        finally:
            self._accounts.keep(account)
        if not standing.may_run:
            self._month(tenant, standing)
            raise Unasked(LOOK_SECONDS)  # `room` asks again; a job that came by without a limit parks
        try:
            month = self._month(tenant, standing)
            if month.is_much:
                self._tell("tenant.spends_much", month)
                sink.take([WarningPart("spend_soft", f"{month.told}, more than {month.soft:g}.")])
            if cost is None:
                self._tell_unpriced(provider, request, sink)
            await ask(provider, request, sink)
        finally:
            account.release(one_more.nanos)

    async def _may_cost(self, provider: Provider, request: GenerationRequest) -> int | None:
        """Billionths of a dollar; None if no price is known. Raises SpendLimitError for a tenant that may
        spend nothing that is not counted.
        """
        model, tenant = request.model, _tenant_of(request)
        price = await self._prices.of(provider, model)
        context, most = provider.profile.context_of(model), provider.default_max_tokens
        cost = price(expected(request, context, most), None)
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
