"""One job, from its claim to its end: `Runner.run` shows the steps."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from palaver.shared.errors import (
    InternalError,
    JobCancelledError,
    JobExpiredError,
    PalaverError,
    TimeoutError,
)
from palaver.shared.ids import new_token
from palaver.shared.ledger import Claimed, Keys, NotClaimed, operations
from palaver.workers.agents.source import Agents
from palaver.workers.ending import Ending, Outcome
from palaver.workers.frames import report
from palaver.workers.generation import Journal
from palaver.workers.job_answer import JobAnswer
from palaver.workers.lease import LeaseKeeper
from palaver.workers.link import Link
from palaver.workers.metering import Bill
from palaver.workers.models import Models
from palaver.workers.publisher import Publisher
from palaver.workers.run import Run
from palaver.workers.sinks import Sinks
from palaver.workers.stop import Stop, asked_to_end, uninterrupted
from palaver.workers.work import UNSERVED, Work, read_job

__all__ = ["Runner"]


class Runner:
    """Runs jobs. One per process; everything it is given is shared by all of them."""

    def __init__(
        self,
        *,
        link: Link,
        keys: Keys,
        publisher: Publisher,
        leases: LeaseKeeper,
        models: Models,
        agents: Agents,
        sinks: Sinks,
        ending: Ending,
        worker: str,
        lease_seconds: float,
        max_document_bytes: int,
    ) -> None:
        self._link = link
        self._keys = keys
        self._publisher = publisher
        self._leases = leases
        self._models = models
        self._agents = agents
        self._sinks = sinks
        self._ending = ending
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._max_document_bytes = max_document_bytes

    async def run(self, session_id: str, job_id: str, stop: Stop, *, queue: str = "") -> Outcome:
        """Claim the job, carry it to its end and say what became of it. A job that is not ours is left alone.

        `stop` ends it from outside. Cancelling the task that awaits this ends the job as cancelled,
        `stream_end` included.
        """
        asked = time.monotonic()
        claimed = await uninterrupted(
            self._claim(session_id, job_id, queue), lambda: stop(_told_to_end(job_id))
        )
        if isinstance(claimed, NotClaimed):
            reason, gate = claimed.reason, claimed.gate
            return Outcome(session_id=session_id, job_id=job_id, status=None, reason=reason, gate=gate)
        run = self._open(claimed, stop, asked)
        del claimed  # its document may be megabytes, and the stream may last for hours
        with self._leases.hold(_brief(run.claimed), run.answer.writer, stop):
            async with self._sinks.told_of(session_id, job_id):
                error = await self._work(run)
                return await uninterrupted(self._ending.end(run, error))

    async def _work(self, run: Run) -> PalaverError | None:
        """Read it and have it answered; the error that ended it, or None for a whole answer."""
        job_id = run.claimed.job_id
        try:
            async with run.stop:
                work = self._read(run)
                source = self._models if work.job.agent is None else self._agents
                await source.answer(run, work)
        except PalaverError as error:
            return error
        except asyncio.CancelledError:
            return _told_to_end(job_id)
        except Exception as bug:  # noqa: BLE001 - the outermost boundary: a bug of ours must end the job, not the reader
            report(bug, f"job {job_id}")
            return InternalError(
                f"{type(bug).__name__} in the worker; its log has the traceback", job_id=job_id
            )
        return None

    def _read(self, run: Run) -> Work:
        """Check the document again, and set the clocks that may end the work."""
        claimed, run.claimed = run.claimed, _brief(run.claimed)
        work = read_job(claimed, max_bytes=self._max_document_bytes)
        run.job = work.job
        run.answer.journal = Journal.restored(claimed.journal)
        run.answer.bill = Bill.restored(claimed.spent, work.job.tenant)
        if claimed.cancelled:  # only now: the session remembers what an earlier attempt has said
            raise asked_to_end(claimed.cancelled, claimed.job_id)
        run.stop.after(claimed.deadline, JobExpiredError(job_id=claimed.job_id))
        total = work.job.timeouts.total
        if total is not None:
            late = f"the answer took longer than timeouts.total, {total:g} seconds"
            run.stop.after(total, TimeoutError(late, job_id=claimed.job_id))
            run.ends_at = min(run.ends_at, time.monotonic() + total)
        for name in UNSERVED:
            if getattr(work.job, name):
                run.answer.warn("not_supported", f"this worker does not serve {name!r}; it is left out", name)
        return work

    async def _claim(self, session_id: str, job_id: str, queue: str) -> Claimed | NotClaimed:
        return await self._link.run(
            operations.claim(
                self._keys,
                session_id,
                job_id,
                token=new_token(),
                worker=self._worker,
                lease=self._lease_seconds,
                queue=queue,
            )
        )

    def _open(self, claimed: Claimed, stop: Stop, asked: float) -> Run:
        writer = self._publisher.open(claimed, confirmed_until=asked + self._lease_seconds)
        writer.on_stop(stop)
        ends_at = time.monotonic() + claimed.deadline
        return Run(claimed, JobAnswer(writer), stop, ends_at)


def _brief(claimed: Claimed) -> Claimed:
    return replace(claimed, job=b"", text="", reasoning="", journal=[], history=[])


def _told_to_end(job_id: str) -> PalaverError:
    return JobCancelledError("The job was cancelled: its worker was told to end it.", job_id=job_id)
