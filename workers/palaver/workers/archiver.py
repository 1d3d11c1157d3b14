"""A worker's turns at archiving: what the jobs of conversations have said is stored, whoever ended them.

What is stored twice is stored once: any worker may die at any step.
"""

import asyncio
from typing import Final

from palaver.shared.errors import ArchiveUnavailableError, PalaverError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.shared.stores.archives import Archive, archive_session
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames
from palaver.workers.rounds import Rounds

__all__ = ["Archiver", "check_archive"]

logger = event_logger("palaver.workers.archiver")

PERIOD_SECONDS: Final = 1.0
"""From one round of all workers to the next."""
LIMIT: Final = 100
"""Sessions of a round, and how many connections they may need at once."""
SOONEST, LATEST = 2.0, 600.0
"""A job is looked at again when it is twice as old, but within these seconds."""
AFTER_FAILURE_SECONDS: Final = 15.0


async def check_archive(archive: Archive, *, worker: str) -> None:
    """Raises ConfigurationError when it cannot be used as it is. One that does not answer is told, and waited
    for in rounds.
    """
    try:
        await archive.check()
    except ArchiveUnavailableError as error:
        logger.warning("worker.archive_unavailable", worker=worker, reason=error.message)


class Archiver:
    """Moves what is said from `ledger` to `archive`."""

    def __init__(self, ledger: AsyncLedger, archive: Archive, *, period: float = PERIOD_SECONDS) -> None:
        self._ledger = ledger
        self._archive = archive
        self._period = period

    async def run(self) -> None:
        """Archive until cancelled. An outage of the archive or the ledger is waited out."""
        await Rounds("palaver.workers.archiver", "archive.failed", period=self._period).run(self._round)

    async def _round(self) -> bool:
        """Look at what is due; whether there is more. Raises the first failure, once all were looked at."""
        keys = self._ledger.keys
        if not await self._ledger.query(operations.take_archivers_turn(keys, period=self._period)):
            return False
        now = await self._ledger.query(operations.time())
        due = await self._ledger.query(operations.unarchived_sessions(keys, time=now, limit=LIMIT))
        if not due:
            return False
        looks = await asyncio.gather(*(self._look(session_id) for session_id in due))
        next_looks = {
            session_id: None if delay is None else now + delay
            for session_id, (delay, _) in zip(due, looks, strict=True)
        }
        await self._ledger.run(operations.put_off(keys, due, next_looks))
        failures = [failure for _, failure in looks if failure is not None]
        if failures:
            raise failures[0]
        return len(due) == LIMIT

    async def _look(self, session_id: str) -> tuple[float | None, PalaverError | None]:
        """In how many seconds to look again, None for never; and what went wrong."""
        try:
            age = await archive_session(self._ledger, self._archive, session_id)
        except PalaverError as failure:
            return AFTER_FAILURE_SECONDS, forget_frames(failure)
        return None if age is None else min(max(age, SOONEST), LATEST), None
