"""A job's requests to its models: retries and the fallback list around each. What it says meanwhile goes to
the job's writer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Container
from functools import partial

from palaver.shared.errors import ConfigurationError, PalaverError, StreamInterruptedError
from palaver.shared.jobs import ChatJob
from palaver.workers.attempts import Attempts
from palaver.workers.event_log import event_logger
from palaver.workers.generation import Reply
from palaver.workers.metering import Meter
from palaver.workers.metrics import Counts
from palaver.workers.policies import PATIENCE, Ask, Beginning, begin
from palaver.workers.prices import Prices
from palaver.workers.providers import GenerationRequest, Provider
from palaver.workers.run import Run, pause
from palaver.workers.served import Served
from palaver.workers.stop import HandOver
from palaver.workers.summaries import Summaries
from palaver.workers.work import Work, fit, request_for

__all__ = ["Requests"]

logger = event_logger("palaver.workers.runner")


class Requests:
    """Makes requests. One per process."""

    def __init__(
        self,
        *,
        served: Served,
        ask: Ask,
        prices: Prices,
        paused: Container[str],
        counts: Counts,
        answer_bytes: int,
    ) -> None:
        self._counts = counts
        self._served = served
        self._ask = ask
        self._prices = prices
        self._paused = paused
        self._summaries = Summaries(ask, prices, answer_bytes=answer_bytes)

    async def attempts(self, run: Run, work: Work) -> Attempts:
        """The job's models, and what has been spent on them. Raises ValidationError for unknown ones."""
        models = await self._served.resolve(work.job.models)
        patience = math.inf if work.is_line else PATIENCE
        attempts = Attempts(
            models,
            run.claimed,
            max_retries=work.job.max_retries,
            patience=patience,
            paused=self._paused,
        )
        attempts.pass_over()
        return attempts

    async def show_images(self, job: ChatJob) -> bool:
        """Whether every model of the job that can be asked is shown images. Raises as `attempts`."""
        for ref in await self._served.resolve(job.models):
            try:
                loan = await self._served.lend(ref.profile)
            except ConfigurationError:  # a request to it says why, should there be one
                continue
            async with loan as provider:
                if not provider.shows_images:
                    return False
        return True

    async def shortened(self, run: Run, work: Work, attempts: Attempts) -> Work:
        """The work, with an abstract of what its session's history has no room for, if the job wants one and
        the model can be asked.
        """
        limit = work.job.history_limit
        if limit is None or not limit.summarize or work.job.history != "session":
            return work
        try:
            loan = await self._served.lend(attempts.ref.profile)
        except ConfigurationError:  # the job's own request says why
            return work
        async with loan as provider:
            return await self._summaries.shortened(run, work, attempts.ref, provider)

    async def answer(
        self, run: Run, work: Work, attempts: Attempts, *, may_call: bool, thinks: bool
    ) -> Reply:
        """Ask until a model has answered; raises the error after which none is asked again."""
        run.answer.begun = False  # what was said before is whole
        while True:
            if run.answer.finished or not run.answer.begun:
                attempts.pass_over()
            try:
                run.ref = attempts.ref
                async with await self._served.lend(run.ref.profile) as provider:
                    return await self._stream(run, work, attempts, provider, may_call=may_call, thinks=thinks)
            except HandOver:
                raise
            except PalaverError as error:
                left = run.ends_at - time.monotonic()
                delay = attempts.after(error, begun=run.answer.begun, seconds_left=left)
                await self._tell_retry(run, error, delay, attempts)
            await pause(work, delay)

    async def _stream(
        self, run: Run, work: Work, attempts: Attempts, provider: Provider, *, may_call: bool, thinks: bool
    ) -> Reply:
        """One request: what the provider says goes to the writer as it comes, and no faster than that can
        send.
        """
        answer, ref = run.answer, attempts.ref
        request, goes_on = self._request(run, work, attempts, provider, may_call=may_call, thinks=thinks)
        meter = Meter(request, await self._prices.of(provider, ref.model))
        with answer.request(ref, meter, goes_on=goes_on, thinks=thinks):
            await self._ask(provider, request, answer)
        if not answer.finished:
            raise StreamInterruptedError(provider=ref.profile)
        self._counts.answered(ref.profile, answer.counted, time.monotonic() - answer.begun_at)
        return answer.reply()

    def _request(
        self, run: Run, work: Work, attempts: Attempts, provider: Provider, *, may_call: bool, thinks: bool
    ) -> tuple[GenerationRequest, bool]:
        """What the provider is asked, and whether its answer goes on after what was said before."""
        answer, ref = run.answer, attempts.ref
        whole, work = work, fit(work, run.answer.journal, provider.profile.context_of(ref.model))
        if dropped := len(whole.history) - len(work.history):
            told = f"The {dropped} oldest messages are left out: the history is larger than what may be sent."
            answer.warn("history_dropped", told, "history")
        asking = partial(request_for, work, answer.journal, ref.model, may_call=may_call, thinks=thinks)
        asking = partial(asking, may_move=attempts.elsewhere)
        request = asking(Beginning())
        if work.schema is not None and not thinks and not provider.takes_schema(request):
            told = "This provider takes no JSON schema; the prompt has it."
            answer.warn("schema_in_prompt", told, "response_schema")
            asking = partial(asking, instruct=True)
            request = asking(Beginning())
        beginning = begin(
            answer.partial,
            resume=provider.profile.resume,
            continues_prefix=provider.takes_prefix(request),
            may_prompt=work.job.complete is not None,
        )
        if beginning.said:
            request = asking(beginning)
        return request, bool(beginning.said)

    async def _tell_retry(self, run: Run, error: PalaverError, delay: float, attempts: Attempts) -> None:
        if run.ref is not None:
            self._counts.retried(run.ref.profile)
        logger.info("job.retry", **run.told(error=error.type, delay=delay))
        run.answer.retry(error, delay, attempts.ref)
        await run.notes.failures(attempts.retries, attempts.note(), run.answer.spent())
