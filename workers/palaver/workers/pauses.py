"""The providers that an operator has paused, as this worker knows it.

The truth is in the ledger. It is read when the worker starts, when a notice has come or a connection was made
anew, and now and then.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.workers.event_log import event_logger

__all__ = ["Pauses"]

logger = event_logger("palaver.workers.pauses")


class Pauses:
    """A container of the names of paused profiles. `profiles` tells those that are served; it is read again
    every `seconds` at the latest.
    """

    def __init__(self, ledger: AsyncLedger, profiles: Callable[[], Sequence[str]], *, seconds: float) -> None:
        self._ledger = ledger
        self._profiles = profiles
        self._seconds = seconds
        self._paused: set[str] = set()
        self._stale = asyncio.Event()
        self.resumed: Callable[[str], object] = len
        """Told the name of a profile that is asked again."""

    def __contains__(self, profile: object) -> bool:
        return profile in self._paused

    def look_again(self) -> None:
        """Something may have changed."""
        self._stale.set()

    async def run(self) -> None:
        """Keep it up to date until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._stale.wait()
            self._stale.clear()
            await self.refresh()

    async def refresh(self) -> None:
        """Read it. While Redis is away what is known stays."""
        profiles, keys = self._profiles(), self._ledger.keys
        try:
            found = await self._ledger.query(operations.pauses(keys, profiles))
        except PalaverError as error:
            logger.debug("provider.pauses_unknown", error=error.type)
            return
        for profile in found.keys() - self._paused:
            logger.warning("provider.paused", profile=profile, by=found[profile].by)
        resumed = self._paused - found.keys()
        self._paused = set(found)
        for profile in resumed:
            logger.warning("provider.resumed", profile=profile)
            self.resumed(profile)
