"""What a worker does beside its jobs, in rounds: look at what is due, until nothing is; rest; look again.

What is due is in the ledger and nowhere else, so any worker may die at any step.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, NoReturn

from palaver.shared import ending_tasks
from palaver.shared.errors import PalaverError
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames, report

__all__ = ["Background", "Rounds", "for_ever", "within"]

REST_AFTER_BUG_SECONDS: Final = 1.0


class Rounds:
    """Rounds with a rest of `period` seconds; a failure is told as `event` in the log of this name."""

    def __init__(self, log: str, event: str, *, period: float) -> None:
        self._logger = event_logger(log)
        self._event = event
        self._period = period
        self._failed = ""  # how the last round did

    async def run(self, look: Callable[[], Awaitable[bool]]) -> NoReturn:
        """Have `look` called until cancelled; it returns whether there is more already, which is not rested
        before. What it raises of our errors is told, and waited out.
        """
        while True:
            try:
                more = await look()
                self._failed = ""
            except PalaverError as error:
                more = False
                self.tell(error)
            if not more:
                await asyncio.sleep(self._period)

    def tell(self, error: PalaverError) -> None:
        """Tell a failure: once, however many rounds it lasts."""
        if self._failed != error.type:
            self._logger.warning(self._event, error=error.type, reason=error.message)
        self._failed = error.type
        forget_frames(error)


async def for_ever(name: str, work: Callable[[], Awaitable[None]]) -> NoReturn:
    """A part of a worker that must outlive its own bugs."""
    while True:
        try:
            await work()
        except Exception as bug:  # noqa: BLE001 - an outermost boundary: without leases every job would be lost
            report(bug, f"the worker's {name}")
        await asyncio.sleep(REST_AFTER_BUG_SECONDS)


class Background:
    """What goes on beside the jobs until it is closed."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do this for ever."""
        self.begin_once(name, for_ever(name, work))

    def begin_once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do this."""
        self._tasks.append(asyncio.create_task(work, name=f"palaver-{name}"))

    async def aclose(self) -> None:
        """End all of it."""
        await ending_tasks.end(self._tasks)
        self._tasks.clear()


async def within(seconds: float, work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Have all of it done side by side; what is late is cancelled, and what fails told."""
    tasks = [asyncio.create_task(each) for each in work]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    for failed in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(failed, Exception):
            report(failed, "the worker's end")
