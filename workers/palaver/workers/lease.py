"""The process's leases: renewed together, every few seconds, for as long as their jobs run.

A lease counts from before the renewal was *sent*, on this machine's own clock, so the worker always believes
it to be shorter than the ledger does. While it is unconfirmed its writer sends nothing and gathers within
bounds; a verdict (fenced, ended, gone) stops the work. Losing Redis is no verdict: the renewal waits for the
link.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

from palaver.shared.errors import JobEndedError, LeaseError, PalaverError
from palaver.shared.ledger import Claimed, Keys, Operation, Renewed, operations
from palaver.workers.event_log import event_logger
from palaver.workers.link import Link
from palaver.workers.metrics import Counts
from palaver.workers.publisher import Writer
from palaver.workers.stop import Stop, asked_to_end

__all__ = ["JobLease", "Lease", "LeaseKeeper"]

logger = event_logger("palaver.workers.lease")

AT_ONCE = 100
"""Leases renewed in one write: a thousand would keep all streams waiting for some 20 ms."""


class Lease(Protocol):
    """A right to write that ends unless it is renewed."""

    def renewal(self, seconds: float) -> Operation[Any]:
        """Has it last for so long from now."""
        ...

    def settle(self, answer: Any, until: float) -> None:
        """Take the ledger's answer, which may be a verdict; a lease that is renewed holds until then, a time
        of `time.monotonic`.
        """

    def give_up(self, reason: PalaverError) -> None:
        """The worker goes, and lets the lease run out."""


@dataclass(frozen=True, slots=True, eq=False)
class JobLease:
    """One job's right to write, and whom to tell when it is gone."""

    keys: Keys
    claimed: Claimed
    writer: Writer
    stop: Stop

    def renewal(self, seconds: float) -> Operation[Renewed]:
        """See `Lease.renewal`."""
        claimed = self.claimed
        return operations.renew(
            self.keys, claimed.session_id, claimed.job_id, fence=claimed.fence, lease=seconds
        )

    def settle(self, answer: Renewed | PalaverError, until: float) -> None:
        """See `Lease.settle`."""
        if isinstance(answer, LeaseError):
            self.give_up(answer)
        elif isinstance(answer, PalaverError):
            logger.warning("lease.unconfirmed", job_id=self.claimed.job_id, error=answer.type)
        else:
            self.writer.confirm(until)
            if answer.cancelled:
                self.stop(asked_to_end(answer.cancelled, self.claimed.job_id))

    def give_up(self, reason: PalaverError) -> None:
        """See `Lease.give_up`."""
        self.writer.fail(reason)
        self.stop(reason)


class Held:
    """A lease that is renewed for as long as its block goes on."""

    __slots__ = ("_all", "ending", "lease")

    def __init__(self, held: set[Held], lease: Lease) -> None:
        self._all = held
        self.lease = lease
        self.ending = False

    def __enter__(self) -> Self:
        self._all.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._all.discard(self)

    def ends(self) -> None:
        """Its worker is about to end it, or to give it up. A renewal may come after that: then nothing is
        lost.
        """
        self.ending = True


class LeaseKeeper:
    """Renews what `hold` holds, and what is `beside` it. `lease_seconds` and
    `renew_seconds` as in the settings.
    """

    def __init__(
        self,
        link: Link,
        *,
        lease_seconds: float,
        renew_seconds: float,
        counts: Counts,
        beside: Callable[[], Sequence[Operation[Any]]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._counts = counts
        self._beside = beside
        self._clock = clock
        self._held: set[Held] = set()
        self._confirmed = clock()  # since then, all leases held
        self._due = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def unconfirmed(self) -> float:
        """For so many seconds no lease was renewed that should have been. Any thread may ask."""
        return max(0.0, self._clock() - self._confirmed - self._renew_seconds)

    def hold(self, lease: Lease) -> Held:
        """For `with`: renews a lease until the block is left."""
        return Held(self._held, lease)

    def renew_now(self) -> None:
        """Ask now, not at the next turn: a notice may have been missed, and replies have the cancel flag."""
        self._due.set()

    def give_up(self, reason: PalaverError) -> None:
        """Stop all work for this reason: the worker goes, and the leases run out by themselves."""
        for held in list(self._held):
            held.lease.give_up(reason)

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            began = self._clock()
            await self.renew()
            # After an outage the renewal that waited for the link confirms nothing any more: ask again.
            pause = self._renew_seconds - (self._clock() - began)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause, 0.0)):
                    await self._due.wait()
            self._due.clear()

    async def renew(self) -> None:
        """Renew every lease once, no more in one write than streams may wait for."""
        held, asked, late = list(self._held), self._clock(), False
        for start in range(0, len(held), AT_ONCE):
            beside = self._beside() if start == 0 else ()
            late |= await self._renew(held[start : start + AT_ONCE], beside)
        if not late:
            self._confirmed = asked

    async def _renew(self, renewed: Sequence[Held], beside: Sequence[Operation[Any]]) -> bool:
        """Renew these; whether it was too late for that."""
        asked = self._clock()
        renewed = [held for held in renewed if held in self._held]  # some may have ended meanwhile
        renewals = [held.lease.renewal(self._lease_seconds) for held in renewed]
        answers = await self._link.run_all([*renewals, *beside])
        late = self._clock() - asked >= self._lease_seconds
        for held, answer in zip(renewed, answers, strict=False):
            self._count(held, answer, late=late)
            held.lease.settle(answer, asked + self._lease_seconds)
        return late

    def _count(self, held: Held, answer: Any, *, late: bool) -> None:
        if not isinstance(answer, PalaverError):
            self._counts.renewed("late" if late else "renewed")
        elif not isinstance(answer, LeaseError):
            self._counts.renewed("failed")
        elif not (held.ending or isinstance(answer, JobEndedError)):
            self._counts.renewed("lost")
