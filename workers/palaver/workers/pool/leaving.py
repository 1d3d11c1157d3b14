"""When a worker that was told to leave goes: after what runs, after the time to drain, or at once."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["Leaving"]


class Leaving:
    """`drain_seconds` bounds the time for what runs; None: as long as it takes.

    `news` is called in the loop's thread each time somebody tells the worker to leave.
    """

    def __init__(
        self, drain_seconds: float | None, call: Callable[..., None], news: Callable[[], object]
    ) -> None:
        self._drain_seconds = drain_seconds
        self._call = call  # from any thread, also in a signal handler: run a function on the loop
        self._news = news
        self._told: list[float] = []  # when, on the monotonic clock
        self._changed = asyncio.Event()

    def told(self, *_: Any, **__: Any) -> None:
        """Inside a signal handler, which a second signal may interrupt: one append, and nothing to undo."""
        self._told.append(time.monotonic())
        self._call(self._news)
        self._call(self._changed.set)

    def begin(self) -> None:
        """The worker leaves, whoever told it."""
        if not self._told:
            self._told.append(time.monotonic())

    @property
    def left(self) -> float:
        """Seconds until what runs is handed over; told twice, none."""
        if len(self._told) > 1:
            return 0.0
        if self._drain_seconds is None or not self._told:
            return math.inf
        return self._told[0] + self._drain_seconds - time.monotonic()

    async def overdue(self) -> None:
        """Wait until the worker was told to leave and its time to drain is over."""
        while (left := self.left) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left == math.inf else left):
                    await self._changed.wait()
            self._changed.clear()
