"""The slots of a worker whose jobs only wait, lent to others meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from palaver.shared.ledger.replies import Place

__all__ = ["LentSlots"]

PART = 2
"""One tenant's jobs lend every second slot at most, and one in any case."""


class LentSlots:
    """The slots of agents whose code has to wait for long: it goes on in the middle, so its job cannot be
    parked as others are. As many as the worker has slots lend theirs; so it works on no more than twice as
    many jobs, half of which wait.

    `lend` is told of each slot that others have now, 1, or no more, -1.
    """

    def __init__(self, slots: Callable[[], int], lend: Callable[[int], object] = lambda _by: None) -> None:
        self._slots = slots
        self._lend = lend
        self._waiting = Counter[Place]()  # requests of each job
        self._tenants = Counter[str]()  # jobs of each

    def lend(self, job: Place, tenant: str) -> bool:
        """Lend the job's slot while a request of it waits, until `take_back`. False if too many do that."""
        if job not in self._waiting:
            slots = self._slots()
            if len(self._waiting) >= slots or self._tenants[tenant] >= max(1, slots // PART):
                return False
            self._tenants[tenant] += 1
            self._lend(1)
        self._waiting[job] += 1
        return True

    def take_back(self, job: Place, tenant: str) -> None:
        """A request of it waits no more."""
        self._waiting[job] -= 1
        if not self._waiting[job]:
            del self._waiting[job]
            self._tenants -= Counter([tenant])
            self._lend(-1)
