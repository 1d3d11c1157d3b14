"""How a worker is, for whoever watches it: whether it is ready, its pulse, and the pages that tell."""

from __future__ import annotations

import asyncio
from typing import Any

from palaver.shared.metrics import MetricsServer
from palaver.workers.lease import LeaseKeeper
from palaver.workers.metrics import pages
from palaver.workers.metrics.pulse import Pulse
from palaver.workers.policies import Breakers
from palaver.workers.process import Process
from palaver.workers.readiness import Readiness
from palaver.workers.runner import Runner

__all__ = ["Vitals"]


class Vitals:
    """See the module. What is told is made when somebody asks, of plain values of what is watched."""

    def __init__(self, process: Process, *, runner: Runner, leases: LeaseKeeper, breakers: Breakers) -> None:
        link, running = process.link, process.running
        self._address = process.settings.metrics_address
        self._server: MetricsServer | None = None
        channel = process.ledger.keys.canary(process.alias)
        self.pulse = Pulse(runner.publisher, process.subscriptions, channel, process.counts.published)
        self.readiness = Readiness(
            leases=leases,
            connected=lambda: link.connected,
            draining=lambda: running.draining,
            lease_seconds=process.settings.lease_seconds,
        )
        self._parts = pages.Parts(
            name=process.name,
            counts=process.counts,
            pulse=self.pulse,
            breakers=breakers,
            leases=leases,
            publisher=runner.publisher,
            stalls=lambda: link.stalls,
            runs=lambda: runner.runs,
            slots=lambda: running.slots,
            readiness=self.readiness,
        )

    def show(self) -> None:
        """Serve the pages, if the settings say where. ConfigurationError, see `pages.serve`."""
        self._server = pages.serve(self._address, self._parts)

    def told(self) -> dict[str, Any]:
        """What the worker's announcement says of it."""
        consumption = self.readiness.consumption()
        return {
            "queues": sorted(consumption.queues),
            "problems": {problem.reason: problem.told for problem in self.readiness.problems()},
            "taken": {queue: round(seconds, 1) for queue, seconds in consumption.taken.items()},
            "metrics": None if self._server is None else str(self._server.address),
        }

    async def aclose(self) -> None:
        """Serve no more."""
        if self._server is not None:
            await asyncio.to_thread(self._server.close)
