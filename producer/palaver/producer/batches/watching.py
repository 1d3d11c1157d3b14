"""Looking at a batch until its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, ParamSpec, TypeVar

from palaver.producer.reader import OUTAGE_SECONDS
from palaver.producer.reading import Reading
from palaver.shared.batches import BatchView
from palaver.shared.errors import JobExpiredError, ServiceUnavailableError, WaitTimeoutError
from palaver.shared.events import AnyEvent, parse_event
from palaver.shared.ledger import AsyncLedger

P = ParamSpec("P")
T = TypeVar("T")

SHORTEST_PAUSE: Final = 0.05  # seconds between two looks, when there was nothing new
LONGEST_PAUSE: Final = 0.5

OVERDUE_SECONDS: Final = 60.0
"""A batch may end so long after its time, for its last results and for clocks that differ."""


class Patience:
    """Asks for something again while its service is away: whoever reached it once waits so long for it."""

    def __init__(self) -> None:
        self._reached: float | None = None

    async def ask(self, call: Callable[P, Awaitable[T]], *args: P.args, **options: P.kwargs) -> T:
        """What the call returns. Raises ServiceUnavailableError, the first time at once."""
        while True:
            try:
                answer = await call(*args, **options)
            except ServiceUnavailableError:
                if self._reached is None or time.monotonic() - self._reached > OUTAGE_SECONDS:
                    raise
                await asyncio.sleep(LONGEST_PAUSE)
            else:
                self._reached = time.monotonic()
                return answer


def check_overdue(view: BatchView) -> None:
    """Raises JobExpiredError for a batch whose time is long over and that no worker ends: nobody shall wait
    for ever.
    """
    late = time.time() - view.expires_at
    if late > OVERDUE_SECONDS and not view.drivers and not view.status.ended:
        batch_id = view.batch.batch_id
        told = (
            f"the time of batch {batch_id} is over, and no worker lives to end it; it ends with the next one"
        )
        raise JobExpiredError(told, job_id=batch_id)


async def views(ledger: AsyncLedger, batch_id: str) -> AsyncGenerator[BatchView, None]:
    """The batch as it is, again and again, until it has ended."""
    patience, pause = Patience(), SHORTEST_PAUSE
    while True:
        view = await patience.ask(ledger.batch, batch_id)
        yield view
        if view.status.ended:
            return
        check_overdue(view)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def ended(ledger: AsyncLedger, batch_id: str, timeout: float | None) -> BatchView:  # noqa: ASYNC109
    """The batch once it has ended. Raises WaitTimeoutError."""
    try:
        async with asyncio.timeout(timeout), aclosing(views(ledger, batch_id)) as looks:
            async for view in looks:
                if view.status.ended:
                    return view
    except TimeoutError:
        pass
    raise WaitTimeoutError(
        f"batch {batch_id} has not ended within {timeout:g} seconds; it goes on", job_id=batch_id
    )


async def events_until_end(reading: Reading, batch_id: str, after: int) -> AsyncGenerator[AnyEvent, None]:
    """The batch's events, live until its `stream_end`; of an ended one, what its log still holds."""
    view = await reading.hub.ledger.batch(batch_id)
    after = max(after, view.cursor)
    if view.status.ended:
        events = _logged(reading.hub.ledger, batch_id, after)
    else:
        events = reading.events(batch_id, after)
    async with aclosing(events):
        async for event in events:
            yield event
            if event.type == "stream_end":
                return


async def _logged(ledger: AsyncLedger, batch_id: str, after: int) -> AsyncGenerator[AnyEvent, None]:
    while page := await ledger.events(batch_id, after=after):
        for entry in page:
            event = parse_event(entry)
            after = event.seq
            yield event
