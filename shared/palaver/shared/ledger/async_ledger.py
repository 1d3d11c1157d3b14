"""The ledger for code on an event loop.

`SyncLedger` is its twin; what both do is in `exchange` and `operations`.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from functools import partial
from typing import Any, Self

import redis.asyncio

from palaver.shared.batches import BatchJob, BatchStatus, BatchView
from palaver.shared.beside import in_thread, is_large
from palaver.shared.errors import ErrorInfo, PalaverError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import (
    budgets,
    connections,
    deadletters,
    erasing,
    exchange,
    incoming,
    keeping,
    overdue,
    pumping,
    sighting,
    sweeping,
    usage,
)
from palaver.shared.ledger.batch_replies import BatchPage, OpenedBatch
from palaver.shared.ledger.exchange import Exchange, Words
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.multiplexer import Multiplexer
from palaver.shared.ledger.operation import Operation, Query, R, Retention
from palaver.shared.ledger.operations import access, batches, dead, ending, reading, submitting, watching
from palaver.shared.ledger.operations.sweeping import take_turn
from palaver.shared.ledger.replies import (
    Cancelled,
    Dispatch,
    Expired,
    Inspected,
    Refused,
    Submitted,
    SweepTurn,
    Swept,
    Vigil,
)
from palaver.shared.ledger.rules import InForce, Rules
from palaver.shared.ledger.sighting import Sight
from palaver.shared.ledger.views import Announcement, DeadLetter, Gate, JobView, LogBounds, Snapshot
from palaver.shared.settings import Settings
from palaver.shared.spending import DailyUsage, MonthlySpending


class AsyncLedger:
    """An async shell around the operations, for one event loop.

    Every method raises LedgerUnavailableError, which names the URL, when Redis does not answer within
    `settings.connect_seconds`. `client` replaces the connection, for tests.
    """

    def __init__(self, settings: Settings, *, client: redis.asyncio.Redis | None = None) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.retention = Retention.of(settings)
        self.bounds: InForce = Rules(settings)
        self._redis = Multiplexer(connections.async_client(settings) if client is None else client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. The ledger may be used again; it then opens new ones."""
        await self._redis.aclose()

    async def check(self) -> None:
        """Raises LedgerUnavailableError if Redis does not answer."""
        await self._drive(exchange.check())

    async def run(self, operation: Operation[R]) -> R:
        """Run any operation of `palaver.shared.ledger.operations`; raises its verdict."""
        return await self._drive(exchange.run(operation))

    async def run_many(self, operations: Sequence[Operation[R]]) -> list[R | PalaverError]:
        """Run many independent operations in few round trips; a verdict is that operation's result."""
        return await self._drive(exchange.run_many(operations))

    async def query(self, query: Query[R]) -> R:
        """Run any query of `palaver.shared.ledger.operations.reading`."""
        return await self._drive(exchange.query(query))

    async def submit(self, job: ChatJob) -> Submitted:
        """Store the job and its place in its session.

        Raises ConflictError, SessionBusyError, …
        """
        storing = incoming.submit(self.keys, job, retention=self.retention, in_force=self.bounds)
        return await (self._drive_beside(storing) if is_large(job) else self._drive(storing))

    async def submit_many(self, jobs: Iterable[ChatJob]) -> list[Submitted | PalaverError]:
        """Store many jobs in few round trips."""
        return await self._drive_beside(
            incoming.submit_many(self.keys, list(jobs), retention=self.retention, in_force=self.bounds)
        )

    async def refuse(self, session_id: str, job_id: str, error: ErrorInfo) -> Refused:
        """End a named job that cannot be accepted."""
        return await self.run(
            submitting.refuse(self.keys, session_id, job_id, error, retention=self.retention)
        )

    async def cancel(self, session_id: str, job_id: str, *, mode: ending.Mode = "cancel") -> Cancelled:
        """End a job, or have its worker end it. Raises JobGoneError."""
        return await self.run(
            ending.cancel(self.keys, session_id, job_id, mode=mode, retention=self.retention)
        )

    async def expire(self, session_id: str, job_id: str) -> Expired:
        """End a job past its deadline. Raises JobGoneError."""
        return await self.run(ending.expire(self.keys, session_id, job_id, retention=self.retention))

    async def find(self, job_id: str) -> str | None:
        """The session of a job."""
        return await self.query(reading.find(self.keys, job_id))

    async def job(self, job_id: str, session_id: str | None = None, *, document: bool = False) -> JobView:
        """The job as it is; reads only. Raises JobNotFoundError."""
        return await self._drive(overdue.view(self.keys, job_id, session_id, document=document))

    async def inspect(
        self, job_id: str, session_id: str | None = None, *, document: bool = False
    ) -> Inspected:
        """The job for somebody who asks: one past its deadline ends by that, with no worker alive too.

        The caller sends the dispatch. Raises JobNotFoundError.
        """
        conversation = overdue.inspect(
            self.keys, job_id, session_id, document=document, retention=self.retention
        )
        return await self._drive(conversation)

    async def expire_all(self) -> list[Dispatch]:
        """End what is past its deadline and seen to by no worker. The caller sends the dispatches."""
        return await self._drive(overdue.expire_all(self.keys, retention=self.retention))

    async def note_batch(self, batch: BatchJob) -> None:
        """Before its lines are stored: they are found by it, for their owner, and to be removed some day.

        Raises LedgerFullError, QueueFullError, SpendLimitError.
        """
        await self._drive(
            keeping.note_batch(self.keys, batch, retention=self.retention, in_force=self.bounds)
        )

    async def abandon_batch(self, batch: BatchJob) -> None:
        """The lines of a batch that was noted could not be stored: it counts no more."""
        await self._drive(keeping.abandon_batch(self.keys, batch))

    async def open_batch(self, batch: BatchJob) -> OpenedBatch:
        """Store a batch, whose lines are in the file store; the workers see it by themselves.

        Raises ConflictError.
        """
        return await self.run(batches.open_batch(self.keys, batch, retention=self.retention))

    async def open_batches(self) -> list[BatchView]:
        """The batches that have not ended, the oldest first."""
        return await self._drive(keeping.listing(self.keys))

    async def batch(self, batch_id: str) -> BatchView:
        """The batch as it is. Raises BatchNotFoundError."""
        return await self.run(batches.batch(self.keys, batch_id))

    async def cancel_batch(self, batch_id: str) -> BatchStatus:
        """Have no line begin any more, and those that run end. Raises BatchNotFoundError."""
        return await self.run(batches.cancel_batch(self.keys, batch_id, retention=self.retention))

    async def batch_results(self, batch_id: str, *, after: int, count: int = 500) -> BatchPage:
        """What follows so many results, in order of completion. Raises BatchNotFoundError."""
        return await self.run(batches.batch_results(self.keys, batch_id, after=after, count=count))

    async def snapshot(
        self,
        session_id: str,
        job_ids: Sequence[str] = (),
        *,
        after: int | None = None,
        documents: bool = False,
    ) -> Snapshot:
        """A session and some of its jobs at one moment; see `operations.snapshot`."""
        return await self.run(
            reading.snapshot(self.keys, session_id, job_ids, after=after, documents=documents)
        )

    async def events(self, session_id: str, *, after: int = 0, count: int = reading.PAGE) -> list[bytes]:
        """A page of the session's log, as JSON."""
        return await self.query(reading.events(self.keys, session_id, after=after, count=count))

    async def log_bounds(self, session_id: str) -> LogBounds:
        """What the log holds."""
        return await self.query(reading.log_bounds(self.keys, session_id))

    async def seq(self, session_id: str) -> int:
        """The seq of the session's last event."""
        return await self.query(reading.seq(self.keys, session_id))

    async def born(self, session_id: str) -> str | None:
        """What tells a session from others of its id; None where there is none, or nobody has noted it."""
        (owner,) = await self.query(access.session_owners(self.keys, [session_id]))
        return owner.born

    async def messages(self, session_id: str, *, first: int = 0, limit: int | None = None) -> list[bytes]:
        """The session's messages as JSON, those that the active job began with included: all, or `limit` of
        them from `first` on.
        """
        return await self.run(reading.messages(self.keys, session_id, first=first, limit=limit))

    async def workers(self) -> list[Announcement]:
        """Live workers."""
        return await self.run(reading.announced(self.keys.workers))

    async def announced_profiles(self) -> list[Announcement]:
        """The profiles that live workers serve."""
        return await self.run(reading.announced(self.keys.profiles))

    async def announced_agents(self) -> list[Announcement]:
        """The agent paths that live workers serve."""
        return await self.run(reading.announced(self.keys.agents))

    async def unended(self) -> int:
        """How many jobs have not ended."""
        return await self.query(reading.unended(self.keys))

    async def sight(self) -> Sight:
        """A look at the jobs that have not ended; of many at a part of them."""
        return await self._drive(sighting.sight(self.keys))

    async def vigil(self) -> Vigil:
        """How long the broker's queues make one wait, and when a sweep was completed."""
        return await self.query(watching.vigil(self.keys))

    async def dead(self, limit: int | None = None) -> list[DeadLetter]:
        """Jobs that failed or expired, the latest first: as many as are kept, or `limit`."""
        return await self._drive(deadletters.listing(self.keys, limit=limit))

    async def usage(self, *, since: date, until: date, tenant: str | None = None) -> list[DailyUsage]:
        """What was spent from one day to another, by day, tenant and model; of one tenant, or of all."""
        return await self._drive(usage.listing(self.keys, since=since, until=until, tenant=tenant))

    async def spending(self, tenant: str | None) -> MonthlySpending:
        """What a tenant, or jobs without one, have spent in this month, and may."""
        return await self._drive(budgets.told(self.keys, tenant, self.bounds))

    async def gates(self) -> list[Gate]:
        """The profiles' gates that are closed or paused, or at which somebody waits."""
        return await self._drive(pumping.listing(self.keys))

    async def drop_dead(self, entries: Sequence[tuple[str, str]]) -> int:
        """Take these (session id, job id) out of the dead letters; how many of them were there."""
        return await self.query(dead.drop(self.keys, entries)) if entries else 0

    async def erase(self, session_ids: Collection[str]) -> int:
        """Remove all that there is of sessions whose jobs have ended; how many keys that were."""
        return await self._drive(erasing.erase(self.keys, session_ids))

    async def sweep_turn(
        self, *, period: float = 1.0, again: bool = False, completed: float = 0.0
    ) -> SweepTurn | None:
        """The sweepers' turn for `period` seconds; None if another has it. `again` goes on with one's own."""
        return await self.run(take_turn(self.keys, period=period, again=again, completed=completed))

    async def sweep(self, turn: SweepTurn, *, empty_queues: Collection[str] = (), limit: int = 500) -> Swept:
        """Look at jobs that are due, and at those whose message was lost. The caller sends the dispatches.

        `empty_queues` are broker queues that held no message at some time since the turn was taken. At most
        `limit` jobs of each kind; after a sweep that was `full`, there is more to look at already.
        """
        conversation = sweeping.sweep(
            self.keys,
            turn,
            retention=self.retention,
            lease=self.settings.lease_seconds,
            renew=self.settings.renew_seconds,
            empty_queues=empty_queues,
            limit=limit,
        )
        return await self._drive(conversation)

    async def _drive(self, conversation: Exchange[R]) -> R:
        try:
            words = next(conversation)
            while True:
                words = conversation.send(await self._send(words))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _drive_beside(self, conversation: Exchange[R]) -> R:
        """The same for one whose words take long to make: the loop goes on meanwhile."""
        replies: list[Any] | None = None
        while True:
            told = await in_thread(partial(exchange.step, conversation, replies))
            if isinstance(told, exchange.Done):
                return told.result
            replies = await self._send(told)

    async def _send(self, commands: list[Words]) -> list[Any]:
        # No MULTI: a full Redis would refuse the whole of it, also the commands that free memory.
        with connections.translated(self.settings):
            return await self._redis.send(commands)
