"""What surrounds one answer of an agent: user code finds it in a context variable, on its loop and in its
threads alike, and so under any number of answers at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from palaver.shared.errors import WrongStateError
from palaver.shared.messages import Message
from palaver.shared.plain import plain
from palaver.shared.responses import ChatResponse
from palaver.workers.agents.model_request import ModelRequest
from palaver.workers.agents.outbox import Outbox

__all__ = ["Conversation", "Services", "as_json", "conversation", "current_context", "enter"]

T = TypeVar("T")


class Services(Protocol):
    """What the worker does for an agent, on the loop of the streams."""

    async def ask(self, asked: ModelRequest) -> ChatResponse:
        """Ask a model. Raises its ProviderError, ValidationError for an unknown one."""
        ...

    async def file_text(self, file_id: str) -> str:
        """The text of a file; empty for an unknown one. Raises FileRefusedError for another user's."""
        ...


@dataclass(slots=True, eq=False)
class Conversation:
    """One message to an agent, while it is answered."""

    outbox: Outbox
    services: Services
    message: Message
    history: list[Message] = field(default_factory=list)
    file_texts: Mapping[str, str] = field(default_factory=dict, repr=False)  # of the files of this message
    context: BaseModel | Mapping[str, Any] | None = field(default=None, repr=False)
    _calls: set[Future[Any]] = field(default_factory=set)
    _closed: bool = False

    def call(self, service: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> Future[T]:
        """Have the worker do something; from any thread. Raises WrongStateError when the answer has ended."""
        if self._closed:
            raise WrongStateError("The answer has ended: the worker does nothing for it any more.")
        future = asyncio.run_coroutine_threadsafe(service(*args), self.outbox.loop)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def close(self) -> None:
        """Nothing is said or done for this answer any more."""
        self._closed = True
        self.outbox.close()
        for call in list(self._calls):
            call.cancel()


_current: ContextVar[Conversation | None] = ContextVar("palaver_conversation", default=None)


def conversation() -> Conversation:
    """The conversation that this code answers in. Raises WrongStateError, a RuntimeError, elsewhere."""
    found = _current.get()
    if found is None:
        raise WrongStateError("There is no conversation here: only an agent that answers is in one.")
    return found


def enter(found: Conversation) -> None:
    """Make it the conversation of the running task, or thread."""
    _current.set(found)


def current_context() -> Mapping[str, Any]:
    """The fields of the agent's context; none outside a conversation."""
    found = _current.get()
    return {} if found is None or found.context is None else dict(found.context)


def as_json(value: Any, what: str) -> Any:
    """A copy of the value as JSON has it. Raises TypeError for what is none."""
    try:
        return plain(value, path=what)
    except ValueError as wrong:
        problem = str(wrong)
    raise TypeError(problem)
