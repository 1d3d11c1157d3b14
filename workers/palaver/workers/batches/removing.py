"""A worker's turns at removing the objects of batches that the ledger no longer knows, and of those that were
stored and never opened.

Which there are is noted in the ledger before anything of a batch is stored, so the store is never listed. Any
worker may die in the middle of a removal, and another one goes on.
"""

from typing import Final

from palaver.shared.errors import BatchNotFoundError, PalaverError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.event_log import event_logger
from palaver.workers.rounds import Rounds

__all__ = ["Removing"]

logger = event_logger("palaver.workers.batches")

PERIOD_SECONDS: Final = 60.0
AT_ONCE: Final = 10
TAKEN_SECONDS: Final = 3600.0
"""Nobody else is given a batch that somebody has taken: a large one has thousands of objects."""


class Removing:
    """Removes from `files` what `ledger` has forgotten."""

    def __init__(
        self,
        ledger: AsyncLedger,
        files: BatchFiles,
        *,
        period: float = PERIOD_SECONDS,
        taken: float = TAKEN_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._files = files
        self._period = period
        self._taken = taken

    async def run(self) -> None:
        """Remove until cancelled. An outage of the ledger or the store is waited out."""
        await Rounds("palaver.workers.batches", "batches.not_removed", period=self._period).run(self._look)

    async def _look(self) -> bool:
        """One look; whether there may be more to remove already. Raises the first failure, at its end."""
        keys = self._ledger.keys
        due = await self._ledger.run(operations.take_stored_batches(keys, seconds=self._taken, limit=AT_ONCE))
        failures = []
        for batch_id in due:
            try:
                await self._see_to(batch_id)
            except PalaverError as error:  # the others are not to wait for this one
                failures.append(error)
        if failures:
            raise failures[0]
        return len(due) == AT_ONCE

    async def _see_to(self, batch_id: str) -> None:
        """One that is known still is looked at again when the time of taking it is over."""
        try:
            await self._ledger.batch(batch_id)
        except BatchNotFoundError:
            await self._files.delete(batch_id)
            await self._ledger.query(operations.batch_removed(self._ledger.keys, batch_id))
            logger.info("batch.removed", batch_id=batch_id)
