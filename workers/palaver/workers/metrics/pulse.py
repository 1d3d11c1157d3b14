"""Whether the stream loop turns, and how long what is published is on its way: a beat each second, and every
few a canary through the publisher's connection to a subscriber, as what streams say goes to readers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from palaver.shared.ledger.subscriptions import Inbox, Signal, Subscriptions
from palaver.workers.link import Link

__all__ = ["Pulse"]

BEAT_SECONDS: Final = 1.0
BEATS_A_CANARY: Final = 5
STILL_SECONDS: Final = 10.0
"""A loop that has not turned for so long hangs."""


class Pulse:
    """See the module. `channel` is this worker's own; `published` hears the seconds of each canary."""

    def __init__(
        self,
        link: Link,
        subscriptions: Subscriptions,
        channel: str,
        published: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._subscriptions = subscriptions
        self._channel = channel
        self._published = published
        self._clock = clock
        self._last = clock()
        self.lag = 0.0

    @property
    def still(self) -> float:
        """Seconds since the last beat. Any thread may ask."""
        return self._clock() - self._last

    async def run(self) -> None:
        """Beat until cancelled."""
        async with self._subscriptions.listen(self._channel) as inbox:
            listening = asyncio.create_task(self._listen(inbox), name="palaver-canary")
            try:
                await self._beat()
            finally:
                listening.cancel()

    async def _beat(self) -> None:
        beats = 0
        while True:
            asked = self._clock()
            await asyncio.sleep(BEAT_SECONDS)
            self._last = self._clock()
            self.lag = max(0.0, self._last - asked - BEAT_SECONDS)
            beats += 1
            if beats % BEATS_A_CANARY == 1:
                self._link.publish(self._channel, repr(self._clock()))

    async def _listen(self, inbox: Inbox) -> None:
        while True:
            for notice in await inbox.receive():
                if not isinstance(notice, Signal):
                    self._published(self._clock() - float(notice))
