"""The results of a batch as they come: from the parts in the store, the latest from the ledger."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncGenerator, Iterable, Iterator
from functools import partial
from typing import Final, Literal

from palaver.producer.batches.scratch import Scratch
from palaver.producer.batches.watching import LONGEST_PAUSE, SHORTEST_PAUSE, Patience, check_overdue
from palaver.shared.batches import BatchResult
from palaver.shared.beside import in_thread
from palaver.shared.ledger import AsyncLedger
from palaver.shared.plain import refuse, shape
from palaver.shared.stores.batch_files import BatchFiles

Order = Literal["input", "completion"]
"""In the order of the lines, or as they were done."""

PAGE: Final = 500
"""Results that are read in one round trip."""


def check_order(order: object) -> None:
    """Raises ValidationError for what is no order."""
    if order not in ("input", "completion"):
        refuse("order", f'must be "input" or "completion", not {shape(order)}')


async def follow(
    ledger: AsyncLedger, files: BatchFiles, batch_id: str, order: Order = "completion"
) -> AsyncGenerator[list[BatchResult], None]:
    """The results in pages, live, until the batch has ended."""
    pages = _completed(ledger, files, batch_id)
    if order == "completion":
        async for page in pages:
            yield page
        return
    with InOrder() as sorting:
        async for page in pages:
            yield [ready for result in page for ready in sorting.take(result)]
        for result in sorting.rest():
            yield [result]


async def _completed(
    ledger: AsyncLedger, files: BatchFiles, batch_id: str
) -> AsyncGenerator[list[BatchResult], None]:
    known, pause, patience = 0, SHORTEST_PAUSE, Patience()
    while True:
        page = await patience.ask(ledger.batch_results, batch_id, after=known, count=PAGE)
        lines = page.lines
        if page.part is not None:
            first, last = page.part
            lines = (await patience.ask(files.part, batch_id, first, last))[known + 1 - first :]
        if lines:
            known += len(lines)
            pause = SHORTEST_PAUSE
            yield await in_thread(partial(_read, lines))
        elif page.status.ended:
            return
        else:
            check_overdue(await patience.ask(ledger.batch, batch_id))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _read(lines: Iterable[bytes]) -> list[BatchResult]:
    return [BatchResult.model_validate_json(line) for line in lines]


class InOrder:
    """Puts results in the order of their lines. Those that came too early wait in a temporary file; memory
    holds 8 bytes for each.
    """

    def __init__(self) -> None:
        self._next = 0
        self._places: array[int] = array("q")
        self._early = Scratch()

    def __enter__(self) -> InOrder:
        return self

    def __exit__(self, *_: object) -> None:
        self._early.close()

    def take(self, result: BatchResult) -> Iterator[BatchResult]:
        """Those whose turn it is now that this one is there."""
        if result.index != self._next:
            self._keep(result)
            return
        yield result
        self._next += 1
        while (early := self._take(self._next)) is not None:
            yield early
            self._next += 1

    def rest(self) -> Iterator[BatchResult]:
        """Those behind lines that have no result and will have none."""
        for index in range(self._next, len(self._places)):
            if (early := self._take(index)) is not None:
                yield early

    def _keep(self, result: BatchResult) -> None:
        missing = result.index + 1 - len(self._places)
        if missing > 0:
            self._places.extend([-1] * missing)
        self._places[result.index] = self._early.append(result.to_line())

    def _take(self, index: int) -> BatchResult | None:
        if index >= len(self._places) or self._places[index] < 0:
            return None
        return BatchResult.model_validate_json(self._early.at(self._places[index]))
