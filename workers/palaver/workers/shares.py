"""How many jobs of a tenant, and of each of its users, run at once, lines of batches among them: a job that
is too many is parked at its tenant's gate before anything is asked for it, and sent when there is room.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed, operations
from palaver.shared.names import queue_for
from palaver.shared.profiles import Limits
from palaver.workers.gates import Gates
from palaver.workers.tenancy import Tenancy
from palaver.workers.visits import Entry, Terms, Visit, Waits

__all__ = ["Shares"]


class Shares:
    """Holds jobs to what their tenants may have."""

    def __init__(self, gates: Gates, tenancy: Tenancy) -> None:
        self._gates = gates
        self._tenancy = tenancy

    async def within(
        self, claimed: Claimed, job: ChatJob, work: Callable[[], Awaitable[None]], *, is_line: bool = False
    ) -> None:
        """Work on the job, or the line of a batch, while it is one of those that may run. Raises AtGate if a
        job is one too many; a line waits.

        What waits elsewhere for longer than a moment is none of them: see `Share`.
        """
        tenant = self._tenancy.of(job.tenant)
        if tenant.running is None and (tenant.user_running is None or job.user is None):
            if claimed.gate == operations.tenant_gate(job.tenant or ""):
                # It had waited there for a place, which it needs no more.
                self._gates.given.hand_on((claimed.session_id, claimed.job_id))
            await work()
        else:
            await self._gates.share(self._visit(claimed, job, is_line), work)

    def lowers(self, job: ChatJob) -> bool:
        """Whether a job waits in another queue than its priority's, as its tenant may not have that."""
        tenant = self._tenancy.of(job.tenant)
        if tenant.priority_most is None or job.priority <= tenant.priority_most:
            return False
        return tenant.queue_for(job.priority) is not queue_for(job.priority)

    def most_of(self, tenant: str | None) -> int | None:
        """So many jobs and lines of the tenant may run at once; None: any number."""
        return self._tenancy.of(tenant).running

    def _visit(self, claimed: Claimed, job: ChatJob, is_line: bool) -> Visit:
        place = (claimed.session_id, claimed.job_id)
        entry = Entry(
            gate=operations.tenant_gate(job.tenant or ""),
            place=place,
            terms=partial(self._terms, job, is_line),
            ahead=claimed.attempt > 1,
        )
        waits = Waits.HERE if is_line else Waits.PARKED
        return Visit(entry=entry, job=place, tenant=job.tenant or "", waits=waits)

    def _terms(self, job: ChatJob, is_line: bool) -> Terms:
        tenant = self._tenancy.of(job.tenant)
        line = operations.user_line(job.user or "", most=tenant.user_running or 0, of_batch=is_line)
        return Terms(line, Limits(concurrent=tenant.running))
