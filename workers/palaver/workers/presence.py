"""What a worker says of itself in the ledger, for as long as it lives: that it is there, what it serves."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from typing import Any, Final

from palaver.shared.contract import VERSION
from palaver.shared.errors import PalaverError
from palaver.shared.ledger import operations
from palaver.workers.bounding import Bounding
from palaver.workers.event_log import event_logger
from palaver.workers.process import HEARTBEAT, Process
from palaver.workers.served import Served
from palaver.workers.vitals import Vitals
from palaver.workers.workshop import Workshop

__all__ = ["Presence"]

logger = event_logger("palaver.workers.presence")

ANNOUNCED: Final = 1.5  # of a lease: a worker that is silent for so long is not there


class Presence:
    """See the module."""

    def __init__(
        self, process: Process, *, served: Served, bounding: Bounding, workshop: Workshop, vitals: Vitals
    ) -> None:
        self._process = process
        self._served = served
        self._bounding = bounding
        self._workshop = workshop
        self._vitals = vitals
        self._started = time.time()

    def told(self) -> dict[str, Any]:
        """What the worker says of itself."""
        process, running = self._process, self._process.running
        return {
            "contract": VERSION,
            "name": process.name,
            "pid": os.getpid(),
            "host": platform.node(),
            "running": len(running),
            "batches": len(self._workshop.drivers),  # of them
            "slots": running.slots,
            "started": self._started,
            "draining": running.draining,
            "unserved": dict(self._served.unserved),
            "tools_missing": dict(self._workshop.answering.tool_servers.missing),
            "sinks": self._workshop.sinks.counts,
            **self._vitals.told(),
        }

    async def announce(self) -> None:
        """Say it now."""
        keys, alias = self._process.ledger.keys, self._process.alias
        seconds = self._process.settings.lease_seconds * ANNOUNCED
        agents, tenancy = self._workshop.answering.agents, self._bounding.tenancy
        answers = await self._process.link.run_all(
            [
                operations.announce(keys.workers, {alias: self.told()}, seconds=seconds),
                operations.announce(keys.profiles, self._served.announcements, seconds=seconds),
                operations.announce(keys.agents, agents.announcements, seconds=seconds),
                operations.announce_bounds(keys, tenancy.announcements, seconds=seconds),
            ]
        )
        for problem in filter(None, answers):
            logger.warning("worker.not_announced", worker=alias, error=problem.type)

    async def beat(self) -> None:
        """Say it again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._process.settings.lease_seconds * HEARTBEAT)
            await self.announce()

    async def withdraw(self) -> None:
        """It goes, and need not be missed first."""
        ledger, alias = self._process.ledger, self._process.alias
        try:
            await ledger.query(operations.withdraw(ledger.keys.workers, [alias]))
        except PalaverError as error:
            logger.info("worker.not_withdrawn", worker=alias, error=error.type)
