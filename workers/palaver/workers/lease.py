"""The process's leases: renewed together, every few seconds, for as long as their jobs run.

A lease counts from before the renewal was *sent*, on this machine's own clock, so the worker always believes
it to be shorter than the ledger does. While it is unconfirmed its writer sends nothing and gathers within
bounds; a verdict (fenced, ended, gone) stops the work. Losing Redis is no verdict: the renewal waits for the
link.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from palaver.shared.errors import LeaseError, PalaverError
from palaver.shared.ledger import Claimed, Keys, Operation, Renewed, operations
from palaver.workers.event_log import event_logger
from palaver.workers.link import Link
from palaver.workers.publisher import Writer
from palaver.workers.stop import Stop, asked_to_end

__all__ = ["LeaseKeeper"]

logger = event_logger("palaver.workers.lease")


@dataclass(frozen=True, slots=True, eq=False)
class _Lease:
    """One job's right to write, and whom to tell when it is gone."""

    claimed: Claimed
    writer: Writer
    stop: Stop

    def settle(self, answer: Renewed | PalaverError, until: float) -> None:
        if isinstance(answer, LeaseError):
            self.writer.fail(answer)
            self.stop(answer)
        elif isinstance(answer, PalaverError):
            logger.warning("lease.unconfirmed", job_id=self.claimed.job_id, error=answer.type)
        else:
            self.writer.confirm(until)
            if answer.cancelled:
                self.stop(asked_to_end(answer.cancelled, self.claimed.job_id))


class LeaseKeeper:
    """Renews what `hold` holds, and in the same write what is `beside` it. `lease_seconds` and
    `renew_seconds` as in the settings.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        *,
        lease_seconds: float,
        renew_seconds: float,
        beside: Callable[[], Sequence[Operation[Any]]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._keys = keys
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._beside = beside
        self._clock = clock
        self._leases: dict[str, _Lease] = {}  # by job id
        self._due = asyncio.Event()

    def __len__(self) -> int:
        return len(self._leases)

    @contextmanager
    def hold(self, claimed: Claimed, writer: Writer, stop: Stop) -> Iterator[None]:
        """Renew a claimed job's lease until the block is left."""
        lease = self._leases[claimed.job_id] = _Lease(claimed, writer, stop)
        try:
            yield
        finally:
            # A job that this process lost and claimed anew has a newer lease under the same id.
            if self._leases.get(claimed.job_id) is lease:
                del self._leases[claimed.job_id]

    def renew_now(self) -> None:
        """Ask now, not at the next turn: a notice may have been missed, and replies have the cancel flag."""
        self._due.set()

    def give_up(self, reason: PalaverError) -> None:
        """Stop the work of every job for this reason: the worker goes, and the leases run out by
        themselves.
        """
        for lease in list(self._leases.values()):
            lease.writer.fail(reason)
            lease.stop(reason)

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
        """Renew every lease once, in one write."""
        leases = list(self._leases.values())
        if not leases:
            return
        asked = self._clock()
        renewals: list[Operation[Any]] = [self._renewal(lease.claimed) for lease in leases]
        answers = await self._link.run_all([*renewals, *self._beside()])
        for lease, answer in zip(leases, answers, strict=False):
            lease.settle(answer, asked + self._lease_seconds)

    def _renewal(self, claimed: Claimed) -> Operation[Renewed]:
        return operations.renew(
            self._keys,
            claimed.session_id,
            claimed.job_id,
            fence=claimed.fence,
            lease=self._lease_seconds,
        )
