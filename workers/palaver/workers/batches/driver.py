"""One driver of a batch: claims its lines, has them answered, tells and stores the results.

Its cycle makes one round trip at a time: the results that have come since the last one leave, and lines for
the places that they made free come back with the reply. An idle one asks again every moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Final

from palaver.shared import ending_tasks
from palaver.shared.batches import BatchJob, BatchStatus, BatchView, line_id
from palaver.shared.errors import (
    FileMissingError,
    JobExpiredError,
    LeaseError,
    LedgerFullError,
    PalaverError,
)
from palaver.shared.ids import new_token
from palaver.shared.ledger import (
    AsyncLedger,
    BatchStop,
    ClaimedLines,
    LineResult,
    Operation,
    operations,
)
from palaver.shared.responses import ChatResponse
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.batches.lines import Lines, line_result
from palaver.workers.batches.patience import NO_STORE, patiently
from palaver.workers.batches.room import Room
from palaver.workers.batches.slices import Slices
from palaver.workers.batches.storing import PART_BYTES, PART_LINES, Storing
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames
from palaver.workers.lease import LeaseKeeper
from palaver.workers.link import Link
from palaver.workers.run import failure_of
from palaver.workers.stop import HandOver, Stop, uninterrupted

__all__ = ["Driver", "Parts"]

logger = event_logger("palaver.workers.batches")

POLL_SECONDS: Final = 0.2
"""Until an idle driver asks again: lines may have come back, or places have become free."""
FLUSH_SECONDS: Final = 10.0
"""Results are read from the ledger meanwhile; many small parts are for nobody's good. Each driver asks as
often whether it is to store what waits.
"""
MOST_LINES: Final = 1000
"""Of one driver at once, whatever the window."""
GROUP: Final = MOST_LINES
GROUP_BYTES: Final = 1024 * 1024
"""Results that are told in one script: Redis does nothing else meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the drivers of a process share."""

    link: Link
    ledger: AsyncLedger
    leases: LeaseKeeper
    files: BatchFiles
    lines: Lines
    room: Room
    worker: str
    lease_seconds: float


class Driver:
    """Drives one batch; `run` once. `stop` ends it; `draining` says whether it is to begin no more lines."""

    def __init__(self, batch_id: str, parts: Parts, stop: Stop, *, draining: Callable[[], bool]) -> None:
        self._batch_id = batch_id
        self._parts = parts
        self._stop = stop
        self._draining = draining
        self._token = new_token()
        self._ticket = 0
        self._window = 1
        self._running: dict[asyncio.Task[None], Stop] = {}
        self._ready: list[LineResult] = []
        self._woken = asyncio.Event()
        self._verdict: PalaverError | None = None  # why it drives no more
        self._storing = Storing(
            link=parts.link, ledger=parts.ledger, files=parts.files, batch_id=batch_id, token=self._token
        )
        self._flushing: set[asyncio.Task[None]] = set()  # one at most
        self._flushed_at = time.monotonic()
        self._waiting = self._waiting_bytes = 0  # of the results in the ledger, as it said last
        self._batch: BatchJob
        self._slices: Slices

    async def run(self) -> str:
        """Drive until nothing is left to do; what became of the batch, or of the driver."""
        view = await self._parts.ledger.batch(self._batch_id)
        if view.batch.is_newer:
            logger.warning("batch.newer", batch_id=self._batch_id, version=view.batch.version)
            return "newer"
        self._batch = view.batch
        self._slices = Slices(self._parts.files, view.batch, window=MOST_LINES, room=self._parts.room)
        try:
            async with self._stop:
                if not await self._has_input(view):
                    return "no_input"
                await self._take()
                with self._parts.leases.hold(self):
                    return await self._drive()
        except (LeaseError, HandOver) as verdict:
            forget_frames(verdict)  # it is kept
            return verdict.code if isinstance(verdict, LeaseError) else "released"
        except NO_STORE:
            return "no_store"
        finally:
            await uninterrupted(self._leave())

    # The lease

    def renewal(self, seconds: float) -> Operation[Any]:
        """See `Lease.renewal`."""
        return operations.renew_driver(
            self._parts.ledger.keys, self._batch_id, token=self._token, lease=seconds
        )

    def settle(self, answer: Any, until: float) -> None:
        """See `Lease.settle`."""
        if isinstance(answer, LeaseError):
            self.give_up(answer)
        elif isinstance(answer, PalaverError):
            logger.warning("lease.unconfirmed", job_id=self._batch_id, error=answer.type)
        else:
            self._heed(answer)

    def give_up(self, reason: PalaverError) -> None:
        """See `Lease.give_up`."""
        self._verdict = reason
        self._stop(reason)

    async def _has_input(self, view: BatchView) -> bool:
        """Whether the first line is in the store; it says how many may run at once. Another worker's may have
        what this one's has not: that is no reason to have all lines fail, until they expire.
        """
        try:
            async with self._slices.line(0) as first:
                self._window = await self._parts.lines.window(view.batch, first)
        except FileMissingError as error:
            logger.warning("batch.no_input", batch_id=self._batch_id, reason=error.message)
            return time.time() >= view.expires_at
        return True

    # The cycle

    async def _drive(self) -> str:
        while True:
            state = await self._turn()
            if not (self._running or self._ready):
                if state == "over" and (status := await self._finish()):
                    return str(status)
                if state != "more" or self._draining():
                    return "left"
            if not self._ready:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._woken.wait()

    async def _turn(self) -> str:
        """Tell results, and take lines; whether there are `more`, `none`, or all are `over`."""
        self._woken.clear()
        if self._ready:
            await self._tell()
        self._flush_if_due()
        if self._ready or len(self._running) >= min(self._window, MOST_LINES):
            return "more"
        if self._draining():
            return "none"
        return await self._take()

    async def _tell(self) -> None:
        """Tell some results, and keep them until the ledger has them: a hand-over may end the wait for that.
        What is told again counts nothing twice.
        """
        sizes = accumulate(len(result.line) for result in self._ready)
        count = next((place for place, size in enumerate(sizes, 1) if size >= GROUP_BYTES), GROUP)
        results, ledger = self._ready[:count], self._parts.ledger
        noting = operations.note_results(
            ledger.keys, self._batch_id, token=self._token, results=results, retention=ledger.retention
        )
        noted = await self._parts.link.run(noting)
        del self._ready[: len(results)]
        self._waiting, self._waiting_bytes = noted.waiting, noted.waiting_bytes
        self._heed(noted.stop)

    async def _take(self) -> str:
        """Claim lines for the free places, and begin them."""
        room = min(self._window, MOST_LINES) - len(self._running)
        self._ticket += 1
        claiming = operations.claim_lines(
            self._parts.ledger.keys,
            self._batch_id,
            token=self._token,
            ticket=self._ticket,
            worker=self._parts.worker,
            lease=self._parts.lease_seconds,
            room=room,
            window=self._window,
        )
        try:
            claimed = await self._parts.link.run(claiming)
        except LedgerFullError:
            self._ticket -= 1
            return "more"
        self._begin(claimed)
        return claimed.state if not claimed.lines else "more"

    def _begin(self, claimed: ClaimedLines) -> None:
        for index, deaths in claimed.lines.items():
            stop = Stop()
            line = asyncio.create_task(self._answer(index, deaths, stop), name=f"{self._batch_id}.{index}")
            self._running[line] = stop
            line.add_done_callback(self._done)
        self._heed(claimed.stop)

    def _done(self, line: asyncio.Task[None]) -> None:
        del self._running[line]
        self._woken.set()

    async def _answer(self, index: int, deaths: int, stop: Stop) -> None:
        """Whatever happens, the line has a result: one without would come again and again."""
        name = line_id(self._batch_id, index)
        problem = await failure_of(self._answered(index, deaths, stop), name)
        if problem is not None:
            self._ready.append(line_result(index, name, ChatResponse.failed(problem)))

    async def _answered(self, index: int, deaths: int, stop: Stop) -> None:
        try:
            async with self._slices.line(index) as stored:
                result = await self._result(index, stored, deaths, stop)
        except NO_STORE as problem:
            self._stop(HandOver(f"The lines of the batch cannot be read: {problem.message}"))
            return
        if result is not None:
            self._ready.append(result)

    async def _result(self, index: int, stored: bytes, deaths: int, stop: Stop) -> LineResult | None:
        """Raises one of NO_STORE. A file that cannot be read where others can fails its line alone: for that
        the batch would be left again and again.
        """
        ask = partial(self._parts.lines.result, self._batch, index, stored, deaths, stop)
        try:
            return await patiently(self._batch_id, ask)
        except NO_STORE:
            await self._slices.check()
            return await ask(fails=True)

    def _heed(self, stop: BatchStop) -> None:
        """The batch goes on, or why not: lines that run are ended, those that expire with a result."""
        if stop == "expired":
            for running in self._running.values():
                running(JobExpiredError())
        elif stop:
            self._drop_lines()

    def _drop_lines(self) -> None:
        for line in self._running:
            line.cancel()

    # The results

    def _flush_if_due(self) -> None:
        """Also if nothing waits, as far as is known here: a driver that tells nothing hears nothing of what
        others tell, and no line is given out any more when too much of that waits.
        """
        if self._flushing:
            return
        many = self._waiting >= PART_LINES / 2 or self._waiting_bytes >= PART_BYTES / 2
        if many or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self._flushed_at = time.monotonic()
            flushing = asyncio.create_task(self._flush(), name=f"{self._batch_id}-flush")
            self._flushing.add(flushing)
            flushing.add_done_callback(self._flushing.discard)

    async def _finish(self) -> BatchStatus | None:
        await asyncio.gather(*self._flushing)
        return await self._storing.finish()

    async def _flush(self) -> None:
        try:
            gathered = await self._storing.flush()
        except NO_STORE as problem:
            # Nobody else may store as long as it works on the batch; but what runs would be asked again.
            if self._storing.is_behind or not self._running:
                self._stop(HandOver(f"The results of the batch cannot be stored: {problem.message}"))
        except PalaverError as error:
            logger.info("batch.not_stored", batch_id=self._batch_id, error=error.type)
        else:
            # Of another driver nothing is known until the next reply.
            self._waiting = 0 if gathered is None else max(0, self._waiting - len(gathered.results))
            self._waiting_bytes = 0

    async def _leave(self) -> None:
        """End what runs, and give back what has no result."""
        self._slices.close()
        await ending_tasks.end({*self._running, *self._flushing})
        if self._verdict is not None:
            return
        with suppress(PalaverError):
            while self._ready:
                await self._tell()
        with suppress(PalaverError):
            leaving = operations.leave_batch(self._parts.ledger.keys, self._batch_id, token=self._token)
            await self._parts.link.run(leaving)
