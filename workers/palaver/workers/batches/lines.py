"""One line of a batch: what its job is asked, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from palaver.shared.batches import BatchJob, BatchLine, BatchResult, line_id
from palaver.shared.errors import JobPoisonedError, PalaverError, ValidationError
from palaver.shared.jobs import CachePolicy, ChatJob
from palaver.shared.ledger import Claimed, LineResult
from palaver.shared.ledger.operations import POISONED_AFTER
from palaver.shared.responses import ChatResponse
from palaver.shared.spending import Spent
from palaver.workers.answer_writer import UnheardWriter
from palaver.workers.batches.patience import NO_STORE
from palaver.workers.job_answer import JobAnswer
from palaver.workers.metering import Bill, Told
from palaver.workers.models import Models
from palaver.workers.notes import NoNotes
from palaver.workers.run import Run, failure_of
from palaver.workers.served import Served
from palaver.workers.shares import Shares
from palaver.workers.stop import HandOver, Stop
from palaver.workers.work import line_work

__all__ = ["Lines", "line_result"]

WINDOW_FACTOR = 4
USUAL_CONCURRENCY = 16
"""Of a profile that has no limit of its own."""


class Lines:
    """Has models answer lines, of `answer_bytes` at most, within the `shares` of their tenants. One per
    process. `spent` hear of each request.
    """

    def __init__(
        self, models: Models, served: Served, shares: Shares, *, answer_bytes: int, spent: Sequence[Told]
    ) -> None:
        self._models = models
        self._shares = shares
        self._spent = spent
        self._served = served
        self._answer_bytes = answer_bytes

    async def window(self, batch: BatchJob, first: bytes) -> int:
        """So many lines of the batch may run at once, over all workers; `first` is its first stored line."""
        wanted = await self._usual(batch, first) if batch.window is None else batch.window
        # More would wait at their tenant's gate.
        return min(wanted, self._shares.most_of(batch.tenant) or wanted)

    async def _usual(self, batch: BatchJob, first: bytes) -> int:
        try:
            refs = await self._served.resolve(BatchLine.parse(first, batch).job.models)
            async with await self._served.lend(refs[0].profile) as provider:
                return WINDOW_FACTOR * (provider.profile.limits.concurrent or USUAL_CONCURRENCY)
        except PalaverError:  # the line will say it
            return WINDOW_FACTOR * USUAL_CONCURRENCY

    async def result(
        self,
        batch: BatchJob,
        index: int,
        stored: bytes,
        deaths: int,
        stop: Stop,
        *,
        fails: bool = False,
    ) -> LineResult | None:
        """Have a stored line answered; None if it was stopped to be handed over.

        Raises one of NO_STORE before any model is asked, unless the line `fails` for that as well.
        """
        try:
            line = BatchLine.parse(stored, batch)
        except ValidationError as problem:
            custom_id = BatchLine.name_of(stored, default=line_id(batch.batch_id, index))
            return line_result(index, custom_id, ChatResponse.failed(problem))
        return await self._result(batch, line, deaths, stop, fails=fails)

    async def _result(
        self, batch: BatchJob, line: BatchLine, deaths: int, stop: Stop, *, fails: bool
    ) -> LineResult | None:
        job = line.job
        if deaths >= POISONED_AFTER:
            poisoned = JobPoisonedError(job_id=job.job_id)
            return line_result(line.index, line.custom_id, ChatResponse.failed(poisoned))
        if batch.dedupe and job.cache is None:
            # Of two equal lines one may begin when the other was done hours ago.
            job = job.model_copy(update={"cache": CachePolicy(ttl=batch.completion_window)})
        run = Run(
            _claimed(batch.batch_id, job),
            JobAnswer(UnheardWriter(most=self._answer_bytes)),
            NoNotes(),
            stop,
        )
        run.answer.bill = Bill.restored(b"", job.tenant, told=self._spent)
        error = await failure_of(self._answered(run, job), job.job_id)
        if isinstance(error, HandOver):
            return None
        if isinstance(error, NO_STORE) and job.files and run.ref is None and not fails:
            raise error
        if error is not None:
            error.job_id = job.job_id
        response, _ = run.answer.result(error)
        if response.success and (few := _too_few(job, response)) is not None:  # there are no readers to warn
            response, _ = run.answer.result(few)
        return line_result(line.index, line.custom_id, response, run.answer.bill.models)

    async def _answered(self, run: Run, job: ChatJob) -> None:
        async with run.stop:
            work = line_work(job, run.claimed.session_id)
            run.job = job
            run.end_within(job.deadline, job.timeouts.total)
            await asyncio.sleep(0)  # other streams have their turns between two lines
            answered = partial(self._models.answer, run, work)
            await self._shares.within(run.claimed, job, answered, is_line=True)


def _too_few(job: ChatJob, response: ChatResponse) -> ValidationError | None:
    """The error of a line that wants more choices than its provider has given."""
    given = 1 + len(response.metadata.get("choices") or ())
    if job.params.n is None or job.params.n <= given:
        return None
    return ValidationError(f"n: must be {given}: the provider gives no more choices", param="n")


def line_result(
    index: int, custom_id: str, response: ChatResponse, spent: Sequence[Spent] = ()
) -> LineResult:
    """What a line has come to, as the ledger takes it."""
    usage, failure = response.usage, response.error_info
    return LineResult(
        index=index,
        line=BatchResult(index=index, custom_id=custom_id, response=response).to_line(),
        error=b"" if response.success or failure is None else failure.to_json(),
        tokens=(usage.total_tokens or 0) if usage is not None else 0,
        cost=usage.cost if usage is not None else 0.0,
        spent=spent,
    )


def _claimed(batch_id: str, job: ChatJob) -> Claimed:
    return Claimed(
        session_id=batch_id,
        job_id=job.job_id,
        attempt=1,
        fence="",
        job=b"",
        text="",
        reasoning="",
        journal=[],
        history=[],
        failures=0,
        tries=b"",
        cancelled="",
        deadline=job.deadline,
    )
