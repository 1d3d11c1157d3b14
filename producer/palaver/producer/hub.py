"""What the readers of one event loop share: one ledger connection pool and one pub/sub connection.

A program has one such loop as a rule: its own with `AsyncClient`, the background one with `Client`.
"""

from __future__ import annotations

import asyncio
import weakref

from palaver.producer.background import Background
from palaver.producer.idle import IdleReaders
from palaver.producer.loop_end import until_loop_ends
from palaver.producer.reader import Reader
from palaver.shared.ledger import AsyncLedger, Subscriptions
from palaver.shared.settings import Settings

_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[Hub]] = weakref.WeakKeyDictionary()


class Hub:
    """The ledger and the subscriptions of one event loop, for the same settings; counts its users."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = AsyncLedger(settings)
        self.subscriptions = Subscriptions(settings)
        self.idle = IdleReaders(self.ledger)
        self.readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self.users = 0
        self._open = until_loop_ends(self._close)

    @staticmethod
    def acquire(settings: Settings) -> Hub:
        """The hub of the running loop. Each call is answered by one `release`."""
        loop = asyncio.get_running_loop()
        hubs = _hubs.setdefault(loop, [])
        hub = next((hub for hub in hubs if hub.settings == settings), None)
        if hub is None:
            hubs.append(hub := Hub(settings))
        hub.users += 1
        return hub

    @staticmethod
    def kept(keeper: Background, settings: Settings) -> Hub:
        """The hub of the background loop, on which this runs; it stays until that loop ends."""
        hub = Hub.acquire(settings)
        if hub.users == 1:
            keeper.at_close(hub.release)
        else:
            hub.users -= 1
        return hub

    async def release(self) -> None:
        """Give the hub up; its last user closes its connections."""
        self.users -= 1
        if self.users > 0:
            return
        await self._open.aclose()

    async def _close(self) -> None:
        hubs = _hubs.get(asyncio.get_running_loop(), [])
        if self in hubs:
            hubs.remove(self)
        for reader in list(self.readers):
            reader.stop()
        await self.idle.aclose()
        await self.subscriptions.aclose()
        await self.ledger.aclose()
