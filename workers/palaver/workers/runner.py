"""One job, from its claim to its end: `Runner.run` shows the steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from palaver.shared.beside import beside
from palaver.shared.contract import VERSION
from palaver.shared.errors import JobCancelledError, NewerDocumentError, PalaverError
from palaver.shared.ids import new_token
from palaver.shared.ledger import Claimed, NotClaimed, operations
from palaver.workers.agents.source import Agents
from palaver.workers.ending import Ending, Outcome
from palaver.workers.event_log import event_logger
from palaver.workers.gates import Gates
from palaver.workers.generation import Journal
from palaver.workers.job_answer import JobAnswer
from palaver.workers.lease import JobLease, LeaseKeeper
from palaver.workers.metering import Bill, Told
from palaver.workers.models import Models
from palaver.workers.notes import LedgerNotes
from palaver.workers.process import Process
from palaver.workers.publisher import Publisher, Writer
from palaver.workers.run import Run, failure_of
from palaver.workers.shares import Shares
from palaver.workers.sinks import Sinks
from palaver.workers.starts import Starts
from palaver.workers.stop import Park, Stop, asked_to_end, uninterrupted
from palaver.workers.tracing import Tracing
from palaver.workers.work import Work, read_job

__all__ = ["Runner"]

logger = event_logger("palaver.workers.runner")

NEWER_SECONDS = 10.0  # after which a job that this worker cannot read looks for one that can

LOWERED = "a job of this tenant has no such priority: it waited as if it had the highest that it may have"
UNSIGNED = "this worker has no PALAVER_WEBHOOK_SECRET: nobody is told, unless another worker has one"


class Runner:
    """Runs jobs. One per process; everything it is given is shared by all of them."""

    def __init__(
        self,
        process: Process,
        *,
        publisher: Publisher,
        leases: LeaseKeeper,
        models: Models,
        agents: Agents,
        gates: Gates,
        shares: Shares,
        starts: Starts,
        sinks: Sinks,
        ending: Ending,
        spent: Sequence[Told],
        tracing: Tracing,
    ) -> None:
        self._link = process.link
        self._keys = process.ledger.keys
        self._counts = process.counts
        self._worker = process.alias
        self._settings = process.settings
        self.publisher = publisher
        self._leases = leases
        self._models = models
        self._agents = agents
        self._gates = gates
        self._shares = shares
        self._starts = starts
        self._sinks = sinks
        self._ending = ending
        self._spent = spent
        self._tracing = tracing
        self.runs: set[Run] = set()  # that go on

    async def run(self, session_id: str, job_id: str, stop: Stop, *, queue: str = "") -> Outcome:
        """Claim the job, carry it to its end and say what became of it. A job that is not ours is left alone.

        `stop` ends it from outside. Cancelling the task that awaits this ends the job as cancelled,
        `stream_end` included.
        """
        asked = time.monotonic()
        cancelled = partial(_tell_to_end, stop, job_id)
        claimed = await uninterrupted(self._claim(session_id, job_id, queue), cancelled)
        if isinstance(claimed, NotClaimed):
            if claimed.gate:  # it has ended while it waited there
                self._gates.give_up(claimed.gate, (session_id, job_id))
            return Outcome(session_id=session_id, job_id=job_id, status=None, reason=claimed.reason)
        self._counts.claimed(queue, claimed.waited)
        run, writer = self._open(claimed, stop, asked)
        run.attempt, outcome = self._tracing.begin(run.claimed, queue), None
        del claimed  # its document may be megabytes, and the stream may last for hours
        self.runs.add(run)
        try:
            with self._leases.hold(JobLease(self._keys, run.claimed, writer, stop)) as held:
                async with self._sinks.told_of(session_id, job_id, cancelled):
                    error = await self._work(run)
                    held.ends()
                    outcome = await uninterrupted(self._ending.end(run, error))
        finally:
            self.runs.discard(run)
            run.attempt.end(outcome)
        self._counts.ended(outcome)
        return outcome

    async def _work(self, run: Run) -> PalaverError | None:
        """Read it and have it answered; the error that ended it, or None for a whole answer."""
        job_id = run.claimed.job_id
        try:
            return await failure_of(self._answered(run), job_id)
        except asyncio.CancelledError:
            return _told_to_end(job_id)

    async def _answered(self, run: Run) -> None:
        place = (run.claimed.session_id, run.claimed.job_id)
        with self._gates.given.to(place, run.claimed.gate):
            async with run.stop:
                work = await self._read(run)
                self._starts.note(run.claimed, work.job)
                source = self._models if work.job.agent is None else self._agents
                await self._shares.within(run.claimed, work.job, partial(source.answer, run, work))

    async def _read(self, run: Run) -> Work:
        """Check the document again, and set the clocks that may end the work."""
        claimed, run.unread = run.unread or run.claimed, None
        work = await self._parsed(run, claimed)
        run.job = work.job
        run.attempt.carries(work.job.traceparent)
        run.answer.journal = Journal.restored(claimed.journal)
        run.answer.bill = Bill.restored(claimed.spent, work.job.tenant, told=self._spent)
        if claimed.cancelled:  # only now: the session remembers what an earlier attempt has said
            raise asked_to_end(claimed.cancelled, claimed.job_id)
        run.end_within(claimed.deadline, work.job.timeouts.total, begun=claimed.begun)
        if self._shares.lowers(work.job):
            run.answer.warn("priority_lowered", LOWERED, "priority")
        if work.job.webhook and self._settings.webhook_secret is None:
            run.answer.warn("not_supported", UNSIGNED, "webhook")
        return work

    async def _parsed(self, run: Run, claimed: Claimed) -> Work:
        try:
            reading = partial(read_job, claimed, max_bytes=self._settings.max_document_bytes)
            return await beside(reading, claimed.job)
        except NewerDocumentError as error:
            if claimed.cancelled:
                raise asked_to_end(claimed.cancelled, claimed.job_id) from None
            logger.warning("job.newer", **run.told(known=VERSION, param=error.param))
            raise Park(NEWER_SECONDS) from None

    async def _claim(self, session_id: str, job_id: str, queue: str) -> Claimed | NotClaimed:
        return await self._link.run(
            operations.claim(
                self._keys,
                session_id,
                job_id,
                token=new_token(),
                worker=self._worker,
                lease=self._settings.lease_seconds,
                queue=queue,
            )
        )

    def _open(self, claimed: Claimed, stop: Stop, asked: float) -> tuple[Run, Writer]:
        writer = self.publisher.open(claimed, confirmed_until=asked + self._settings.lease_seconds)
        writer.on_stop(stop)
        brief = replace(claimed, job=b"", text="", reasoning="", journal=[], history=[])
        notes = LedgerNotes(self._link, self._keys, brief, log_entries=self._settings.log_maxlen)
        return Run(brief, JobAnswer(writer), notes, stop, claimed), writer


def _tell_to_end(stop: Stop, job_id: str) -> None:
    stop(_told_to_end(job_id))


def _told_to_end(job_id: str) -> PalaverError:
    return JobCancelledError("The job was cancelled: its worker was told to end it.", job_id=job_id)
