"""Waiting for a batch's end, and its events until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from palaver.producer.reading import Reading
from palaver.shared.batches import BatchView
from palaver.shared.errors import WaitTimeoutError
from palaver.shared.events import AnyEvent, parse_event
from palaver.shared.ledger import AsyncLedger

_SHORTEST_PAUSE: Final = 0.05  # seconds between two looks
_LONGEST_PAUSE: Final = 0.5


async def ended(ledger: AsyncLedger, batch_id: str, timeout: float | None) -> BatchView:  # noqa: ASYNC109
    """The batch once it has ended. Raises WaitTimeoutError."""
    try:
        async with asyncio.timeout(timeout):
            return await _ended(ledger, batch_id)
    except TimeoutError:
        problem = f"batch {batch_id} has not ended within {timeout:g} seconds; it goes on"
    raise WaitTimeoutError(problem, job_id=batch_id)


async def _ended(ledger: AsyncLedger, batch_id: str) -> BatchView:
    pause = _SHORTEST_PAUSE
    while not (view := await ledger.batch(batch_id)).status.ended:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return view


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
