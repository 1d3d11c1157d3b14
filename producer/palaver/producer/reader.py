"""Reading events: the I/O around `LogCursor`.

A `Reader` subscribes to its session's channel on the process's one pub/sub connection, reads the log when
its cursor asks, makes `resync` events from a snapshot, and ends jobs that are past their deadline, so that
no reader hangs even with no worker alive. It keeps nothing for a consumer that is slow: what its inbox
cannot hold is dropped there and read from the log later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from palaver.producer import idle
from palaver.producer.cursor import PAGE, Entry, LogCursor, Look, Need, Read, Snapshot, decode
from palaver.producer.resync import end_of_lost, events_of, lost, numbered, warning_of_forgotten
from palaver.shared.errors import JobGoneError, LedgerUnavailableError
from palaver.shared.events import AnyEvent, parse_event
from palaver.shared.ledger import AsyncLedger, Dispatch, Inbox, JobView, Notice, Signal, Subscriptions

log = logging.getLogger("palaver.producer")

OUTAGE_SECONDS: Final = 60.0
"""A reader that was connected once waits so long for its Redis to come back."""
PAUSE_SECONDS: Final = 0.25
EARLY_SECONDS: Final = 0.05
ANSWERS: Final = 20
"""So many ended jobs, with their answers, are asked for at a time."""

_UNHEARD: Final = (Signal.LOST, Signal.MISSED)
"""Notices that do not come from Redis."""

Send = Callable[[Iterable[Dispatch]], Awaitable[None]]


class Reader:
    """One consumer of a session's events after `after`; with `job_id`, of that job's alone, until its end.

    Used by one task at a time. `room` is how many live messages wait here, and how many entries of the log
    are read at a time. `open_jobs` are unended jobs of the session that began before `after`. `send` sends
    the messages of jobs that got their turn when this reader ended another one. Raises:
    LedgerUnavailableError at once if Redis cannot be reached at the start, later after `OUTAGE_SECONDS`, and
    when its client is closed; JobLostError for a job that the ledger no longer knows.
    """

    def __init__(
        self,
        ledger: AsyncLedger,
        subscriptions: Subscriptions,
        idle_readers: idle.IdleReaders,
        session_id: str,
        after: int,
        *,
        job_id: str | None = None,
        send: Send,
        room: int | None = None,
        open_jobs: Iterable[str] = (),
    ) -> None:
        self._ledger = ledger
        self._subscriptions = subscriptions
        self._idle = idle_readers
        self._session_id = session_id
        self._job_id = job_id
        self._room = room
        self._page = PAGE if room is None else min(PAGE, room)
        self._send = send
        self._cursor = LogCursor(after, job_id=job_id, open_jobs=open_jobs)
        self._cursor.confirmed()  # reads the log before there is a subscription, and again when there is one
        self._made: list[AnyEvent] = []  # what is in no log: resyncs, and what belongs to them
        self._stack = AsyncExitStack()
        self._inbox: Inbox | None = None
        self._patience = idle.SILENCE_SECONDS
        self._reached = float("-inf")  # when Redis last answered, by the monotonic clock
        self._waits = False  # for a Redis that is away; whoever reads the log is told so once
        self._stopped = False

    async def batch(self) -> list[AnyEvent] | None:
        """What has arrived, at least one event and oldest first; None after the job's end."""
        items = await self._next()
        if items is None:
            return None
        return [parse_event(item.fields) if isinstance(item, Entry) else item for item in items]

    async def entries(self) -> list[Entry] | None:
        """As `batch`, for who passes events on: their JSON, decoded no further."""
        items = await self._next()
        if items is None:
            return None
        return [item if isinstance(item, Entry) else _made(item) for item in items]

    @property
    def seq(self) -> int:
        """The seq up to which the consumer has what there is for it."""
        return self._cursor.seq

    async def end(self) -> None:
        """Wait for the job's end without looking at its events."""
        while await self._next() is not None:
            pass

    def stop(self) -> None:
        """Its connections are about to be closed: whoever reads is told so, but for who has read all."""
        self._stopped = not self._cursor.done
        if self._inbox is not None:
            self._inbox.put(Signal.LOST)

    async def aclose(self) -> None:
        """Give up the subscription. May be called twice."""
        self._cursor.done = True
        await self._stack.aclose()

    async def _next(self) -> list[Entry] | list[AnyEvent] | None:
        while True:
            if self._stopped:
                await self.aclose()
                raise LedgerUnavailableError("The client was closed while it was read from.")
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
                    self._subscriptions.listen(self._ledger.keys.channel(self._session_id), self._room)
                )
            else:
                self._take(await self._heard(self._inbox))

    async def _heard(self, inbox: Inbox) -> list[Notice]:
        """What arrives, or that nothing does. Only who waits for an end has to look at it himself."""
        if self._cursor.open_jobs:
            return await inbox.receive(self._patience)
        notices = await self._idle.notices(inbox, self._session_id, self._cursor.seq)
        self._reached = max(self._reached, self._idle.reached)
        return notices

    def _take(self, notices: list[Notice]) -> None:
        """Tell the cursor what has arrived."""
        if all(notice in _UNHEARD for notice in notices):
            # A connection that cannot be made again says so every second: that is silence too.
            silent = not notices or Signal.MISSED in notices
            if silent or time.monotonic() - self._reached >= self._patience:
                self._cursor.silence()
            return
        self._reached = time.monotonic()
        for notice in notices:
            if isinstance(notice, bytes):
                self._cursor.live((notice,))
            elif notice is Signal.SUBSCRIBED:
                self._cursor.confirmed()
            elif notice is Signal.OVERRUN:
                self._cursor.overrun()
            elif notice is Signal.MISSED:
                self._cursor.silence()

    async def _serve(self, need: Need) -> None:
        """Do what the cursor needs; through an outage, leave it needed."""
        try:
            match need:
                case Read(after, compare):
                    await self._read(after, compare)
                case Look(jobs):
                    self._patience = idle.SILENCE_SECONDS
                    await self._look(jobs)
                case Snapshot(jobs, after):
                    await self._resync(jobs, after)
        except LedgerUnavailableError as error:
            if time.monotonic() - self._reached > OUTAGE_SECONDS:
                raise
            if not self._waits:
                log.warning("reader_waits seconds=%d: %s", OUTAGE_SECONDS, error)
            self._waits = True
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            self._reached = time.monotonic()
            self._waits = False

    async def _read(self, after: int, compare: bool) -> None:
        # The session's seq first: what it counts must then be in the log, unless it was trimmed.
        seq = await self._ledger.seq(self._session_id) if compare else None
        if seq is not None and seq == after == self._cursor.seq:
            self._cursor.page([], seq)
            return
        self._cursor.page(await self._ledger.events(self._session_id, after=after, count=self._page), seq)

    async def _look(self, jobs: Sequence[str]) -> None:
        try:
            self._cursor.looked([job for job in jobs if await self._has_ended(job)])
        except JobGoneError:
            if self._job_id is not None:
                raise lost(self._job_id) from None
            self._cursor.vanished()

    async def _has_ended(self, job_id: str) -> bool:
        """Whether a job has ended; one that is past its deadline ends now."""
        state = await self._ledger.expire(self._session_id, job_id)
        if state.dispatch is not None:
            await self._send([state.dispatch])
        if state.early:  # be there when the deadline passes
            self._patience = min(self._patience, state.early + EARLY_SECONDS)
        return state.ended

    async def _resync(self, known: Sequence[str], after: int) -> None:
        """Replace what the consumer has of each job concerned by what the ledger has of it."""
        of_session = self._job_id is None
        moment = await self._ledger.snapshot(self._session_id, known, after=after if of_session else None)
        past = await self._views([job for job in moment.ended if job not in moment.jobs])
        views = {job: past[job] for job in moment.ended if job in past} | moment.jobs
        vanished = [job for job in known if job not in views]
        if vanished and not of_session:
            raise lost(vanished[0])
        made = [end_of_lost(job, moment) for job in vanished]
        if moment.forgotten or any(job not in views for job in moment.ended):
            made.append(warning_of_forgotten(moment))
        for view in views.values():
            made += events_of(view, moment)
        self._made += numbered(made, before=self._cursor.seq)
        self._cursor.resumed(moment.seq, [job for job, view in views.items() if not view.status.ended])

    async def _views(self, ended: Sequence[str]) -> dict[str, JobView]:
        """Of jobs that have ended, and so need not be seen at one moment. Some may be gone."""
        views: dict[str, JobView] = {}
        for start in range(0, len(ended), ANSWERS):
            page = await self._ledger.snapshot(self._session_id, ended[start : start + ANSWERS])
            views |= page.jobs
        return views


def _made(event: AnyEvent) -> Entry:
    return decode(event.to_json())._replace(made=True)
