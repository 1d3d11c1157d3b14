"""What tenants have spent in this month, and may spend, as conversations without I/O."""

from collections.abc import Sequence
from datetime import date, timedelta

from palaver.shared.errors import SpendLimitError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import exchange, usage
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operations import batch_keeping, budgeting
from palaver.shared.ledger.rules import InForce
from palaver.shared.spending import MonthlySpending, today
from palaver.shared.tenants import PerTenant


def told(keys: Keys, tenant: str | None, in_force: InForce) -> Exchange[MonthlySpending]:
    """`spending`, beside what the tenant may spend now."""
    bounds = yield from in_force.now(keys)
    return (yield from spending(keys, tenant, bounds.tenants))


def spending(keys: Keys, tenant: str | None, tenants: PerTenant) -> Exchange[MonthlySpending]:
    """What the tenant has spent; the first who asks in a month has the days added up."""
    name, day, limits = tenant or "", today(), tenants.of(tenant)
    spent = yield from exchange.query(budgeting.spent_in_month(keys, day, name))
    if spent is None:
        rows = yield from usage.listing(keys, since=day.replace(day=1), until=day, tenant=name)
        spent = sum(row.cost or 0.0 for row in rows)
        if limits.limits_spending:
            spent += yield from _by_batches(keys, day, name)
            yield from exchange.query(budgeting.begin_month(keys, day, name, spent))
    return MonthlySpending.of(name, day, spent, soft=limits.spend_soft, hard=limits.spend_hard)


def _by_batches(keys: Keys, day: date, tenant: str) -> Exchange[float]:
    """What the tenant's batches have spent that go on: no day has it before they end. If there was a limit in
    the month before, it was counted there.
    """
    month_before = day.replace(day=1) - timedelta(days=1)
    if (yield from exchange.query(budgeting.spent_in_month(keys, month_before, tenant))) is not None:
        return 0.0
    ids = yield from exchange.query(batch_keeping.open_batches(keys))
    batches = yield from exchange.query_many([budgeting.spent_by_batch(keys, each) for each in ids])
    return sum(spent for whose, spent in batches if whose == tenant)


def check(keys: Keys, jobs: Sequence[ChatJob], tenants: PerTenant) -> Exchange[dict[int, SpendLimitError]]:
    """Which of the jobs, by their places, are of a tenant that may spend no more."""
    limited = {job.tenant for job in jobs if tenants.of(job.tenant).spend_hard is not None}
    over: dict[str | None, MonthlySpending] = {}
    for tenant in limited:
        month = yield from spending(keys, tenant, tenants)
        if month.is_over:
            over[tenant] = month
    return {place: over[job.tenant].error() for place, job in enumerate(jobs) if job.tenant in over}
