"""Reading events: the I/O around `LogCursor`.

A `Reader` subscribes to its session's channel on the process's one pub/sub connection, reads the log when
its cursor asks, makes `resync` events from a snapshot, and ends jobs that are past their deadline, so that
no reader hangs even with no worker alive. It keeps nothing for a consumer that is slow: what its inbox
cannot hold is dropped there and read from the log later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from itertools import groupby
from typing import Any, Final

from palaver.producer import cursor
from palaver.producer.cursor import PAGE, Entry, LogCursor, Look, Need, Read, decode
from palaver.shared.errors import JobGoneError, JobLostError, LedgerUnavailableError
from palaver.shared.events import AnyEvent, Resync, ResyncData, StreamEnd, StreamEndData, parse_event
from palaver.shared.ledger import (
    AsyncLedger,
    Dispatch,
    Inbox,
    JobView,
    Notice,
    Signal,
    Snapshot,
    Subscriptions,
)

SILENCE_SECONDS: Final = 5.0
OUTAGE_SECONDS: Final = 60.0
"""A reader that was connected once waits so long for its Redis to come back."""
PAUSE_SECONDS: Final = 0.25
EARLY_SECONDS: Final = 0.05

Send = Callable[[Iterable[Dispatch]], Awaitable[None]]


class Reader:
    """One consumer of a session's events after `after`; with `job_id`, of that job's alone, until its end.

    Used by one task at a time. `send` sends the messages of jobs that got their turn when this reader ended
    another one. Raises: LedgerUnavailableError at once if Redis cannot be reached at the start, later after
    `OUTAGE_SECONDS`; JobLostError for a job that the ledger no longer knows.
    """

    def __init__(
        self,
        ledger: AsyncLedger,
        subscriptions: Subscriptions,
        session_id: str,
        after: int,
        *,
        job_id: str | None = None,
        send: Send,
    ) -> None:
        self._ledger = ledger
        self._subscriptions = subscriptions
        self._session_id = session_id
        self._job_id = job_id
        self._send = send
        self._cursor = LogCursor(after, job_id=job_id)
        self._cursor.confirmed()  # reads the log before there is a subscription, and again when there is one
        self._made: list[AnyEvent] = []  # resyncs, and the ends that belong to them
        self._stack = AsyncExitStack()
        self._inbox: Inbox | None = None
        self._patience = SILENCE_SECONDS
        self._reached = float("-inf")  # when Redis last answered, by the monotonic clock

    async def batch(self) -> list[AnyEvent] | None:
        """What has arrived, at least one event and oldest first; None after the job's end."""
        items = await self._next()
        if items is None:
            return None
        return [parse_event(item.fields) if isinstance(item, Entry) else item for item in items]

    async def end(self) -> None:
        """Wait for the job's end without looking at its events."""
        while await self._next() is not None:
            pass

    async def aclose(self) -> None:
        """Give up the subscription. May be called twice."""
        self._cursor.done = True
        await self._stack.aclose()

    async def _next(self) -> list[Entry] | list[AnyEvent] | None:
        while True:
            if entries := self._cursor.take():
                return entries
            if self._made:
                made, self._made = self._made, []
                return made
            if self._cursor.done:
                await self.aclose()
                return None
            if self._cursor.need is not None:
                await self._serve(self._cursor.need)
            elif self._inbox is None:  # what the log has needs no subscription
                self._inbox = await self._stack.enter_async_context(
                    self._subscriptions.listen(self._ledger.keys.channel(self._session_id))
                )
            else:
                self._take(await self._inbox.receive(self._patience))

    def _take(self, notices: list[Notice]) -> None:
        """Tell the cursor what has arrived."""
        if not notices:
            self._cursor.silence()
        for signal, group in groupby(notices, key=lambda notice: isinstance(notice, Signal) and notice):
            if not signal:
                self._cursor.live(notice for notice in group if isinstance(notice, bytes))
            elif signal is Signal.SUBSCRIBED:
                self._cursor.confirmed()
            elif signal is Signal.OVERRUN:
                self._cursor.overrun()

    async def _serve(self, need: Need) -> None:
        """Do what the cursor needs; through an outage, leave it needed."""
        try:
            match need:
                case Read(after, compare):
                    await self._read(after, compare)
                case Look(jobs):
                    self._patience = SILENCE_SECONDS
                    self._cursor.looked([job for job in jobs if await self._has_ended(job)])
                case cursor.Snapshot(jobs, after):
                    await self._resync(jobs, after)
        except LedgerUnavailableError:
            if time.monotonic() - self._reached > OUTAGE_SECONDS:
                raise
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            self._reached = time.monotonic()

    async def _read(self, after: int, compare: bool) -> None:
        # The session's seq first: what it counts must then be in the log, unless it was trimmed.
        seq = await self._ledger.seq(self._session_id) if compare else None
        if seq is not None and seq == after == self._cursor.seq:
            self._cursor.page([], seq)
            return
        self._cursor.page(await self._ledger.events(self._session_id, after=after, count=PAGE), seq)

    async def _has_ended(self, job_id: str) -> bool:
        """Whether a job has ended; one that is past its deadline ends now."""
        try:
            state = await self._ledger.expire(self._session_id, job_id)
        except JobGoneError:
            if job_id == self._job_id:
                raise self._lost() from None
            return True
        if state.dispatch is not None:
            await self._send([state.dispatch])
        if state.early:  # be there when the deadline passes
            self._patience = min(self._patience, state.early + EARLY_SECONDS)
        return state.ended

    async def _resync(self, known: Iterable[str], after: int) -> None:
        """Replace what the consumer has of each job concerned by what the ledger has of it at one moment."""
        jobs = dict.fromkeys(known)
        if self._job_id is None:
            jobs |= dict.fromkeys(await self._jobs_of_session(after))
        snapshot = await self._ledger.snapshot(self._session_id, list(jobs))
        if self._job_id is not None and self._job_id not in snapshot.jobs:
            raise self._lost()
        for view in snapshot.jobs.values():
            self._made += _resync_events(view, snapshot)
        self._cursor.resumed(
            snapshot.seq, [view.job_id for view in snapshot.jobs.values() if not view.status.ended]
        )

    async def _jobs_of_session(self, after: int) -> list[str]:
        """The jobs that have the turn or wait for it, and those with events after `after` in the log.

        Others have ended, and only who knows their ids can ask for them.
        """
        session = await self._ledger.snapshot(self._session_id)
        jobs = [session.active, *session.waiting] if session.active else session.waiting
        while page := await self._ledger.events(self._session_id, after=after, count=PAGE):
            entries = [decode(raw) for raw in page]
            jobs += [entry.job_id for entry in entries]
            after = entries[-1].seq
        return jobs

    def _lost(self) -> JobLostError:
        return JobLostError(f"the ledger no longer knows job {self._job_id}", job_id=self._job_id)


def _resync_events(view: JobView, snapshot: Snapshot) -> list[AnyEvent]:
    """The `resync` of a job, and its end if it has ended: in the log neither can be found any more."""
    response = view.response
    text = response.content if response else view.text
    reasoning = (response.reasoning if response else view.reasoning) or ""
    common: dict[str, Any] = {
        "seq": snapshot.seq,
        "session_id": view.session_id,
        "job_id": view.job_id,
        "attempt": view.attempt,
        "time": snapshot.time,
    }
    data = ResyncData(seq=snapshot.seq, text=text, reasoning=reasoning, status=view.status)
    resync = Resync(**common, data=data)
    if not view.status.ended:
        return [resync]
    end = StreamEndData(
        status=view.status,
        response=response,
        error=view.error,
        text=None if response else text,
        reasoning=None if response else reasoning,
        usage=response.usage if response else None,
        finish_reason=response.finish_reason if response else None,
    )
    return [resync, StreamEnd(**common, data=end)]
