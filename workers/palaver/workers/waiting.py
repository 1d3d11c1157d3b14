"""How many of a worker's slots may be held by what only waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from palaver.shared.ledger.replies import Place

__all__ = ["HeldSlots"]

PART = 2
"""Every second slot, and not the only one: what waits elsewhere is never what all wait for."""


class HeldSlots:
    """The slots of one worker that are held by agents whose code has to wait for long. Other jobs are parked,
    and hold none.
    """

    def __init__(self, slots: Callable[[], int]) -> None:
        self._slots = slots
        self._held = Counter[Place]()  # requests of each job

    def hold(self, job: Place) -> bool:
        """Whether a request of this job may wait with its slot; until `release`, if it may."""
        if len(self._held.keys() | {job}) > self._slots() // PART:
            return False
        self._held[job] += 1
        return True

    def release(self, job: Place) -> None:
        """A request of it waits no more."""
        self._held[job] -= 1
        if not self._held[job]:
            del self._held[job]
