"""What tenants have spent in this month, and may spend, as conversations without I/O."""

from collections.abc import Sequence

from palaver.shared.errors import SpendLimitError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operations import budgeting
from palaver.shared.ledger.rules import InForce
from palaver.shared.spending import MonthlySpending, today
from palaver.shared.tenants import PerTenant


def told(keys: Keys, tenant: str | None, in_force: InForce) -> Exchange[MonthlySpending]:
    """`spending`, beside what the tenant may spend now."""
    bounds = yield from in_force.now(keys)
    return (yield from spending(keys, tenant, bounds.tenants))


def spending(keys: Keys, tenant: str | None, tenants: PerTenant) -> Exchange[MonthlySpending]:
    """What the tenant has spent."""
    name, day, limits = tenant or "", today(), tenants.of(tenant)
    spent = yield from exchange.query(budgeting.spent_in_month(keys, day, name))
    return MonthlySpending.of(name, day, spent, soft=limits.spend_soft, hard=limits.spend_hard)


def check(keys: Keys, jobs: Sequence[ChatJob], tenants: PerTenant) -> Exchange[dict[int, SpendLimitError]]:
    """Which of the jobs, by their places, are of a tenant that may spend no more."""
    limited = {job.tenant for job in jobs if tenants.of(job.tenant).spend_hard is not None}
    over: dict[str | None, MonthlySpending] = {}
    for tenant in limited:
        month = yield from spending(keys, tenant, tenants)
        if month.is_over:
            over[tenant] = month
    return {place: over[job.tenant].error() for place, job in enumerate(jobs) if job.tenant in over}
