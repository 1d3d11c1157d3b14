"""Whether the stream loop turns, and how long what is published is on its way: beats, and every few seconds a
canary that leaves with what streams say, and comes back to a subscriber as readers get it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from palaver.shared.ledger.subscriptions import Inbox, Signal, Subscriptions
from palaver.workers.publisher import Publisher

__all__ = ["Pulse"]

BEAT_SECONDS: Final = 0.2
CANARY_SECONDS: Final = 5.0
STILL_SECONDS: Final = 10.0
"""A loop that has not turned for so long hangs."""

PARTS: Final = 7
PART_SECONDS: Final = 10.0
"""The lag is the worst of so many parts of so many seconds: whoever looks once a minute misses none."""


class Pulse:
    """See the module. `channel` is this worker's own; `published` hears the seconds of each canary."""

    def __init__(
        self,
        publisher: Publisher,
        subscriptions: Subscriptions,
        channel: str,
        published: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher = publisher
        self._subscriptions = subscriptions
        self._channel = channel
        self._published = published
        self._clock = clock
        self._last = clock()
        self._lags = Lags()

    @property
    def still(self) -> float:
        """Seconds since the last beat. Any thread may ask."""
        return self._clock() - self._last

    @property
    def lag(self) -> float:
        """Seconds by which the worst beat of the last minute was late. Any thread may ask."""
        return self._lags.worst(self._clock())

    async def run(self) -> None:
        """Beat until cancelled."""
        async with self._subscriptions.listen(self._channel) as inbox:
            listening = asyncio.create_task(self._listen(inbox), name="palaver-canary")
            try:
                await self._beat()
            finally:
                listening.cancel()

    async def _beat(self) -> None:
        due = self._clock()
        while True:
            asked = self._clock()
            await asyncio.sleep(BEAT_SECONDS)
            self._last = self._clock()
            self._lags.note(self._last - asked - BEAT_SECONDS, self._last)
            if self._last >= due:
                due = self._last + CANARY_SECONDS
                self._publisher.send_canary(self._channel)

    async def _listen(self, inbox: Inbox) -> None:
        while True:
            for notice in await inbox.receive():
                if not isinstance(notice, Signal):
                    with suppress(ValueError):  # whoever may publish may say anything here
                        if math.isfinite(sent := float(notice)):
                            self._published(self._clock() - sent)


class Lags:
    """The worst of the last minute. One thread notes, any may ask."""

    def __init__(self) -> None:
        self._parts: deque[tuple[float, float]] = deque(maxlen=PARTS)  # when it began, its worst

    def note(self, lag: float, now: float) -> None:
        """A beat was so late."""
        parts = self._parts
        if not parts or now - parts[-1][0] >= PART_SECONDS:
            parts.append((now, max(0.0, lag)))
        elif lag > parts[-1][1]:
            parts[-1] = (parts[-1][0], lag)

    def worst(self, now: float) -> float:
        """Of a minute, about; 0: there was none."""
        oldest = now - PARTS * PART_SECONDS
        return max((lag for began, lag in list(self._parts) if began >= oldest), default=0.0)
