"""When a worker that was told to leave goes: after what runs, after the time to drain, or at once. And that
it goes then, whatever hangs: a ledger or a broker that does not answer.
"""

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from celery.platforms import EX_FAILURE, EX_OK

from palaver.workers.event_log import event_logger

__all__ = ["END_SECONDS", "Leaving"]

logger = event_logger("palaver.workers.pool")

END_SECONDS: Final = 10.0
"""From the end of the time to drain to that of the process, at most. Who kills what stays too long should
give some more, as `deploy/` does.
"""


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
        self._must_end = False  # the process, with the worker
        self._must_leave = False  # the worker, and then its program may go on
        self._code = EX_OK
        self._drained_at = math.inf
        self._kept_until = -math.inf
        self._closed = False
        # SimpleQueue, because a signal handler may put while this very thread does
        self._bell: SimpleQueue[None] = SimpleQueue()

    def told(self, *_: Any, **__: Any) -> None:
        """The process is to end. Inside a signal handler, which a second signal may interrupt: nothing here
        has to be undone.
        """
        self._must_end = True
        self.leave()

    def leave(self) -> None:
        """The worker is to leave; what its program does then is not ours."""
        self._told.append(time.monotonic())
        self._must_leave = True
        self._bell.put(None)
        self._call(self._news)
        self._call(self._changed.set)

    def fail(self) -> None:
        """The worker leaves at once, because it cannot do its work any more; the process says so."""
        self._code = EX_FAILURE
        for _ in "at", "once":
            self.told()

    def begin(self) -> None:
        """The worker leaves, whoever told it."""
        if not self._told:
            self._told.append(time.monotonic())

    def drained(self) -> None:
        """Nothing is waited for any more."""
        self._drained_at = time.monotonic()
        self._bell.put(None)

    def keep(self) -> None:
        """Something still runs that nobody else would do. The process waits for it."""
        self._kept_until = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until what runs is handed over; told twice, none."""
        return self._hand_over_at - time.monotonic()

    async def overdue(self) -> None:
        """Wait until the worker was told to leave and its time to drain is over."""
        while (left := self.left) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left == math.inf else left):
                    await self._changed.wait()
            self._changed.clear()

    def guard(self) -> None:
        """See to it, from a thread of its own, that the process ends in time once it was told to. Not where
        the worker is in a thread of some program, whose process is its own.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        threading.Thread(target=self._guard, name="palaver-leaving", daemon=True).start()

    def close(self) -> None:
        """The worker has left. A program that it was a part of, and that nobody told to end, goes on."""
        self._closed = True
        self._bell.put(None)

    @property
    def _hand_over_at(self) -> float:
        if len(self._told) > 1:
            return self._told[1]
        if self._drain_seconds is None or not self._told:
            return math.inf
        return self._told[0] + self._drain_seconds

    @property
    def _end_at(self) -> float:
        if not (self._must_end or (self._must_leave and not self._closed)):
            return math.inf
        return max(min(self._hand_over_at, self._drained_at), self._kept_until) + END_SECONDS

    def _guard(self) -> None:
        while (left := self._end_at - time.monotonic()) > 0:
            with suppress(Empty):
                self._bell.get(timeout=None if left == math.inf else left)
            if self._closed and not self._must_end:
                return
        logger.warning("pool.left_behind", reason="something hangs: the ledger, the broker, or a task")
        os._exit(self._code)
