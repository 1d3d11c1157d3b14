"""A look that costs something, shared by all who ask for it at about the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["Looks"]

FRESH_SECONDS: Final = 1.0
"""From the end of a look until the next one may begin."""

T = TypeVar("T")


class Looks(Generic[T]):
    """Looks in a thread, once at a time. Belongs to one event loop."""

    def __init__(self, look: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._latest: asyncio.Task[T] | None = None
        self._stale_at = 0.0

    async def latest(self) -> T:
        """What was seen within the last second, or is seen now; raises what that look raised."""
        latest = self._latest
        if latest is None or (latest.done() and self._clock() >= self._stale_at):
            latest = self._latest = asyncio.create_task(self._begin(), name="palaver-look")
        return await asyncio.shield(latest)

    async def _begin(self) -> T:
        try:
            return await asyncio.to_thread(self._look)
        finally:
            self._stale_at = self._clock() + FRESH_SECONDS
