"""One job, from its claim to its end. `Runner.run` shows the steps; every way out of them ends in `finish`.

A failure is a value here: whatever stops the work (a provider, the canceller, the clock, the ledger, an
operator, a bug) arrives in `_end` as one error, and its class alone decides what is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from palaver.shared.errors import (
    ConfigurationError,
    ErrorInfo,
    InternalError,
    JobCancelledError,
    JobExpiredError,
    LeaseError,
    LedgerUnavailableError,
    PalaverError,
    ProviderError,
    SequenceGapError,
    TimeoutError,
    ValidationError,
)
from palaver.shared.ids import new_token
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import (
    Claimed,
    Dispatch,
    Finished,
    Keys,
    NotClaimed,
    Operation,
    Retention,
    operations,
)
from palaver.shared.messages import Part, ToolCall
from palaver.shared.names import Queue
from palaver.shared.responses import ChatResponse
from palaver.workers.agents.source import Agents
from palaver.workers.attempts import Attempts
from palaver.workers.event_log import event_logger
from palaver.workers.files.attachments import Attachments
from palaver.workers.frames import frames
from palaver.workers.generation import (
    AskModel,
    Continued,
    Done,
    Entry,
    GoOn,
    Journal,
    Keep,
    Prompts,
    Reply,
    RunTools,
    Step,
    Toolbox,
    after_failure,
    continue_delay,
    next_step,
)
from palaver.workers.interaction_log import log_interaction
from palaver.workers.job_answer import JobAnswer
from palaver.workers.lease import LeaseKeeper
from palaver.workers.link import Link
from palaver.workers.metering import Bill
from palaver.workers.policies import additions
from palaver.workers.publisher import Publisher
from palaver.workers.requests import Requests
from palaver.workers.run import Run, pause
from palaver.workers.sinks import Sinks
from palaver.workers.stop import HandOver, Park, Stop, asked_to_end, uninterrupted
from palaver.workers.work import UNSERVED, Work, read_job

__all__ = ["Outcome", "Runner", "report"]

logger = event_logger("palaver.workers.runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one run."""

    session_id: str
    job_id: str
    status: Status | None  # None: the job was not ended here
    reason: str | None = None  # then: why not (gone, leased, fenced, released, parked …)
    code: str | None = None  # the error's code, for a job that did not complete
    model: str | None = None  # profile/model that answered or failed last
    gate: str = ""  # where a job had waited that has ended before its message came
    dispatch: Dispatch | None = None  # a message to send now: the session's next job, or this one handed over


@dataclass(frozen=True, slots=True)
class _LastWord:
    """The operation that ends a job with what it has said, and the error that it ends with."""

    operation: Operation[Finished]
    response: ChatResponse
    error: PalaverError | None


class Runner:
    """Runs jobs. One per process; everything it is given is shared by all of them."""

    def __init__(
        self,
        *,
        link: Link,
        keys: Keys,
        publisher: Publisher,
        leases: LeaseKeeper,
        requests: Requests,
        toolbox: Toolbox,
        prompts: Prompts,
        attachments: Attachments,
        sinks: Sinks,
        agents: Agents,
        retention: Retention,
        worker: str,
        lease_seconds: float,
        max_document_bytes: int,
        log_content: bool = False,
    ) -> None:
        self._link = link
        self._keys = keys
        self._publisher = publisher
        self._leases = leases
        self._requests = requests
        self._toolbox = toolbox
        self._prompts = prompts
        self._attachments = attachments
        self._sinks = sinks
        self._agents = agents
        self._retention = retention
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._max_document_bytes = max_document_bytes
        self._log_content = log_content

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
                return await uninterrupted(self._end(run, error))

    # The steps between claim and end

    async def _work(self, run: Run) -> PalaverError | None:
        """Read, ask, stream; the error that ended it, or None for a whole answer."""
        job_id = run.claimed.job_id
        try:
            async with run.stop:
                work = self._read(run)
                if work.job.agent is not None:
                    await self._agents.answer(run, work)
                else:
                    await self._generate(run, await self._equip(run, work))
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
        self._prompts.check(work.job)
        total = work.job.timeouts.total
        if total is not None:
            late = f"the answer took longer than timeouts.total, {total:g} seconds"
            run.stop.after(total, TimeoutError(late, job_id=claimed.job_id))
            run.ends_at = min(run.ends_at, time.monotonic() + total)
        for name in UNSERVED:
            if getattr(work.job, name):
                run.answer.warn("not_supported", f"this worker does not serve {name!r}; it is left out", name)
        return work

    async def _equip(self, run: Run, work: Work) -> Work:
        kit = await self._toolbox.kit(work.job)
        if kit.missing:
            gone = f"The job goes on without these tools, which are not there now: {', '.join(kit.missing)}."
            run.answer.warn("tools_missing", gone, "tools")
        return replace(work, kit=kit, attached=await self._attached(run, work.job))

    async def _attached(self, run: Run, job: ChatJob) -> list[Part]:
        """What the model is told of the job's files."""
        if not job.files:
            return []
        seen = await self._requests.show_images(job)
        return await self._attachments.of(job, run.answer.warn, see_images=seen)

    async def _generate(self, run: Run, work: Work) -> None:
        """Ask, and do what each answer asks for, until one asks for nothing more; raises what ends the job
        instead.
        """
        job, kit, journal = work.job, work.kit, run.answer.journal
        attempts = await self._requests.attempts(run, job)
        work = await self._requests.shortened(run, work, attempts)
        step = next_step(job, kit, journal)
        while not isinstance(step, Done):
            try:
                reply = await self._take(run, work, step, attempts)
            except (ConfigurationError, ProviderError, ValidationError) as error:
                step = after_failure(job, journal, step, error)
            else:
                step = next_step(job, kit, journal, reply, work.schema)
        if step.error is not None:
            raise step.error
        if step.cut is not None:
            run.answer.settle(step.cut)
        run.answer.parsed = step.parsed

    async def _take(self, run: Run, work: Work, step: Step, attempts: Attempts) -> Reply | None:
        """Take one step; what a request was answered, if it was one."""
        match step:
            case AskModel(may_call, thinks):
                if not may_call and not thinks:
                    run.answer.warn("tool_rounds", "The rounds of tools are spent: the model has to answer.")
                return await self._requests.answer(run, work, attempts, may_call=may_call, thinks=thinks)
            case Keep(entry):
                await self._keep(run, entry)
            case RunTools(calls):
                await self._run_tools(run, work, calls)
            case GoOn():
                await self._go_on(run, work, step)
        return None

    async def _run_tools(self, run: Run, work: Work, calls: Sequence[ToolCall]) -> None:
        """Store what each call comes to, as soon as it has."""
        running = self._toolbox.run(work.kit, calls, work.job, run.claimed.session_id)
        async with aclosing(running) as results:
            async for result in results:
                await self._keep(run, result)

    async def _go_on(self, run: Run, work: Work, step: GoOn) -> None:
        """Have the next request continue a truncated answer, after the pause that the job wants."""
        prompt = await self._prompts.text(step, work.job, run.answer.text)
        most = step.complete.max_continues
        await self._keep(run, Continued(reply=step.reply, prompt=prompt, count=step.count, most=most))
        await pause(work.job, continue_delay(step.complete, step.count))

    async def _keep(self, run: Run, entry: Entry) -> None:
        """Store what is finished, and tell it, before anything follows from it."""
        await run.answer.writer.flush()
        events = run.answer.keep(entry)
        operation = operations.save_entry(
            *self._address(run),
            fence=run.claimed.fence,
            number=len(run.answer.journal),
            content=entry.to_json(),
            events=events,
            spent=run.answer.spent(),
            log_entries=self._retention.log_entries,
        )
        try:
            stored = await self._link.run(operation)
        except PalaverError:
            run.answer.take_back()
            raise
        if stored.cancelled:
            raise asked_to_end(stored.cancelled, run.claimed.job_id)

    # The end

    async def _end(self, run: Run, error: PalaverError | None) -> Outcome:
        """Write what is left, then `finish` or `release`; a worker that lost the job writes nothing."""
        try:
            await run.answer.writer.flush()
        except PalaverError as verdict:
            if error is None or isinstance(verdict, LeaseError):
                error = verdict
        try:
            # After a gap the ledger has lost what it had acknowledged: another attempt goes on from the rest.
            if isinstance(error, HandOver | SequenceGapError):
                return await self._release(run, error)
            if isinstance(error, LeaseError):
                return await self._lost(run, error)
            return await self._finish(run, error)
        # The ledger is away only for a worker that stops: it leaves the job to its lease.
        except (LeaseError, LedgerUnavailableError) as verdict:
            return await self._lost(run, verdict)
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
        code = error.code if error is not None else None
        return await self._outcome(run, finished.dispatch, status=finished.status, code=code)

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
            retention=self._retention,
        )
        return _LastWord(operation, response, error)

    async def _release(self, run: Run, reason: PalaverError) -> Outcome:
        delay, gate = (reason.seconds, reason.gate) if isinstance(reason, Park) else (0.0, "")
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

    # Small things

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


def _brief(claimed: Claimed) -> Claimed:
    return replace(claimed, job=b"", text="", reasoning="", journal=[], history=[])


def _status(error: PalaverError | None) -> Status:
    if error is None:
        return Status.COMPLETED
    if isinstance(error, JobCancelledError):
        return Status.CANCELLED
    return Status.EXPIRED if isinstance(error, JobExpiredError) else Status.FAILED


def _told_to_end(job_id: str) -> PalaverError:
    return JobCancelledError("The job was cancelled: its worker was told to end it.", job_id=job_id)


def report(bug: Exception, where: str) -> None:
    """Log where it happened, but not the exception's text, which may quote a prompt or an answer."""
    facts = {"error": type(bug).__name__, "where": where}
    logger.error(f"worker.internal_error\n{frames(bug)}", **facts)
