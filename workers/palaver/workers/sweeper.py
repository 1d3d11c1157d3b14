"""A worker's turns at sweeping: what a dead worker, a lost message or the clock has left to be done is found
here, and sent on its way.

Every worker tries twice a second, and the ledger gives one of them the turn. Which jobs are due, and what is
to be done about each, is the ledger's to say (`look.lua`); a sweeper asks, and sends the messages.
"""

from collections.abc import Collection, Sequence
from typing import Final, Protocol

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import AsyncLedger, Dispatch
from palaver.workers.event_log import event_logger
from palaver.workers.metrics import Counts
from palaver.workers.rounds import Rounds

__all__ = ["Post", "Sweeper"]

logger = event_logger("palaver.workers.sweeper")

PERIOD_SECONDS: Final = 0.5
"""From one sweep of all workers to the next: what waits for a time begins well within a second of it."""


class Post(Protocol):
    """The broker, as far as a sweeper needs it. Neither method raises."""

    def put(self, dispatches: Sequence[Dispatch], /) -> object:
        """Have the messages sent, without waiting for it."""

    async def empty_queues(self) -> Collection[str]:
        """The broker's queues that are known to have held no message since this was called."""


class Sweeper:
    """Sweeps `ledger` and sends what it says through `post`."""

    def __init__(
        self, ledger: AsyncLedger, post: Post, counts: Counts, *, period: float = PERIOD_SECONDS
    ) -> None:
        self._ledger = ledger
        self._counts = counts
        self._post = post
        self._period = period
        self._completed = 0.0  # Redis's time of the last turn whose sweep was completed
        self._more = False  # the last sweep found more than it could look at

    async def run(self) -> None:
        """Sweep until cancelled. An outage of the ledger is waited out."""
        await Rounds("palaver.workers.sweeper", "sweep.failed", period=self._period).run(self._sweep)

    async def _sweep(self) -> bool:
        """One sweep, or the next part of one that found more; whether there is more."""
        try:
            return await self._sweep_once()
        except PalaverError:
            self._counts.swept(None)
            raise

    async def _sweep_once(self) -> bool:
        more, self._more = self._more, False
        turn = await self._ledger.sweep_turn(period=self._period, again=more, completed=self._completed)
        if turn is None:
            return False
        empty = () if more else await self._post.empty_queues()
        swept = await self._ledger.sweep(turn, empty_queues=empty)
        self._counts.swept(swept)
        self._completed = turn.time
        if swept.looked:
            counts = {"looked": swept.looked, "sent": len(swept.dispatches), "ended": swept.ended}
            logger.debug("sweep.done", **counts)
        # Not waited for: a sweeper that a slow broker holds up looks like a Redis that stood still.
        self._post.put(swept.dispatches)
        self._more = swept.full
        return swept.full
