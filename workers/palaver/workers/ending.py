"""The end of a run: what it came to is written, or it is handed over, or it is another worker's by now.

A failure is a value here: whatever stopped the work (a provider, the canceller, the clock, the ledger, an
operator, a bug) arrives as one error, and its class alone decides what is written.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from palaver.shared.errors import (
    ErrorInfo,
    JobCancelledError,
    JobExpiredError,
    LeaseError,
    LedgerUnavailableError,
    PalaverError,
    SequenceGapError,
)
from palaver.shared.jobs import Status
from palaver.shared.ledger import Dispatch, Finished, Keys, Operation, Retention, operations
from palaver.shared.names import Queue
from palaver.shared.responses import ChatResponse
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames, report
from palaver.workers.interaction_log import log_interaction
from palaver.workers.link import Link
from palaver.workers.policies import additions
from palaver.workers.run import Run
from palaver.workers.stop import HandOver, Park

__all__ = ["Ending", "Outcome"]

logger = event_logger("palaver.workers.runner")

SHORTEST_PARK: Final = 0.05
"""Seconds; at once would be no parking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one run."""

    session_id: str
    job_id: str
    status: Status | None  # None: the job was not ended here
    reason: str | None = None  # then: why not (gone, leased, fenced, released, parked …)
    code: str | None = None  # the error's code, for a job that did not complete
    refused: bool = False  # it failed for what it had asked for
    model: str | None = None  # profile/model that answered or failed last
    dispatch: Dispatch | None = None  # a message to send now: the session's next job, or this one handed over


@dataclass(frozen=True, slots=True)
class _LastWord:
    """The operation that ends a job with what it has said, and the error that it ends with."""

    operation: Operation[Finished]
    response: ChatResponse
    error: PalaverError | None


class Ending:
    """Ends runs. One per process."""

    def __init__(self, *, link: Link, keys: Keys, retention: Retention, log_content: bool) -> None:
        self._link = link
        self._keys = keys
        self._retention = retention
        self._log_content = log_content

    async def end(self, run: Run, error: PalaverError | None) -> Outcome:
        """Write what is left, then `finish` or `release`; a worker that lost the job writes nothing."""
        try:
            await run.answer.writer.flush()
        except PalaverError as verdict:
            if error is None or isinstance(verdict, LeaseError):
                error = forget_frames(verdict)
        try:
            # After a gap the ledger has lost what it had acknowledged: another attempt goes on from the rest.
            if isinstance(error, HandOver | SequenceGapError):
                return await self._release(run, error)
            if isinstance(error, LeaseError):
                return await self._lost(run, error)
            return await self._finish(run, error)
        # The ledger is away only for a worker that stops: it leaves the job to its lease.
        except (LeaseError, LedgerUnavailableError) as verdict:
            return await self._lost(run, forget_frames(verdict))
        finally:
            run.answer.writer.close()

    async def _finish(self, run: Run, error: PalaverError | None) -> Outcome:
        if run.answer.writer.verdict is not None:
            await self._recall(run)
        try:
            last = self._last_word(run, error)
        except Exception as bug:  # noqa: BLE001 - a result that cannot be written would be asked for again and again
            report(bug, f"the end of job {run.claimed.job_id}")
            run.answer.drop_extras()
            last = self._last_word(run, ErrorInfo.of(bug).exception())
        finished = await self._link.run(last.operation)
        error = last.error
        logger.info("job.ended", **run.told(status=finished.status, error=error and error.type))
        if self._log_content:
            log_interaction(run, last.response)
        known = {} if error is None else {"code": error.code, "refused": error.callers_fault}
        return await self._outcome(run, finished.dispatch, status=finished.status, **known)

    async def _recall(self, run: Run) -> None:
        """What the ledger has refused nobody has read: the answer is what it has."""
        keys, session_id, job_id = self._address(run)
        moment = await self._link.run(operations.snapshot(keys, session_id, [job_id]))
        if job_id in moment.jobs:
            run.answer.writer.recall(moment.jobs[job_id].text, moment.jobs[job_id].reasoning)

    def _last_word(self, run: Run, error: PalaverError | None) -> _LastWord:
        if error is not None:
            error.job_id = run.claimed.job_id
        response, error = run.answer.result(error)
        status = _status(error)
        operation = operations.finish(
            *self._address(run),
            fence=run.claimed.fence,
            status=status,
            end=run.answer.end(status, response, error),
            response=response.to_json(),
            error=None if error is None else ErrorInfo.of(error).model_dump_json().encode(),
            spent=run.answer.spent(),
            history=additions(run.job, status, run.answer.remembered(status)) if run.job is not None else [],
            webhook=run.job is None or run.job.webhook is not None,
            retention=self._retention,
        )
        return _LastWord(operation, response, error)

    async def _release(self, run: Run, reason: PalaverError) -> Outcome:
        delay, gate = (_delay(run, reason), reason.gate) if isinstance(reason, Park) else (0.0, "")
        spent = run.answer.spent()
        released = await self._link.run(
            operations.release(
                *self._address(run), fence=run.claimed.fence, delay=delay, spent=spent, gate=gate
            )
        )
        dispatch = released.dispatch
        became = "released" if dispatch else "parked"
        logger.info(f"job.{became}", **run.told(error=reason.type, delay=delay))
        if dispatch is None and isinstance(reason, Park) and await reason.parked():
            dispatch = Dispatch(run.claimed.session_id, run.claimed.job_id, Queue.RESUME)
        return await self._outcome(run, dispatch, reason=became)

    async def _lost(self, run: Run, verdict: PalaverError) -> Outcome:
        logger.warning("job.lost", **run.told(error=verdict.type))
        return await self._outcome(run, None, reason=verdict.code)

    def _address(self, run: Run) -> tuple[Keys, str, str]:
        return self._keys, run.claimed.session_id, run.claimed.job_id

    async def _outcome(
        self, run: Run, dispatch: Dispatch | None, *, status: Status | None = None, **fields: Any
    ) -> Outcome:
        if dispatch is not None:
            # Whoever gets the turn is watched for before its message is sent: a crash between loses nobody.
            await self._link.caught_up()
        return Outcome(
            dispatch=dispatch,
            session_id=run.claimed.session_id,
            job_id=run.claimed.job_id,
            status=status,
            model=str(run.ref) if run.ref else None,
            **fields,
        )


def _delay(run: Run, reason: Park) -> float:
    """Until the job comes again: in time to end, if it has to before it was to go on."""
    return min(reason.seconds, max(SHORTEST_PARK, run.ends_at - time.monotonic()))


def _status(error: PalaverError | None) -> Status:
    if error is None:
        return Status.COMPLETED
    if isinstance(error, JobCancelledError):
        return Status.CANCELLED
    return Status.EXPIRED if isinstance(error, JobExpiredError) else Status.FAILED
