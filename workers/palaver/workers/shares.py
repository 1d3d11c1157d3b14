"""How many jobs of a tenant, and of each of its users, run at once: a job that is too many is parked at its
tenant's gate before anything is asked for it, and sent when there is room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed, operations
from palaver.shared.profiles import Limits
from palaver.shared.tenants import Tenant
from palaver.workers.gates import AtGate, Gates, Visit
from palaver.workers.tenancy import Tenancy

__all__ = ["Shares"]


class Shares:
    """Holds jobs to what their tenants may have."""

    def __init__(self, gates: Gates, tenancy: Tenancy) -> None:
        self._gates = gates
        self._tenancy = tenancy

    async def within(self, claimed: Claimed, job: ChatJob, work: Callable[[], Awaitable[None]]) -> None:
        """Work on the job while it is one of those that may run. Raises AtGate if it is one too many.

        What waits elsewhere, parked, is none of them: so nobody has a place here and waits for another.
        """
        tenant = self._tenancy.of(job.tenant)
        if tenant.running is None and (tenant.user_running is None or job.user is None):
            if claimed.gate == operations.tenant_gate(job.tenant or ""):
                # It had waited there for a place, which it needs no more.
                self._gates.give_up(claimed.gate, claimed.session_id, claimed.job_id)
            await work()
            return
        visit = _visit(claimed, job, tenant)
        try:
            await self._gates.within(visit, work)
        except AtGate as parked:
            if parked.visit is visit and claimed.gate not in ("", visit.gate):
                # It was sent because another gate had a place for it, which it cannot take now.
                self._gates.give_up(claimed.gate, *visit.place)
            raise


def _visit(claimed: Claimed, job: ChatJob, tenant: Tenant) -> Visit:
    return Visit(
        gate=operations.tenant_gate(job.tenant or ""),
        place=(claimed.session_id, claimed.job_id),
        line=operations.user_line(job.user or "", most=tenant.user_running or 0),
        limits=Limits(concurrent=tenant.running),
        ahead=claimed.attempt > 1,
    )
