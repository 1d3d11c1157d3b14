"""Ending work from outside, for a reason: the canceller, the ledger, the clock, the operator all use this one
door.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from palaver.shared.errors import JobCancelledError, JobExpiredError, PalaverError

__all__ = ["HandOver", "Park", "Stop", "Unasked", "asked_to_end", "uninterrupted"]

T = TypeVar("T")


class HandOver(PalaverError):  # noqa: N818 - a reason, and no error of the job
    """The worker gives the job to another one; nothing is wrong with it."""


class Park(HandOver):
    """The job waits in the ledger, where it holds no slot, and goes on after `seconds`; one that waits at the
    `gate` of a profile as soon as it is sent for.
    """

    def __init__(self, seconds: float, gate: str = "") -> None:
        super().__init__()
        self.seconds = seconds
        self.gate = gate

    async def parked(self) -> bool:
        """Called when the job is parked. Whether it was sent for meanwhile, so that it goes on at once."""
        return False


class Unasked(Park):
    """A request gives its places back before it has asked its provider, and comes again."""


def asked_to_end(mode: str, job_id: str) -> PalaverError:
    """The reason that a cancel flag of the ledger stands for: cancel, interrupt, rollback or expire."""
    return JobExpiredError(job_id=job_id) if mode == "expire" else JobCancelledError(job_id=job_id)


class Stop:
    """A block of work; `stop(reason)` cancels what it awaits, and the block raises the reason.

    Like `asyncio.timeout`, but for any reason; the first one counts. Before the block and after it, a reason
    is kept and cancels nothing.
    """

    def __init__(self) -> None:
        self.reason: PalaverError | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._timers: list[asyncio.TimerHandle] = []

    def __call__(self, reason: PalaverError) -> None:
        """End the block for this reason."""
        if self.reason is None:
            self.reason = reason
            if self._task is not None:
                self._task.cancel()

    def after(self, seconds: float, reason: Callable[[], PalaverError]) -> None:
        """End the block for the reason that is made then, if it still goes on `seconds` from now."""
        self._timers.append(asyncio.get_running_loop().call_later(max(seconds, 0.0), self._late, reason))

    def _late(self, reason: Callable[[], PalaverError]) -> None:
        self(reason())

    async def __aenter__(self) -> Self:
        if self.reason is not None:
            raise self.reason
        self._task = asyncio.current_task()
        if self._task is not None:
            self._cancelling = self._task.cancelling()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for timer in self._timers:
            timer.cancel()
        task, self._task = self._task, None
        if task is None or self.reason is None:
            return
        # Another cancellation, from the task's owner, is not ours to turn into a reason.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self.reason from None


async def uninterrupted(work: Coroutine[Any, Any, T], interrupted: Callable[[], object] | None = None) -> T:
    """The result of short work that must not stay half done. A cancellation meanwhile cancels nothing; it
    only calls `interrupted`. So does a soft time limit; without `interrupted` it is raised when the work is
    done.

    What `work` itself awaits can still be cancelled, as by a link that is being stopped.
    """
    task = asyncio.ensure_future(work)
    thrown: Exception | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling() and not task.cancelled():
                own.uncancel()
                if interrupted is not None:
                    interrupted()
        except Exception as error:  # noqa: BLE001 - the work's own, or Celery's soft time limit
            if task.done():
                break
            if interrupted is None:
                thrown = error
            else:
                interrupted()
    result = task.result()
    if thrown is not None:
        raise thrown
    return result
