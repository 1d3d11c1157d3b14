"""When a worker that was told to leave goes: after what runs, after the time to drain, or at once. And that
it goes then, whatever hangs: a ledger or a broker that does not answer.
"""

import asyncio
import atexit
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from celery.apps import worker as celery_worker
from celery.platforms import EX_FAILURE, EX_OK
from celery.utils.log import set_in_sighandler

from palaver.workers.event_log import event_logger

__all__ = ["END_SECONDS", "Leaving", "bound_restarts"]

logger = event_logger("palaver.workers.pool")

END_SECONDS: Final = 10.0
"""From the end of the time to drain, or of what nobody else would do, to that of the process, at most. Who
kills what stays too long should give some more, as `deploy/` does.
"""


def bound_restarts(leaving: "Leaving") -> None:
    """Have Celery's handler of SIGHUP, after which its program begins again, say no longer that it runs once
    it has, for in a handler nothing would be handed over; and the worker leave in time.
    """
    number = getattr(signal, "SIGHUP", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(number)
    if getattr(handler, "__name__", "") == "restart_worker_sig_handler" and callable(handler):

        def restart(*args: Any) -> None:
            handler(*args)
            set_in_sighandler(False)
            leaving.begin_again()

        signal.signal(number, restart)


def _stay_away() -> None:
    """A program that was to begin again, and to end since then, ends."""
    atexit.unregister(celery_worker._reload_current_worker)  # type: ignore[attr-defined] # noqa: SLF001


class Leaving:
    """`drain_seconds` bounds the time for what runs; None: as long as it takes.

    `news` is called in the loop's thread each time somebody tells the worker to leave. `is_needed` tells, in
    any thread, whether something runs that nobody else would do: the process waits for its end.
    """

    def __init__(
        self,
        drain_seconds: float | None,
        call: Callable[..., None],
        news: Callable[[], object],
        is_needed: Callable[[], bool],
    ) -> None:
        self._drain_seconds = drain_seconds
        self._call = call  # from any thread, also in a signal handler: run a function on the loop
        self._news = news
        self._is_needed = is_needed
        self._signals: list[float] = []  # when, on the monotonic clock
        self._begun = math.inf  # by whatever else
        self._failed = math.inf
        self._drained = math.inf
        self._ended = self._closed = False
        self._changed = asyncio.Event()
        # SimpleQueue, because a signal handler may put while this very thread does
        self._bell: SimpleQueue[None] = SimpleQueue()

    def told(self, *_: Any, **__: Any) -> None:
        """By a signal; by a second one, to do so at once. Inside its handler, which another may interrupt:
        nothing here has to be undone.
        """
        self._signals.append(time.monotonic())
        _stay_away()
        self._tell()

    def begin_again(self) -> None:
        """By Celery's restart: as by anybody else, after which the program begins again."""
        if self._signals:  # it was told to end while it was told this
            _stay_away()
        self.leave()

    def leave(self) -> None:
        """Told by anybody else, once or more often."""
        self.begin()
        self._tell()

    def fail(self) -> None:
        """It leaves at once, because it cannot do its work any more; the process says so. As after a second
        signal, what nobody else would do has the time for its end, and no more.
        """
        self._failed = min(self._failed, time.monotonic())
        self._tell()

    def begin(self) -> None:
        """It leaves, whoever told it."""
        self._begun = min(self._begun, time.monotonic())
        self._bell.put(None)

    def drained(self) -> None:
        """Nothing is waited for any more."""
        self._drained = time.monotonic()
        self._bell.put(None)

    def ended(self) -> None:
        """All has that is ours: what is left is the farewell to the broker."""
        self._ended = True

    def close(self, *_: Any, **__: Any) -> None:
        """It has left, in order. What its program does then is not ours."""
        self._closed = True
        self._bell.put(None)

    @property
    def left(self) -> float:
        """Seconds until what runs is handed over."""
        return self._hand_over_at - time.monotonic()

    async def overdue(self) -> None:
        """Wait until the worker was told to leave and its time to drain is over."""
        while (left := self.left) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left == math.inf else left):
                    await self._changed.wait()
            self._changed.clear()

    def guard(self) -> None:
        """See to it, from a thread of its own, that the process ends in time. Not where the worker is in a
        thread of some program, whose process is its own.
        """
        if threading.current_thread() is threading.main_thread():
            threading.Thread(target=self._guard, name="palaver-leaving", daemon=True).start()

    def _tell(self) -> None:
        self._bell.put(None)
        self._call(self._news)
        self._call(self._changed.set)

    @property
    def _at_once(self) -> float:
        return min(self._failed, self._signals[1] if len(self._signals) > 1 else math.inf)

    @property
    def _hand_over_at(self) -> float:
        told = min(self._begun, *self._signals[:1]) if self._signals else self._begun
        drain = math.inf if self._drain_seconds is None else self._drain_seconds
        return min(told + drain, self._at_once)

    def _guard(self) -> None:
        needed = -math.inf  # when it was seen to be last; from then on there is as long for the end of that
        while not self._closed:
            left = max(min(self._hand_over_at, self._drained), needed) + END_SECONDS - time.monotonic()
            if left > 0:
                with suppress(Empty):
                    self._bell.get(timeout=None if left == math.inf else left)
            elif self._at_once == math.inf and self._is_needed():
                needed = time.monotonic()
            else:
                break
        if self._closed:
            return
        # what hangs is not known, only how far Celery's thread has come
        of_broker = self._ended or self._drained == math.inf
        step = "the broker's" if of_broker else "the ledger's, or that of a task"
        logger.warning("pool.left_behind", reason=f"an end that did not come in time: {step}")
        os._exit(EX_OK if self._failed == math.inf else EX_FAILURE)
