"""What a worker says of itself in the ledger, for as long as it lives: that it is there, what it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from palaver.shared.contract import VERSION
from palaver.shared.errors import PalaverError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.workers.event_log import event_logger
from palaver.workers.link import Link

__all__ = ["HEARTBEAT", "Presence"]

logger = event_logger("palaver.workers.service")

HEARTBEAT: Final = 0.25  # of a lease: a sweep takes a worker for dead that missed two
ANNOUNCED: Final = 1.5  # of a lease: a worker that is silent for so long is not there

Announcements = Mapping[str, Mapping[str, Any]]


class Presence:
    """See the module. `alias` is the worker's name in the ledger; what it is, the profiles and agents that it
    serves, and the bounds of tenants are asked for at each announcement.
    """

    def __init__(
        self,
        link: Link,
        ledger: AsyncLedger,
        alias: str,
        *,
        worker: Callable[[], Mapping[str, Any]],
        profiles: Callable[[], Announcements],
        agents: Callable[[], Announcements],
        tenants: Callable[[], Announcements],
    ) -> None:
        self._link = link
        self._ledger = ledger
        self._alias = alias
        self._worker = worker
        self._profiles = profiles
        self._agents = agents
        self._tenants = tenants
        self._lease_seconds = ledger.settings.lease_seconds

    async def announce(self) -> None:
        """Say it now."""
        keys, seconds = self._ledger.keys, self._lease_seconds * ANNOUNCED
        told = {"contract": VERSION, **self._worker()}
        answers = await self._link.run_all(
            [
                operations.announce(keys.workers, {self._alias: told}, seconds=seconds),
                operations.announce(keys.profiles, self._profiles(), seconds=seconds),
                operations.announce(keys.agents, self._agents(), seconds=seconds),
                operations.announce_bounds(keys, self._tenants(), seconds=seconds),
            ]
        )
        for problem in filter(None, answers):
            logger.warning("worker.not_announced", worker=self._alias, error=problem.type)

    async def beat(self) -> None:
        """Say it again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._lease_seconds * HEARTBEAT)
            await self.announce()

    async def withdraw(self) -> None:
        """It goes, and need not be missed first."""
        try:
            await self._ledger.query(operations.withdraw(self._ledger.keys.workers, [self._alias]))
        except PalaverError as error:
            logger.info("worker.not_withdrawn", worker=self._alias, error=error.type)
