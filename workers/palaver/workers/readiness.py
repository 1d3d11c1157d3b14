"""Whether a worker does its work: it consumes, its leases are renewed, somebody sweeps. That it is connected
says nothing of that.

So that an idle system says it too, each broker queue has a canary: a message that any worker takes, and the
next one is sent a while later. One that waits while there are free slots says that nobody takes jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from palaver.shared.ledger import AsyncLedger, Sendable, Vigil, operations
from palaver.shared.names import QUEUES
from palaver.workers.lease import LeaseKeeper
from palaver.workers.rounds import Rounds

__all__ = ["Consumption", "Problem", "Readiness", "Watch"]

LATE: Final = 1.5
"""Of a lease: what a canary, a sweep or a renewal may take."""
LOOKS: Final = 0.5
"""Of a lease: from one look to the next."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a worker does not do its work: a word for machines, and a line for people."""

    reason: str
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """What the worker's consumer does: is it connected, which of its `queues` it does not consume, and is
    there room for another job.
    """

    connected: bool = True
    missing: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    room: bool = True


class Post(Protocol):
    """The broker, as far as a watch needs it. Neither method raises."""

    def put(self, messages: Sequence[Sendable]) -> object:
        """Have the messages sent, without waiting for it."""

    async def empty_queues(self) -> Collection[str]:
        """The broker's queues that are known to have held no message since this was called."""


class Watch:
    """Sends canaries when they are due, and looks how those of all workers fare, and their sweeps."""

    def __init__(self, ledger: AsyncLedger, post: Post, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._post = post
        self._clock = clock
        self._late = ledger.settings.lease_seconds * LATE
        self.seen = Vigil(canaries={}, swept_ago=None)
        self.looked: float | None = None  # on the monotonic clock

    async def run(self) -> None:
        """Look until cancelled."""
        period = self._ledger.settings.lease_seconds * LOOKS
        await Rounds("palaver.workers.readiness", "watch.failed", period=period).run(self._look)

    async def _look(self) -> bool:
        keys, ledger = self._ledger.keys, self._ledger
        waiting = any(state.waits_for for state in self.seen.canaries.values())
        empty = await self._post.empty_queues() if waiting else ()
        due = operations.send_canaries(
            keys, {queue.value: queue in empty for queue in QUEUES}, period=self._late, lost=self._late / 2
        )
        canaries = await ledger.run(due)
        if canaries:
            self._post.put(canaries)
        self.seen, self.looked = await ledger.vigil(), self._clock()
        return False


@dataclass(slots=True, kw_only=True)
class Readiness:
    """See the module. May be asked from any thread; it reads plain values that the worker's loop keeps."""

    leases: LeaseKeeper
    connected: Callable[[], bool]  # to the ledger
    draining: Callable[[], bool]
    lease_seconds: float
    clock: Callable[[], float] = time.monotonic
    serving: bool = False  # it was announced
    consumption: Callable[[], Consumption] = Consumption
    watch: Watch | None = None  # None: it was told to consume nothing by itself

    def problems(self) -> list[Problem]:
        """All that is wrong."""
        found = []
        if self.draining():
            found.append(Problem("draining", "it takes no more jobs, and stops"))
        elif not self.serving:
            found.append(Problem("starting", "it does not take jobs yet"))
        if not self.connected():
            found.append(Problem("ledger", "it has no connection to Redis"))
        found += self._of_leases()
        if self.serving and not self.draining():
            consumption = self.consumption()
            found += self._of_consumption(consumption)
            found += self._of_watch(consumption)
        return found

    def _of_leases(self) -> list[Problem]:
        late = self.leases.unconfirmed
        if late <= self.lease_seconds:
            return []
        told = f"no lease was renewed for {late:.0f} seconds, they last {self.lease_seconds:g}"
        return [Problem("leases", told)]

    def _of_consumption(self, consumption: Consumption) -> list[Problem]:
        if not consumption.connected:
            return [Problem("connection", "it has no connection to the broker")]
        if consumption.missing:
            names = ", ".join(sorted(consumption.missing))
            return [Problem("consumers", f"it does not consume {names}")]
        return []

    def _of_watch(self, consumption: Consumption) -> list[Problem]:
        watch, late = self.watch, self.lease_seconds * LATE
        if watch is None or watch.looked is None:
            return []
        ago = self.clock() - watch.looked
        found = []
        overdue = {
            queue: seconds
            for queue, seconds in watch.seen.overdue(late).items()
            if queue in consumption.queues and consumption.room
        }
        if overdue:
            waits = ", ".join(f"{queue} {seconds + ago:.0f} seconds" for queue, seconds in overdue.items())
            found.append(Problem("canary", f"there is room, and yet nobody takes the canary of {waits}"))
        swept_ago = watch.seen.swept_ago
        if swept_ago is not None and swept_ago + ago > late:
            found.append(Problem("sweeps", f"no sweep was completed for {swept_ago + ago:.0f} seconds"))
        return found
