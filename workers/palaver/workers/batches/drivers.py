"""The drivers of this process: at most one of a batch."""

from __future__ import annotations

from typing import Final

from palaver.workers.batches.driver import Driver, Parts
from palaver.workers.event_log import event_logger
from palaver.workers.running import Running
from palaver.workers.stop import Stop

__all__ = ["Drivers"]

logger = event_logger("palaver.workers.batches")

SLOTS_A_DRIVER: Final = 4
"""Every fourth slot may have a driver, but not the only one."""


class Drivers:
    """Drives batches; `parts` is None in a worker without a store of files, which drives none. Of the slots
    for what is `running` they leave most to jobs.
    """

    def __init__(self, parts: Parts | None, running: Running) -> None:
        self._parts = parts
        self._running = running
        self._driven: set[str] = set()

    def __len__(self) -> int:
        return len(self._driven)

    @property
    def _most(self) -> int:
        slots = self._running.slots
        return min(slots - 1, max(1, slots // SLOTS_A_DRIVER))

    async def drive(self, batch_id: str, stop: Stop) -> str:
        """Work on a batch until nothing of it is left to do here; what became of it, or why it is not driven.

        `stop` ends that, with a HandOver.
        """
        if self._parts is None:
            logger.warning("batch.refused", batch_id=batch_id, reason="no PALAVER_FILES_URL in this worker")
            return "no_files"
        if not self._most:
            logger.warning("batch.refused", batch_id=batch_id, reason="this worker's one slot is for jobs")
            return "no_slot"
        if batch_id in self._driven or len(self._driven) >= self._most:
            return "busy"
        self._driven.add(batch_id)
        try:
            became = await Driver(batch_id, self._parts, stop, draining=lambda: self._running.draining).run()
        finally:
            self._driven.discard(batch_id)
        logger.info("batch.left", batch_id=batch_id, became=became)
        return became
