"""Whether a worker does its work: it consumes, its leases are renewed, somebody sweeps. That it is connected
says nothing of that.

A worker is judged by what it does itself: it asks its broker for messages while it has room. So that it shows
whether they come, each broker queue has a canary: a message that any worker takes, and the next one is sent a
while later. One may wait behind a backlog; one that waits while a worker has room and takes nothing says that
this worker does not take jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from palaver.shared.ledger import AsyncLedger, Sendable, Vigil, operations
from palaver.shared.ledger.replies import LATE
from palaver.shared.names import QUEUES
from palaver.workers.lease import LeaseKeeper
from palaver.workers.rounds import Rounds

__all__ = ["CanaryPost", "Consumption", "Problem", "Readiness", "Watch"]

LOOKS: Final = 0.5
"""Of a lease: from one look to the next."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a worker does not do its work: a word for machines, and a line for people."""

    reason: str
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """What the worker's consumer does. Times are seconds until now."""

    connected: bool = True
    missing: frozenset[str] = frozenset()  # of its queues, those that it does not consume
    queues: frozenset[str] = frozenset()
    roomy: float = 0.0  # for so long there has been room for another job; 0: there is none
    silent: float = 0.0  # since it should have had an answer to its question for messages
    taken: Mapping[str, float] = field(default_factory=dict)  # since it took a message, by queue


class CanaryPost(Protocol):
    """The broker, as far as a watch needs it. Neither method raises."""

    def put(self, messages: Sequence[Sendable], /) -> object:
        """Have the messages sent, without waiting for it."""

    async def empty_queues(self) -> Collection[str]:
        """The broker's queues that are known to have held no message since this was called."""


class Watch:
    """Sends canaries when they are due, and looks how those of all workers fare, and their sweeps.

    One that is draining sends none: it takes none itself, and may have been the last.
    """

    def __init__(
        self,
        ledger: AsyncLedger,
        post: CanaryPost,
        *,
        draining: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._post = post
        self._draining = draining
        self._clock = clock
        self._late = ledger.settings.lease_seconds * LATE
        self.seen = Vigil(time=0.0, canaries={}, swept_ago=None)
        self.looked: float | None = None  # on the monotonic clock

    async def run(self) -> None:
        """Look until cancelled."""
        period = self._ledger.settings.lease_seconds * LOOKS
        await Rounds("palaver.workers.readiness", "watch.failed", period=period).run(self._look)

    async def _look(self) -> bool:
        if not self._draining():
            await self._send_canaries()
        self.seen, self.looked = await self._ledger.vigil(), self._clock()
        return False

    async def _send_canaries(self) -> None:
        waiting = any(state.waits_for for state in self.seen.canaries.values())
        empty = await self._post.empty_queues() if waiting else ()
        due = operations.send_canaries(
            self._ledger.keys,
            {queue.value: queue in empty for queue in QUEUES},
            period=self._late,
            lost=self._late / 2,
        )
        if canaries := await self._ledger.run(due):
            self._post.put(canaries)


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
        else:
            found += self.starting()
        if not self.connected():
            found.append(Problem("ledger", "Redis is away, or refuses what it is asked"))
        found += self._of_leases()
        if self.serving and not self.draining():
            consumption = self.consumption()
            found += self._of_consumption(consumption)
            found += self._of_watch(consumption)
        return found

    def starting(self) -> list[Problem]:
        """That it has not begun to take jobs, while that is so. Nothing that it shares with others is asked:
        who is waited for by this must come up in any weather.
        """
        return [] if self.serving else [Problem("starting", "it does not take jobs yet")]

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
        silent = min(consumption.silent, consumption.roomy)
        if silent > self.lease_seconds * LATE:
            told = f"there is room, and yet it has asked for no message for {silent:.0f} seconds"
            return [Problem("stuck", told)]
        return []

    def _of_watch(self, consumption: Consumption) -> list[Problem]:
        watch, late = self.watch, self.lease_seconds * LATE
        if watch is None or watch.looked is None:
            return []
        ago = self.clock() - watch.looked
        found = []
        if consumption.roomy > late:
            untaken = watch.seen.untaken(late, consumption.taken).items()
            overdue = {queue: seconds + ago for queue, seconds in untaken if queue in consumption.queues}
            if overdue:
                found.append(Problem("canary", _of_canaries(overdue)))
        swept_ago = watch.seen.swept_ago
        if swept_ago is not None and swept_ago + ago > late:
            found.append(Problem("sweeps", f"no sweep was completed for {swept_ago + ago:.0f} seconds"))
        return found


def _of_canaries(overdue: Mapping[str, float]) -> str:
    waits = ", ".join(f"{queue} {seconds:.0f} seconds" for queue, seconds in overdue.items())
    return f"there is room, and yet nobody takes the canary of {waits}"
