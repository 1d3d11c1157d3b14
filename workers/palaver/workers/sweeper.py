"""A worker's turns at sweeping: what a dead worker, a lost message or the clock has left to be done is found
here, and sent on its way.

Every worker tries twice a second, and the ledger gives one of them the turn. Which jobs are due, and what is
to be done about each, is the ledger's to say (`look.lua`); a sweeper asks, and sends the messages. It keeps
nothing between two sweeps, so any worker may die in the middle of one.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final, Protocol

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import AsyncLedger, Dispatch
from palaver.shared.names import QUEUES
from palaver.workers.event_log import event_logger

__all__ = ["Post", "Sweeper"]

logger = event_logger("palaver.workers.sweeper")

PERIOD_SECONDS: Final = 0.5
"""From one sweep of all workers to the next: what waits for a time begins well within a second of it."""

_URGENCY: Final = {str(queue): position for position, queue in enumerate(QUEUES)}


class Post(Protocol):
    """The broker, as far as a sweeper needs it. Neither method raises."""

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        """Send the messages, in this order."""

    async def empty_queues(self) -> Collection[str]:
        """The broker's queues that are known to hold no message."""


class Sweeper:
    """Sweeps `ledger` and sends what it says through `post`."""

    def __init__(self, ledger: AsyncLedger, post: Post, *, period: float = PERIOD_SECONDS) -> None:
        self._ledger = ledger
        self._post = post
        self._period = period

    async def run(self) -> None:
        """Sweep until cancelled. An outage of the ledger is waited out."""
        more = False
        while True:
            more = await self._sweep(more)
            if not more:
                await asyncio.sleep(self._period)

    async def _sweep(self, more: bool) -> bool:
        """One sweep, or the next part of one that found more than it could look at."""
        empty = await self._post.empty_queues()
        try:
            swept = await self._ledger.sweep(empty_queues=empty, period=self._period, more=more)
        except PalaverError as error:
            logger.warning("sweep.failed", extra={"error": error.type})
            return False
        if swept.looked:
            counts = {"looked": swept.looked, "sent": len(swept.dispatches), "ended": swept.ended}
            logger.debug("sweep.done", extra=counts)
        # What goes on before what has not begun: a crash must not wait behind a backlog.
        await self._post.send(sorted(swept.dispatches, key=_urgency))
        return swept.full


def _urgency(dispatch: Dispatch) -> int:
    return _URGENCY.get(str(dispatch.queue), len(_URGENCY))
