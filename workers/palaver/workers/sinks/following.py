"""Sinks follow the log, as every reader does: so they are told what it has accepted, in its order, and a slow
one neither slows a job nor fills the memory. The log is what keeps events for it.

One follower reads one session for one sink while this worker runs a job of it. The channel's notices wake it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from palaver.shared.errors import PalaverError
from palaver.shared.events import AnyEvent, parse_event
from palaver.shared.ledger import AsyncLedger
from palaver.shared.ledger.subscriptions import Inbox, Signal, Subscriptions
from palaver.workers.event_log import event_logger
from palaver.workers.stop import uninterrupted

__all__ = ["Outlet", "Sinks"]

logger = event_logger("palaver.workers.sinks")

_UNTOLD: Final = nullcontext()  # what a job is told in where nobody listens

PAGE = 200  # events that a follower holds at most
AT_ONCE = 64  # calls of one sink
PUBLISH_SECONDS = 30.0
SILENCE_SECONDS = 5.0  # after which the log is looked at without a notice
OUTAGE_TRIES = 12  # with a pause of as long
CLOSE_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Outlet:
    """A sink as it is called here, and what became of its events."""

    name: str
    kinds: frozenset[str] | None
    publish: Callable[[str, Sequence[AnyEvent]], Awaitable[None]]
    close: Callable[[], Awaitable[None]]
    published: int = 0
    lost: int = 0  # it failed, or the log had been trimmed before it was told of them
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def tell(self, session_id: str, events: Sequence[AnyEvent]) -> None:
        """Publish. Never raises."""
        wanted = [event for event in events if self.kinds is None or event.type in self.kinds]
        if not wanted:
            return
        try:
            async with self.turn, asyncio.timeout(PUBLISH_SECONDS):
                await self.publish(session_id, wanted)
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, no job may know
            self.lose(session_id, len(wanted), type(error).__name__)
        else:
            self.published += len(wanted)

    def lose(self, session_id: str, count: int, why: str) -> None:
        """Count what it will never be told."""
        self.lost += count
        logger.warning("sink.lost", sink=self.name, session_id=session_id, events=count, reason=why)


class Sinks:
    """The sinks of a worker. Belongs to the loop of the streams."""

    def __init__(self, outlets: Sequence[Outlet], ledger: AsyncLedger, subscriptions: Subscriptions) -> None:
        self._outlets = outlets
        self._ledger = ledger
        self._subscriptions = subscriptions
        self._followers: dict[tuple[str, Outlet], _Follower] = {}

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What became of events, by the sink's name."""
        return {outlet.name: {"published": outlet.published, "lost": outlet.lost} for outlet in self._outlets}

    def told_of(
        self, session_id: str, job_id: str, cancelled: Callable[[], object]
    ) -> AbstractAsyncContextManager[None]:
        """Tell the sinks of what is logged of this job inside. A cancellation on the way in cancels nothing,
        but calls `cancelled`.
        """
        return self._following(session_id, job_id, cancelled) if self._outlets else _UNTOLD

    @asynccontextmanager
    async def _following(
        self, session_id: str, job_id: str, cancelled: Callable[[], object]
    ) -> AsyncIterator[None]:
        followers = await uninterrupted(self._begin(session_id, job_id), cancelled)
        try:
            yield
        finally:
            for follower in followers:
                follower.finish(job_id)

    async def aclose(self) -> None:
        """Give what is logged a moment to be told, then close the sinks."""
        tasks = [follower.task for follower in self._followers.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for outlet in self._outlets:
            await outlet.close()

    async def _begin(self, session_id: str, job_id: str) -> list[_Follower]:
        """The followers of the session: those that still run, for the order's sake, and new ones. They tell
        of the job from this turn of the loop on: in the next one, one that still runs may have left.
        """
        if self._missing(session_id):
            try:
                # Before the job writes its first event: one that is missed now is missed for ever.
                after = await self._ledger.seq(session_id)
            except PalaverError as error:
                logger.warning("sink.not_told", session_id=session_id, error=error.type)
            else:
                for outlet in self._missing(session_id):
                    self._follow(outlet, session_id, after)
        found = (self._followers.get((session_id, outlet)) for outlet in self._outlets)
        followers = [follower for follower in found if follower is not None]
        for follower in followers:
            follower.begin(job_id)
        return followers

    def _missing(self, session_id: str) -> list[Outlet]:
        """The sinks for which nobody follows the session."""
        return [outlet for outlet in self._outlets if (session_id, outlet) not in self._followers]

    def _follow(self, outlet: Outlet, session_id: str, after: int) -> None:
        follower = _Follower(
            outlet,
            session_id,
            after=after,
            ledger=self._ledger,
            subscriptions=self._subscriptions,
            leave=self._leave,
        )
        self._followers[session_id, outlet] = follower

    def _leave(self, follower: _Follower) -> None:
        del self._followers[follower.session_id, follower.outlet]


class _Follower:
    """Reads one session's log for one sink, until the jobs that it is told of have ended and been told."""

    def __init__(
        self,
        outlet: Outlet,
        session_id: str,
        *,
        after: int,
        ledger: AsyncLedger,
        subscriptions: Subscriptions,
        leave: Callable[[_Follower], None],
    ) -> None:
        self.outlet = outlet
        self.session_id = session_id
        self._after = after
        self._ledger = ledger
        self._subscriptions = subscriptions
        self._leave = leave
        self._jobs: set[str] = set()  # all that it has been given
        self._running: list[str] = []
        self._inbox: Inbox | None = None
        self._failures = 0
        self.task = asyncio.create_task(self._run(), name="palaver-sink")

    def begin(self, job_id: str) -> None:
        """Tell of this job too."""
        self._jobs.add(job_id)
        self._running.append(job_id)

    def finish(self, job_id: str) -> None:
        """No more is logged of it here."""
        self._running.remove(job_id)
        if self._inbox is not None:
            self._inbox.put(Signal.SUBSCRIBED)  # look once more

    async def _run(self) -> None:
        try:
            async with self._subscriptions.listen(self._ledger.keys.channel(self.session_id), PAGE) as inbox:
                self._inbox = inbox
                await self._tell_all(inbox)
        finally:
            self._leave(self)  # in the same turn of the loop as its last look: no job comes in between

    async def _tell_all(self, inbox: Inbox) -> None:
        while self._failures < OUTAGE_TRIES:
            ended = not self._running  # asked before the log is: what was written by then is in it
            events = await self._read()
            if events:
                # attempt 0: what was logged of a job before a worker had it
                ours = [event for event in events if event.job_id in self._jobs and event.attempt]
                await self.outlet.tell(self.session_id, ours)
            elif ended and not self._running and not self._failures:
                return
            else:
                await inbox.receive(SILENCE_SECONDS)
        logger.warning("sink.given_up", sink=self.outlet.name, session_id=self.session_id)

    async def _read(self) -> list[AnyEvent]:
        """The next page of the log; nothing while Redis is away."""
        try:
            page = await self._ledger.events(self.session_id, after=self._after, count=PAGE)
        except PalaverError:
            self._failures += 1
            return []
        self._failures = 0
        events = [parse_event(line) for line in page]
        if events:
            if missed := events[0].seq - self._after - 1:
                self.outlet.lose(self.session_id, missed, "the log was trimmed")
            self._after = events[-1].seq
        return events
