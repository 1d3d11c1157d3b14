"""A job that a model answers: what it is asked, and what follows from each answer, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from palaver.shared.errors import ConfigurationError, PalaverError, ProviderError, ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.messages import Part, ToolCall
from palaver.workers.attempts import Attempts
from palaver.workers.files.attachments import Attachments
from palaver.workers.frames import forget_frames
from palaver.workers.generation import (
    AskModel,
    Continued,
    Done,
    Entry,
    GoOn,
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
from palaver.workers.requests import Requests
from palaver.workers.run import Run, pause
from palaver.workers.work import Work

__all__ = ["Models"]


class Models:
    """Has models answer jobs. One per process."""

    def __init__(
        self,
        *,
        requests: Requests,
        toolbox: Toolbox,
        prompts: Prompts,
        attachments: Attachments,
    ) -> None:
        self._requests = requests
        self._toolbox = toolbox
        self._prompts = prompts
        self._attachments = attachments

    async def answer(self, run: Run, work: Work) -> None:
        """Ask, and do what each answer asks for, until one asks for nothing more; raises what ends the job
        instead.
        """
        self._prompts.check(work.job)
        work = await self._equip(run, work)
        job, kit, journal = work.job, work.kit, run.answer.journal
        attempts = await self._requests.attempts(run, work)
        work = await self._requests.shortened(run, work, attempts)
        step = next_step(job, kit, journal)
        while not isinstance(step, Done):
            try:
                reply = await self._take(run, work, step, attempts)
            except (ConfigurationError, ProviderError, ValidationError) as error:
                step = after_failure(job, journal, step, forget_frames(error))
            else:
                step = next_step(job, kit, journal, reply, work.schema)
        if step.error is not None:
            raise step.error
        if step.cut is not None:
            run.answer.settle(step.cut)
        run.answer.parsed = step.parsed

    async def _equip(self, run: Run, work: Work) -> Work:
        kit = await self._toolbox.kit(work.job)
        if kit.missing:
            gone = f"The job goes on without these tools, which are not there now: {', '.join(kit.missing)}."
            run.answer.warn("tools_missing", gone, "tools")
        if kit.unknown:
            own = f"No tool of this worker: whoever sent the job is to run {', '.join(kit.unknown)}."
            run.answer.warn("tools_unknown", own, "tools")
        return replace(work, kit=kit, attached=await self._attached(run, work.job))

    async def _attached(self, run: Run, job: ChatJob) -> list[Part]:
        """What the model is told of the job's files."""
        if not job.files:
            return []
        seen = await self._requests.show_images(job)
        return await self._attachments.of(job, run.answer.warn, see_images=seen)

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
        await pause(work, continue_delay(step.complete, step.count))

    async def _keep(self, run: Run, entry: Entry) -> None:
        """Store what is finished, and tell it, before anything follows from it."""
        await run.answer.writer.flush()
        events = run.answer.keep(entry)
        number, spent = len(run.answer.journal), run.answer.spent()
        try:
            told_to_end = await run.notes.entry(number, entry.to_json(), events, spent)
        except PalaverError:
            run.answer.take_back()
            raise
        if told_to_end is not None:
            raise told_to_end
