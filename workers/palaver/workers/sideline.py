"""What a worker does for all workers, on an event loop in a thread of its own: it takes its turns at
sweeping, and watches canaries and sweeps.

A sweep asks Redis ten times, one question after the other. On a loop that short jobs keep busy each answer
waits for the loop to come round, and a takeover for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from palaver.shared.ledger import AsyncLedger
from palaver.shared.settings import Settings
from palaver.workers import readiness, sweeper
from palaver.workers.event_log import event_logger
from palaver.workers.loop import LoopThread
from palaver.workers.metrics import Counts
from palaver.workers.rounds import for_ever

__all__ = ["Sideline"]

logger = event_logger("palaver.workers.sideline")

CLOSING_SECONDS: Final = 5.0
HOME_SECONDS: Final = 1.0
"""The streams' loop may take so long to say which queues are empty; a takeover does not wait for it."""


class Sideline:
    """See the module. Used and closed on the loop of the streams, where posts belong too; its own loop begins
    with the first thing that it does.
    """

    def __init__(self, settings: Settings, counts: Counts) -> None:
        self._ledger = AsyncLedger(settings)
        self._counts = counts
        self._loop: LoopThread | None = None

    def sweep(self, post: sweeper.Post) -> None:
        """Take turns at sweeping, until closed."""
        self._begin("sweeps", sweeper.Sweeper(self._ledger, _Elsewhere(post), self._counts).run)

    def watch(self, post: readiness.CanaryPost, draining: Callable[[], bool]) -> readiness.Watch:
        """Watch, until closed."""
        watch = readiness.Watch(self._ledger, _Elsewhere(post), draining=draining)
        self._begin("watch", watch.run)
        return watch

    async def aclose(self) -> None:
        """End what it does."""
        if self._loop is not None:
            await asyncio.to_thread(self._close, self._loop)

    def _begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        if self._loop is None:
            self._loop = LoopThread(_lost, name="palaver-sideline")
            self._loop.start()
        self._loop.begin(for_ever(name, work))

    def _close(self, loop: LoopThread) -> None:
        if loop.alive:
            try:
                loop.run(self._end(), timeout=CLOSING_SECONDS)
            except TimeoutError:
                logger.warning("sideline.left_behind")
        loop.stop()

    async def _end(self) -> None:
        work = asyncio.all_tasks() - {asyncio.current_task()}
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await self._ledger.aclose()


class _Elsewhere:
    """A post of the loop that makes this, for another one."""

    def __init__(self, post: sweeper.Post | readiness.CanaryPost) -> None:
        self._post = post
        self._home = asyncio.get_running_loop()

    def put(self, messages: Sequence[Any]) -> None:
        """See `Post.put`."""
        self._home.call_soon_threadsafe(self._post.put, messages)

    async def empty_queues(self) -> Collection[str]:
        """See `Post.empty_queues`; none is known to be empty while the home loop does not come round."""
        asked = asyncio.run_coroutine_threadsafe(_asked(self._post), self._home)
        try:
            async with asyncio.timeout(HOME_SECONDS):
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            return ()


async def _asked(post: sweeper.Post | readiness.CanaryPost) -> Collection[str]:
    return await post.empty_queues()


def _lost() -> None:
    """Other workers sweep; that none does is told by readiness. The loop has logged why it ended."""
