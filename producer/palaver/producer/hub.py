"""What the readers of one event loop share: one ledger connection pool and one pub/sub connection.

A program has one such loop as a rule: its own with `AsyncClient`, the background one with `Client`.
"""

from __future__ import annotations

import asyncio
import weakref

from palaver.producer.background import Background
from palaver.producer.idle import IdleReaders
from palaver.producer.loop_end import until_loop_ends
from palaver.shared.ledger import AsyncLedger, Subscriptions
from palaver.shared.settings import Settings

_Hubs = dict[tuple[str, str], "Hub"]
_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Hubs] = weakref.WeakKeyDictionary()


class Hub:
    """The ledger and the subscriptions of one event loop, for one Redis and namespace; counts its users."""

    def __init__(self, settings: Settings) -> None:
        self.ledger = AsyncLedger(settings)
        self.subscriptions = Subscriptions(settings)
        self.idle = IdleReaders(self.ledger)
        self.users = 0
        self._open = until_loop_ends(self._close)

    @staticmethod
    def acquire(settings: Settings) -> Hub:
        """The hub of the running loop. Each call is answered by one `release`."""
        loop = asyncio.get_running_loop()
        hubs = _hubs.setdefault(loop, {})
        key = (settings.redis_url, settings.namespace)
        if key not in hubs:
            hubs[key] = Hub(settings)
        hubs[key].users += 1
        return hubs[key]

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
        hubs = _hubs.get(asyncio.get_running_loop(), {})
        for key in [key for key, hub in hubs.items() if hub is self]:
            del hubs[key]
        await self.idle.aclose()
        await self.subscriptions.aclose()
        await self.ledger.aclose()
