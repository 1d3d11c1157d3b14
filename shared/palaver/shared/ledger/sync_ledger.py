"""The ledger for code that blocks.

The async one is its twin; what they do is in `exchange` and `operations`.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any, Self

import redis

from palaver.shared.batches import BatchJob, BatchStatus, BatchView
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
from palaver.shared.ledger.operation import Operation, Query, R, Retention
from palaver.shared.ledger.operations import access, batches, dead, ending, reading, submitting, watching
from palaver.shared.ledger.operations.sweeping import take_turn
from palaver.shared.ledger.places import Places
from palaver.shared.ledger.replies import (
    Cancelled,
    Dispatch,
    Expired,
    Inspected,
    Place,
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


class SyncLedger:
    """A blocking shell around the operations; threads may share it.

    Every method raises LedgerUnavailableError, which names the URL, when Redis does not answer within
    `settings.connect_seconds`. `client` replaces the connection, for tests.
    """

    def __init__(self, settings: Settings, *, client: redis.Redis | None = None) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.retention = Retention.of(settings)
        self.bounds: InForce = Rules(settings)
        client = connections.sync_client(settings) if client is None else client
        self._places = Places(client, patience=settings.connect_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The ledger may be used again; it then opens new ones."""
        self._places.close()

    def check(self) -> None:
        """Raises LedgerUnavailableError if Redis does not answer."""
        self._drive(exchange.check())

    def run(self, operation: Operation[R]) -> R:
        """Run any operation of `palaver.shared.ledger.operations`; raises its verdict."""
        return self._drive(exchange.run(operation))

    def run_many(self, operations: Sequence[Operation[R]]) -> list[R | PalaverError]:
        """Run many independent operations in few round trips; a verdict is that operation's result."""
        return self._drive(exchange.run_many(operations))

    def query(self, query: Query[R]) -> R:
        """Run any query of `palaver.shared.ledger.operations.reading`."""
        return self._drive(exchange.query(query))

    def submit(self, job: ChatJob) -> Submitted:
        """Store the job and its place in its session.

        Raises ConflictError, SessionBusyError, …
        """
        return self._drive(incoming.submit(self.keys, job, retention=self.retention, in_force=self.bounds))

    def submit_many(self, jobs: Iterable[ChatJob]) -> list[Submitted | PalaverError]:
        """Store many jobs in few round trips."""
        return self._drive(
            incoming.submit_many(self.keys, list(jobs), retention=self.retention, in_force=self.bounds)
        )

    def refuse(self, session_id: str, job_id: str, error: ErrorInfo) -> Refused:
        """End a named job that cannot be accepted."""
        return self.run(submitting.refuse(self.keys, session_id, job_id, error, retention=self.retention))

    def cancel(self, session_id: str, job_id: str, *, mode: ending.Mode = "cancel") -> Cancelled:
        """End a job, or have its worker end it. Raises JobGoneError."""
        return self.run(ending.cancel(self.keys, session_id, job_id, mode=mode, retention=self.retention))

    def expire(self, session_id: str, job_id: str) -> Expired:
        """End a job past its deadline. Raises JobGoneError."""
        return self.run(ending.expire(self.keys, session_id, job_id, retention=self.retention))

    def find(self, job_id: str) -> str | None:
        """The session of a job."""
        return self.query(reading.find(self.keys, job_id))

    def job(self, job_id: str, session_id: str | None = None, *, document: bool = False) -> JobView:
        """The job as it is; reads only. Raises JobNotFoundError."""
        return self._drive(overdue.view(self.keys, job_id, session_id, document=document))

    def inspect(self, job_id: str, session_id: str | None = None, *, document: bool = False) -> Inspected:
        """The job for somebody who asks: one past its deadline ends by that, with no worker alive too.

        The caller sends the dispatch. Raises JobNotFoundError.
        """
        conversation = overdue.inspect(
            self.keys, job_id, session_id, document=document, retention=self.retention
        )
        return self._drive(conversation)

    def expire_all(self) -> list[Dispatch]:
        """End what is past its deadline and seen to by no worker. The caller sends the dispatches."""
        return self._drive(overdue.expire_all(self.keys, retention=self.retention))

    def note_batch(self, batch: BatchJob) -> None:
        """Before its lines are stored: they are found by it, for their owner, and to be removed some day.

        Raises LedgerFullError, QueueFullError, SpendLimitError.
        """
        self._drive(keeping.note_batch(self.keys, batch, retention=self.retention, in_force=self.bounds))

    def abandon_batch(self, batch: BatchJob) -> None:
        """The lines of a batch that was noted could not be stored: it counts no more."""
        self._drive(keeping.abandon_batch(self.keys, batch))

    def open_batch(self, batch: BatchJob) -> OpenedBatch:
        """Store a batch, whose lines are in the file store; the workers see it by themselves.

        Raises ConflictError.
        """
        return self.run(batches.open_batch(self.keys, batch, retention=self.retention))

    def open_batches(self) -> list[BatchView]:
        """The batches that have not ended, the oldest first."""
        return self._drive(keeping.listing(self.keys))

    def batch(self, batch_id: str) -> BatchView:
        """The batch as it is. Raises BatchNotFoundError."""
        return self.run(batches.batch(self.keys, batch_id))

    def cancel_batch(self, batch_id: str) -> BatchStatus:
        """Have no line begin any more, and those that run end. Raises BatchNotFoundError."""
        return self.run(batches.cancel_batch(self.keys, batch_id, retention=self.retention))

    def batch_results(self, batch_id: str, *, after: int, count: int = 500) -> BatchPage:
        """What follows so many results, in order of completion. Raises BatchNotFoundError."""
        return self.run(batches.batch_results(self.keys, batch_id, after=after, count=count))

    def snapshot(
        self,
        session_id: str,
        job_ids: Sequence[str] = (),
        *,
        after: int | None = None,
        documents: bool = False,
    ) -> Snapshot:
        """A session and some of its jobs at one moment."""
        return self.run(reading.snapshot(self.keys, session_id, job_ids, after=after, documents=documents))

    def events(self, session_id: str, *, after: int = 0, count: int = reading.PAGE) -> list[bytes]:
        """A page of the session's log, as JSON."""
        return self.query(reading.events(self.keys, session_id, after=after, count=count))

    def log_bounds(self, session_id: str) -> LogBounds:
        """What the log holds."""
        return self.query(reading.log_bounds(self.keys, session_id))

    def seq(self, session_id: str) -> int:
        """The seq of the session's last event."""
        return self.query(reading.seq(self.keys, session_id))

    def born(self, session_id: str) -> str | None:
        """What tells a session from others of its id; None where there is none, or nobody has noted it."""
        (owner,) = self.query(access.session_owners(self.keys, [session_id]))
        return owner.born

    def messages(self, session_id: str, *, first: int = 0, limit: int | None = None) -> list[bytes]:
        """The session's messages as JSON, those that the active job began with included: all, or `limit` of
        them from `first` on.
        """
        return self.run(reading.messages(self.keys, session_id, first=first, limit=limit))

    def workers(self) -> list[Announcement]:
        """Live workers."""
        return self.run(reading.announced(self.keys.workers))

    def announced_profiles(self) -> list[Announcement]:
        """The profiles that live workers serve."""
        return self.run(reading.announced(self.keys.profiles))

    def announced_agents(self) -> list[Announcement]:
        """The agent paths that live workers serve."""
        return self.run(reading.announced(self.keys.agents))

    def unended(self) -> int:
        """How many jobs have not ended."""
        return self.query(reading.unended(self.keys))

    def sight(self) -> Sight:
        """A look at the jobs that have not ended; of many at a part of them."""
        return self._drive(sighting.sight(self.keys))

    def running_jobs(self, most: int, before: Sequence[Place] = ()) -> sighting.Running:
        """At most so many jobs that run, with how much they have written; those of `before` come first."""
        conversation = sighting.running(
            self.keys, lease=self.settings.lease_seconds, most=most, before=before
        )
        return self._drive(conversation)

    def vigil(self) -> Vigil:
        """How long the broker's queues make one wait, and when a sweep was completed."""
        return self.query(watching.vigil(self.keys))

    def dead(self, limit: int | None = None) -> list[DeadLetter]:
        """Jobs that failed or expired, the latest first: as many as are kept, or `limit`."""
        return self._drive(deadletters.listing(self.keys, limit=limit))

    def usage(self, *, since: date, until: date, tenant: str | None = None) -> list[DailyUsage]:
        """What was spent from one day to another, by day, tenant and model; of one tenant, or of all."""
        return self._drive(usage.listing(self.keys, since=since, until=until, tenant=tenant))

    def spending(self, tenant: str | None) -> MonthlySpending:
        """What a tenant, or jobs without one, have spent in this month, and may."""
        return self._drive(budgets.told(self.keys, tenant, self.bounds))

    def gates(self) -> list[Gate]:
        """The profiles' gates that are closed or paused, or at which somebody waits."""
        return self._drive(pumping.listing(self.keys))

    def profile_gates(self) -> list[Gate]:
        """The gates of all profiles that are served, and of those at which something is to be seen."""
        return self._drive(pumping.of_profiles(self.keys))

    def drop_dead(self, entries: Sequence[tuple[str, str]]) -> int:
        """Take these (session id, job id) out of the dead letters; how many of them were there."""
        return self.query(dead.drop(self.keys, entries)) if entries else 0

    def erase(self, session_ids: Collection[str]) -> int:
        """Remove all that there is of sessions whose jobs have ended; how many keys that were."""
        return self._drive(erasing.erase(self.keys, session_ids))

    def sweep_turn(
        self, *, period: float = 1.0, again: bool = False, completed: float = 0.0
    ) -> SweepTurn | None:
        """The sweepers' turn for `period` seconds; None if another has it. `again` goes on with one's own."""
        return self.run(take_turn(self.keys, period=period, again=again, completed=completed))

    def sweep(self, turn: SweepTurn, *, empty_queues: Collection[str] = (), limit: int = 500) -> Swept:
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
        return self._drive(conversation)

    def _drive(self, conversation: Exchange[R]) -> R:
        try:
            words = next(conversation)
            while True:
                words = conversation.send(self._send(words))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _send(self, commands: list[Words]) -> list[Any]:
        # No MULTI: a full Redis would refuse the whole of it, also the commands that free memory.
        with connections.translated(self.settings):
            return self._places.send(commands)
