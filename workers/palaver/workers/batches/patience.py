"""An outage of the file store is waited for, and no line fails for it: the batch has hours. So with a store
that refuses its credentials or is not there any more: somebody will put that right. But not for ever, as
another worker may reach it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from itertools import chain, repeat
from typing import Final, TypeVar

from palaver.shared.errors import ConfigurationError, FileStoreUnavailableError
from palaver.workers.event_log import event_logger

__all__ = ["NO_STORE", "patiently"]

logger = event_logger("palaver.workers.batches")

T = TypeVar("T")

PAUSES: Final = (1.0, 2.0, 5.0)
LONGEST_PAUSE: Final = 10.0
PATIENCE: Final = 60.0
"""Seconds after which the driver leaves the batch to whoever is called next."""

NO_STORE: Final = (ConfigurationError, FileStoreUnavailableError)
"""What a store that cannot be used is told by."""


async def patiently(batch_id: str, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns, tried again while the store cannot be used. Raises one of NO_STORE in the end."""
    pauses, until = chain(PAUSES, repeat(LONGEST_PAUSE)), math.inf
    while True:
        try:
            return await work()
        except NO_STORE as error:
            # From the first failure on: before it the work may have waited for something else.
            until = min(until, time.monotonic() + PATIENCE)
            pause = next(pauses)
            if time.monotonic() + pause > until:
                raise
            logger.warning("batch.store_unavailable", batch_id=batch_id, error=error.type, again_in=pause)
            await asyncio.sleep(pause)
