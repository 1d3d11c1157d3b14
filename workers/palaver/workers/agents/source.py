"""The agents of a worker process, as a source of answers: the runner asks here for a job that names one.

User code runs on a loop of its own and in threads; here, on the loop of the streams, is what surrounds it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from palaver.shared.agent_paths import trimmed
from palaver.shared.errors import AgentError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import AgentSession, Keys, operations
from palaver.shared.responses import ChatResponse
from palaver.workers.agents.answer import AgentAnswer
from palaver.workers.agents.base import AgentUser, Match
from palaver.workers.agents.code import AgentCode
from palaver.workers.agents.context import (
    context_from_json,
    context_from_session,
    context_to_json,
    session_context,
)
from palaver.workers.agents.conversation import Conversation
from palaver.workers.agents.model_request import ModelRequest
from palaver.workers.agents.outbox import Outbox
from palaver.workers.agents.requests import AgentRequests
from palaver.workers.agents.routes import Routes
from palaver.workers.files import FileTexts
from palaver.workers.generation import UserCode
from palaver.workers.link import Link
from palaver.workers.run import Run
from palaver.workers.stop import uninterrupted
from palaver.workers.work import Work

__all__ = ["Agents"]

_FOR_MODELS: Final = ("tools", "complete", "response_schema", "chain")
"""Fields of a job that say how models are asked, and nothing to an agent."""

MAKING_SECONDS: Final = 0.1
"""Until a job asks again for a context that another one makes."""

ENDING_SECONDS: Final = 1.0
"""In which a provider ends a request that is cancelled."""

_GIVING: Final = "giving user, files and context to a copy"
"""What an agent whose attributes cannot be set, as with `__slots__`, raises in."""


class Agents:
    """Answers jobs that name an agent. `seconds` are for one answer, `most` bytes for what it says."""

    def __init__(
        self,
        routes: Routes,
        *,
        link: Link,
        keys: Keys,
        code: UserCode,
        requests: AgentRequests,
        files: FileTexts,
        seconds: float,
        most: int,
        log_content: bool = False,
    ) -> None:
        self._routes = routes
        self._link = link
        self._keys = keys
        self._code = code
        self._requests = requests
        self._files = files
        self._seconds = seconds
        self._most = most
        self._log_content = log_content
        self._made: dict[Any, asyncio.Task[Any]] = {}  # the agents of this process, by their views

    @property
    def announcements(self) -> Mapping[str, dict[str, Any]]:
        """What everybody is told of them, by path."""
        return {pattern: {} for pattern in self._routes.patterns}

    async def answer(self, run: Run, work: Work) -> None:
        """Have the agent of the job answer it. Raises AgentError for what its code does, ValidationError for
        a path that leads nowhere.
        """
        path = trimmed(work.job.agent or "")
        found = self._routes.resolve(path)
        answer = AgentAnswer(run.answer, path)
        run.ref = answer.ref
        for name in _FOR_MODELS:
            if getattr(work.job, name):
                run.answer.warn("not_supported", f"an agent answers; {name!r} is left out", name)
        services = _Services(self._requests, self._files, run, work.job, answer)
        outbox = Outbox(asyncio.get_running_loop(), answer.take, most=self._most)
        *before, message = work.job.messages
        conversation = Conversation(outbox, services, message, history=[*work.history, *before])
        code = AgentCode(self._code, conversation, path, work.job.job_id, self._log_content)
        try:
            async with _within(self._seconds, path):
                text = await self._respond(run, work.job, found, code, answer)
        finally:
            conversation.close()
            outbox.deliver()  # now: after this the job is ended with what it has said
            await uninterrupted(services.ended())
        answer.finish(text)

    async def _respond(
        self, run: Run, job: ChatJob, found: Match, code: AgentCode, answer: AgentAnswer
    ) -> str:
        """Make ready what the agent is to find, and call it; the text of its answer."""
        session = await self._kept(run, code.path)
        told = _session_context(job, run.claimed.session_id, session)
        user = await self._user(told["user_id"], code)
        files = await self._attached(run, job, code)
        made = await self._agent(found.func, code)
        with code.guarded(_GIVING):
            agent = copy.copy(made)
            agent.user, agent.files = user, files
        context = await self._context(run, agent, told, session, code)
        with code.guarded(_GIVING):
            code.conversation.context = agent.context = context
        await self._before(code)
        text = code.conversation.message.text
        returned = await code.call("get_response", agent.get_response, text, told, **found.kwargs)
        code.conversation.outbox.deliver()
        text = answer.written if returned is None else returned
        if not isinstance(text, str):
            kind = type(text).__name__
            raise AgentError(f"the agent {code.path!r} must return text, or None; it returned: {kind}")
        if self._routes.hooks is not None:
            text = str(await code.call("a hook", self._routes.hooks.after, text))
        self._check_size(code.path, "answer", len(text.encode(errors="replace")))
        return text

    async def _before(self, code: AgentCode) -> None:
        """Have the hooks change what was said."""
        here, hooks = code.conversation, self._routes.hooks
        if hooks is not None:
            changed = await code.call("a hook", hooks.before, [*here.history, here.message])
            if not changed:
                raise AgentError("a hook has left no message to answer")
            *here.history, here.message = changed

    async def _agent(self, view: Any, code: AgentCode) -> Any:
        """The agent of this process: made when it is asked for first, and again if that has failed."""
        making = self._made.get(view)
        if making is None or (making.done() and (making.cancelled() or making.exception() is not None)):
            making = self._made[view] = asyncio.create_task(code.call("the constructor", view.make))
        return await asyncio.shield(making)

    async def _user(self, user_id: str | None, code: AgentCode) -> Any:
        if user_id is None:
            return None
        load = self._routes.load_user
        return AgentUser(user_id) if load is None else await code.call("load_user", load, user_id)

    async def _attached(self, run: Run, job: ChatJob, code: AgentCode) -> list[Any]:
        """The files of the message; their texts are read before the agent is called."""
        if not job.files:
            return []
        files = await self._files.attached(job.files, job.user, job.tenant)
        read = (self._files.text(file.id, job.user, job.tenant, warn=run.answer.warn) for file in files)
        texts = await asyncio.gather(*read)
        ids = (file.id for file in files)
        code.conversation.file_texts = dict(zip(ids, texts, strict=True))
        return list(files)

    async def _context(
        self, run: Run, agent: Any, told: Mapping[str, Any], session: AgentSession, code: AgentCode
    ) -> Any:
        """The agent's own context: what the session has kept, or one that is made and kept now."""
        kind, create = getattr(agent, "Context", None), getattr(agent, "create_context", None)
        if kind is None and create is None:
            return None
        while not (session.own or session.makes):
            session = await self._kept(run, code.path, make=True)
            if not (session.own or session.makes):  # another job of the session is at it
                await asyncio.sleep(MAKING_SECONDS)
        kept = session.own
        if not kept:
            made = await (
                code.call("create_context", create)
                if create
                else code.call("Context", context_from_session, kind, told)
            )
            document = await code.call("the JSON of Context", context_to_json, made)
            self._check_size(code.path, "context", len(document))
            await code.call("Context", context_from_json, kind, document)  # one that does not fit is not kept
            kept = (await self._kept(run, code.path, document)).own
        return await code.call("Context", context_from_json, kind, kept)

    def _check_size(self, path: str, what: str, size: int) -> None:
        if size > self._most:
            raise AgentError(f"the {what} of the agent {path!r} is larger than {self._most} bytes")

    async def _kept(self, run: Run, path: str, context: bytes = b"", *, make: bool = False) -> AgentSession:
        claimed = run.claimed
        address = (self._keys, claimed.session_id, claimed.job_id)
        return await self._link.run(
            operations.keep_context(*address, fence=claimed.fence, path=path, context=context, make=make)
        )


@asynccontextmanager
async def _within(seconds: float, path: str) -> AsyncIterator[None]:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        bound = f"PALAVER_AGENT_SECONDS, {seconds:g}"
        raise AgentError(f"the agent {path!r} did not answer within {bound}") from None


@dataclass(frozen=True, slots=True)
class _Services:
    """See `Services`."""

    requests: AgentRequests
    files: FileTexts
    run: Run
    job: ChatJob
    answer: AgentAnswer
    _asking: set[asyncio.Task[Any]] = field(default_factory=set)

    async def ask(self, request: ModelRequest) -> ChatResponse:
        # No name here has the task: it would hold its own error, in a cycle.
        self._asking.add(_own_task())
        try:
            return await self.requests.answer(self.run, self.job, self.answer, request)
        finally:
            self._asking.discard(_own_task())

    async def ended(self) -> None:
        """Return when the requests that were cancelled are in the job's bill, or after `ENDING_SECONDS`."""
        if self._asking:
            await asyncio.wait(self._asking, timeout=ENDING_SECONDS)

    async def file_text(self, file_id: str) -> str:
        warn = self.run.answer.warn
        return await self.files.text(file_id, self.job.user, self.job.tenant, warn=warn)


def _own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in one
    return task


def _session_context(job: ChatJob, session_id: str, session: AgentSession) -> dict[str, Any]:
    return session_context(
        orjson.loads(session.context or b"{}"),
        user_id=job.user or session.user,
        session_id=session_id,
        anonymous_id=session.anonymous_id,
    )
