"""An outage of the file store is waited out: the batch has hours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import Final, TypeVar

from palaver.shared.errors import FileStoreUnavailableError
from palaver.workers.event_log import event_logger

__all__ = ["patiently"]

logger = event_logger("palaver.workers.batches")

T = TypeVar("T")

PAUSES: Final = (1.0, 2.0, 5.0)
LONGEST_PAUSE: Final = 10.0


async def patiently(batch_id: str, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns, tried again as long as the store cannot be used."""
    pauses = chain(PAUSES, repeat(LONGEST_PAUSE))
    while True:
        try:
            return await work()
        except FileStoreUnavailableError as error:
            pause = next(pauses)
            logger.warning("batch.store_unavailable", batch_id=batch_id, error=error.type, again_in=pause)
            await asyncio.sleep(pause)
