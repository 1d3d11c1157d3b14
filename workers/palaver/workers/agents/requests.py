"""An agent's requests to models, on the loop of the streams: with the retries and the list of models that its
job has.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Container

from palaver.shared.errors import JobError, PalaverError, RateLimitError, StreamInterruptedError
from palaver.shared.jobs import ChatJob, Timeouts
from palaver.shared.messages import Message, Role
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import ChatResponse
from palaver.workers.agents.answer import AgentAnswer
from palaver.workers.agents.model_request import ModelRequest
from palaver.workers.attempts import Attempts
from palaver.workers.heard import Heard
from palaver.workers.metering import Meter
from palaver.workers.metrics import Counts
from palaver.workers.policies import Ask
from palaver.workers.prices import Prices
from palaver.workers.providers import Asker, Caching, GenerationRequest, Part, ReasoningDelta, TextDelta
from palaver.workers.run import Run
from palaver.workers.served import Served
from palaver.workers.stop import HandOver, Park
from palaver.workers.waiting import MOMENT_SECONDS

__all__ = ["AgentRequests"]


class AgentRequests:
    """Makes them, for answers of `answer_bytes` at most. One per process."""

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
        self._answer_bytes = answer_bytes
        self._counts = counts
        self._served = served
        self._under_way = Counter[str]()  # of each job
        self._ask = ask
        self._prices = prices
        self._paused = paused

    async def answer(self, run: Run, job: ChatJob, answer: AgentAnswer, asked: ModelRequest) -> ChatResponse:
        """Ask until a model has answered. Raises the error after which none is asked again: at once, when
        readers have had words, or thoughts, of an answer that broke off.
        """
        self._under_way[job.job_id] += 1
        try:
            return await self._answer(run, job, answer, asked)
        finally:
            self._under_way -= Counter([job.job_id])

    async def _answer(self, run: Run, job: ChatJob, answer: AgentAnswer, asked: ModelRequest) -> ChatResponse:
        models = await self._served.resolve(asked.models or job.models)
        attempts = Attempts(models, run.claimed, max_retries=job.max_retries, paused=self._paused)
        while True:
            attempts.pass_over()
            heard, asked_ref = self._heard(answer, asked), attempts.ref
            try:
                response = await self._asked(run, job, asked_ref, asked, heard)
            except Park as parked:
                if self._goes_on(run):
                    continue  # another of its requests was made meanwhile, or may be
                await run.notes.failures(attempts.retries, b"", run.answer.spent())
                run.stop(parked)  # whatever the agent's code makes of it
                raise
            except (HandOver, JobError):  # no model's: the end of the job, or of this run
                raise
            except PalaverError as error:
                if asked.stream and heard.begun:
                    raise
                left = run.ends_at - time.monotonic()
                delay = attempts.after(error, begun=False, seconds_left=left)
                self._counts.retried(asked_ref.profile)
                run.answer.retry(error, delay, attempts.ref)
                if isinstance(error, RateLimitError) and error.retry_after and asked_ref == attempts.ref:
                    delay = min(delay, MOMENT_SECONDS)  # it waits at the gate, which is closed for that time
            else:
                await self._note(run)
                return response
            await asyncio.sleep(delay)

    def _heard(self, answer: AgentAnswer, asked: ModelRequest) -> Heard:
        return _Spoken(answer, most=self._answer_bytes) if asked.stream else Heard(most=self._answer_bytes)

    async def _asked(
        self, run: Run, job: ChatJob, ref: ModelRef, asked: ModelRequest, heard: Heard
    ) -> ChatResponse:
        async with await self._served.lend(ref.profile) as provider:
            request = _request(run, job, ref, asked, goes_on=self._goes_on(run))
            meter = Meter(request, await self._prices.of(provider, ref.model))
            try:
                await self._ask(provider, request, heard)
            finally:
                usage = heard.usage(meter)
                run.answer.charge(ref, usage)
        if not heard.whole:
            raise StreamInterruptedError(provider=ref.profile)
        return ChatResponse(
            content=heard.text,
            reasoning=heard.reasoning or None,
            usage=usage,
            model=heard.model or ref.model,
            provider=ref.profile,
            finish_reason=heard.reason,
        )

    def _goes_on(self, run: Run) -> bool:
        """Whether the agent cannot begin anew without paying for a request again."""
        return bool(run.answer.spent()) or self._under_way[run.claimed.job_id] > 1

    async def _note(self, run: Run) -> None:
        """What was spent is known to whoever takes the job over."""
        spent = run.answer.spent()
        if spent:
            await run.notes.failures(0, b"", spent)


class _Spoken(Heard):
    """An answer that readers have while it comes."""

    def __init__(self, answer: AgentAnswer, *, most: int) -> None:
        super().__init__(most=most)
        self._answer = answer

    def take(self, parts: list[Part]) -> bool:
        super().take(parts)
        for part in parts:
            if isinstance(part, TextDelta):
                self._answer.take(part.text)
            elif isinstance(part, ReasoningDelta):
                self._answer.think(part.text)
        return not self._answer.full

    async def room(self) -> None:
        await self._answer.room()


def _request(
    run: Run, job: ChatJob, ref: ModelRef, asked: ModelRequest, *, goes_on: bool
) -> GenerationRequest:
    params = job.params.merged(asked.params)
    session_id, tenant = run.claimed.session_id, job.tenant or ""
    return GenerationRequest(
        model=ref.model,
        messages=_messages(job, asked),
        params=params if job.mode is None else job.mode.over(params),
        reasoning=job.reasoning,
        timeouts=None if job.timeouts == Timeouts() else job.timeouts,
        stream=(params.n or 1) == 1 and not params.return_raw,
        cache=Caching(tenant=job.tenant, ttl=job.cache.ttl) if job.cache is not None else None,
        asker=Asker(
            session_id=session_id,
            job_id=job.job_id,
            tenant=tenant,
            in_code=True,
            goes_on=goes_on,
        ),
    )


def _messages(job: ChatJob, asked: ModelRequest) -> list[Message]:
    """What the agent says; and the job's system prompt, unless the agent has one."""
    own = asked.messages[0].role is Role.SYSTEM
    if own or not job.system:
        return asked.messages
    return [Message(role=Role.SYSTEM, content=job.system), *asked.messages]
