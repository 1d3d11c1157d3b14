"""The tools of a worker, and what becomes of a call: a result for the model, whatever happens.

A call never fails a job. A name that is not there, arguments that are no JSON object, an exception, a call
that takes too long: each becomes a text that tells the model so. The text of an exception may quote a
secret, so it is told only of a `ToolError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Self

from palaver.shared.jobs import ChatJob
from palaver.shared.messages import ToolCall
from palaver.shared.plain import shape
from palaver.shared.settings import Settings
from palaver.shared.tools import FunctionTool, is_named, is_pattern
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames, frames
from palaver.workers.generation.functions import text_of
from palaver.workers.generation.journal import Result
from palaver.workers.generation.kit import Kit
from palaver.workers.generation.source import ToolContext, ToolError, ToolSource
from palaver.workers.generation.user_code import Escaped, contained

__all__ = ["Toolbox"]

logger = event_logger("palaver.workers.tools")


class Toolbox:
    """All sources of tools; of two tools with one name the earlier source's counts. `seconds` is for one
    call, `output_bytes` for the UTF-8 of its result, `rounds` for a job.
    """

    def __init__(
        self, sources: Sequence[ToolSource], *, seconds: float, output_bytes: int, rounds: int
    ) -> None:
        self._sources = sources
        self._seconds = seconds
        self._output_bytes = output_bytes
        self._rounds = rounds

    @classmethod
    def of(cls, settings: Settings, sources: Sequence[ToolSource]) -> Self:
        """Within the settings' bounds."""
        return cls(
            sources,
            seconds=settings.tool_seconds,
            output_bytes=settings.tool_output_bytes,
            rounds=settings.tool_rounds,
        )

    async def kit(self, job: ChatJob) -> Kit:
        """The job's tools. A definition of nothing but a name means a source's tool, and is filled in from
        what that knows of it, or left out if it is not there; what a caller has defined is the caller's, and
        so is a name that no source knows.
        """
        if not job.tools:
            return Kit(rounds=self._rounds)
        offers = {
            name: (source, offer)
            for source in reversed(self._sources)
            for name, offer in (await contained(source.tools)).items()
        }
        tools = list(_each(job.tools, offers))
        missing = tuple(tool.name for tool in tools if self._misses(tool, offers))
        bare = [tool.name for tool in tools if tool.is_bare and tool.name not in missing]
        served = {name: offers[name] for name in bare if name in offers}
        unknown = tuple(name for name in bare if name not in offers)
        definitions = [
            served[tool.name][1].definition if tool.name in served else tool
            for tool in tools
            if tool.name not in missing
        ]
        return Kit(definitions or None, served, missing, unknown, self._rounds)

    def _misses(self, tool: FunctionTool, offers: Mapping[str, object]) -> bool:
        """Whether a tool is one of ours that is not there now. What a caller has defined is the caller's."""
        own = any(source.owns(tool.name) for source in self._sources)
        return is_pattern(tool.name) or (own and tool.is_bare and tool.name not in offers)

    async def run(
        self, kit: Kit, calls: Sequence[ToolCall], job: ChatJob, session_id: str
    ) -> AsyncGenerator[Result, None]:
        """The results of calls, as they come; all at once, unless the job wants one after the other.

        Close it to end what still runs: it waits for nobody.
        """
        if job.parallel_tool_calls is False:
            for call in calls:
                yield await self._result(kit, call, job, session_id)
            return
        running = [asyncio.ensure_future(self._result(kit, call, job, session_id)) for call in calls]
        try:
            for result in asyncio.as_completed(running):
                yield await result
        finally:
            for task in running:
                task.cancel()

    async def start(self) -> None:
        """Start the sources."""
        for source in self._sources:
            await source.start()

    async def aclose(self) -> None:
        """Close the sources."""
        for source in self._sources:
            await source.aclose()

    async def _result(self, kit: Kit, call: ToolCall, job: ChatJob, session_id: str) -> Result:
        context = ToolContext(
            job_id=job.job_id,
            session_id=session_id,
            call_id=call.id,
            tenant=job.tenant,
            user=job.user,
            metadata=job.metadata,
        )
        try:
            text, failed = await self._run(kit, call, context), False
        except ToolError as problem:
            text, failed = f"Error executing {call.name}: {problem}", True
        finally:
            context.stopped.set()
        return Result(id=call.id, name=call.name, content=self._bounded(text), is_error=failed)

    async def _run(self, kit: Kit, call: ToolCall, context: ToolContext) -> str:
        """The result's text; whatever goes wrong is a ToolError."""
        source, offer = kit.served.get(call.name, (None, None))
        if any(is_named(name, call.name) for name in kit.missing):
            raise ToolError("it is not there at present")
        if source is None or offer is None:
            raise ToolError(f"there is no such function; there are: {', '.join(sorted(kit.served))}")
        if isinstance(call.arguments, str):
            raise ToolError(f"the arguments must be a JSON object, not {shape(call.arguments)} that is none")
        seconds = offer.timeout or self._seconds
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return text_of(await contained(source.call, call.name, call.arguments, context))
        except ToolError:
            raise
        except Exception as error:  # noqa: BLE001 - what a tool raises is news for the model, and no failure of the job
            late = isinstance(error, TimeoutError) and limit.expired()
            name = error.kind if isinstance(error, Escaped) else type(error).__name__
            what = f"no result within {seconds:g} seconds" if late else name
            known = {"job_id": context.job_id, "tool": call.name, "error": what}
            logger.warning(f"tool.failed\n{frames(error)}", **known)
            forget_frames(error)
        raise ToolError(what)

    def _bounded(self, text: str) -> str:
        most = self._output_bytes
        # No more than may be kept is looked at: it may be a gigabyte. Half a surrogate pair is no text.
        kept = text[: most + 1].encode(errors="replace")
        if len(kept) <= most:
            return kept.decode()
        return (
            f"{kept[:most].decode(errors='ignore')}\n[cut: {len(text)} characters are more than {most} bytes]"
        )


def _each(tools: Sequence[FunctionTool], offers: Mapping[str, object]) -> Iterator[FunctionTool]:
    """The tools that a job names, each once: for all of a server's, or all that there are, those, or the name
    itself if there are none.
    """
    told = set()
    for tool in tools:
        meant = [name for name in offers if is_named(tool.name, name)] if is_pattern(tool.name) else []
        for each in [FunctionTool(name=name) for name in meant] or [tool]:
            if each.name not in told:
                told.add(each.name)
                yield each
