"""Has a model write the abstract of what a history has no more room for: a request before the job's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from palaver.shared.errors import AnswerTooLargeError, MalformedStreamError, ProviderError, SpendLimitError
from palaver.shared.params import ChatParams
from palaver.shared.profiles import ModelRef
from palaver.shared.token_estimate import BYTES_A_TOKEN
from palaver.workers.event_log import event_logger
from palaver.workers.generation import Abstract, reach, summary_request
from palaver.workers.heard import Heard
from palaver.workers.metering import Meter
from palaver.workers.policies import Ask
from palaver.workers.prices import Prices
from palaver.workers.providers import GenerationRequest, Provider
from palaver.workers.run import Run
from palaver.workers.work import Work, asker, fit

__all__ = ["Summaries"]

logger = event_logger("palaver.workers.runner")

ABSTRACT_TOKENS: Final = 1000
SPARE: Final = 0.5  # of the room is left by a shortened history, for the jobs that follow


class Summaries:
    """Shortens histories, by abstracts of `answer_bytes` at most. One per process."""

    def __init__(self, ask: Ask, prices: Prices, *, answer_bytes: int) -> None:
        self._answer_bytes = answer_bytes
        self._ask = ask
        self._prices = prices

    async def shortened(self, run: Run, work: Work, ref: ModelRef, provider: Provider) -> Work:
        """The work, with an abstract in place of the oldest turns if they do not fit.

        If the model fails or is too dear, the work as it was: its oldest turns are left out; readers are
        told.
        """
        context = provider.profile.context_of(ref.model)
        if len(fit(work, run.answer.journal, context).history) == len(work.history):
            return work
        kept = fit(work, run.answer.journal, context, part=SPARE).history
        dropped = work.history[: len(work.history) - len(kept)]
        until = reach(dropped)
        if until is None:  # nothing of a session: there is no place to keep an abstract
            return work
        run.answer.writer.event("progress", {"done": 0, "message": "summary"})
        most = None if context is None else max(0, context - 2 * ABSTRACT_TOKENS) * BYTES_A_TOKEN
        request = GenerationRequest(
            model=ref.model,
            messages=summary_request(work.abstract, dropped, most),
            params=ChatParams(max_tokens=ABSTRACT_TOKENS),
            asker=asker(work),
        )
        try:
            text = await self._written(run, ref, provider, request)
        except (AnswerTooLargeError, ProviderError, SpendLimitError) as error:
            logger.info("job.not_summarized", **run.told(error=error.type))
            run.answer.warn("history_not_summarized", f"{error.type}: no abstract was written.", "history")
            return work
        run.answer.abstract = Abstract(text, until)
        return replace(work, history=kept, abstract=run.answer.abstract)

    async def _written(self, run: Run, ref: ModelRef, provider: Provider, request: GenerationRequest) -> str:
        meter = Meter(request, await self._prices.of(provider, ref.model))
        heard = Heard(most=self._answer_bytes)
        try:
            await self._ask(provider, request, heard)
        finally:
            run.answer.charge(ref, heard.usage(meter))
        if not (text := heard.text).strip():
            raise MalformedStreamError("the model said nothing", provider=ref.profile)
        return text
