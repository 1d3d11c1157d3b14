"""How an agent's own code is called: off the loop of the streams, within its conversation, and so that
whatever it raises ends its job with a sentence that quotes nobody.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pydantic

from palaver.shared.errors import (
    AgentError,
    AnswerTooLargeError,
    ConfigurationError,
    FileError,
    ProviderError,
    ValidationError,
    WrongStateError,
)
from palaver.workers.agents.conversation import Conversation, enter
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames, frames
from palaver.workers.generation import Escaped, UserCode

__all__ = ["AgentCode"]

logger = event_logger("palaver.workers.agents")

_OWN: Final = (
    AgentError,
    AnswerTooLargeError,
    ConfigurationError,
    FileError,
    ProviderError,
    ValidationError,
    WrongStateError,
)
"""Errors of ours that an agent may let through: they say what was wrong, and quote nobody."""


@dataclass(frozen=True, slots=True)
class AgentCode:
    """The code of the agent at a path, for one conversation."""

    code: UserCode
    conversation: Conversation
    path: str
    job_id: str
    log_content: bool = False

    async def call(self, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the function returns: a coroutine function on the agents' loop, any other in a thread. A plain
        one may return an awaitable, as a decorated coroutine function does: it is awaited on the loop.

        Raises as `guarded`.
        """
        with self.guarded(what):
            return await self._returned(function, partial(function, *args, **kwargs))

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """The agent's code runs within; `what` tells users what it does.

        Raises AgentError for what it raises; the log has the lines of code that the exception has passed, and
        its text only where content may be logged.
        """
        try:
            yield
            return
        except _OWN:
            raise
        except Exception as error:  # noqa: BLE001 - it is not our code
            kind = error.kind if isinstance(error, Escaped) else type(error).__name__
            said = f"{kind}: {str(error)!r}" if self.log_content else ""
            known = {"job_id": self.job_id, "agent": self.path, "error": kind}
            logger.warning(f"agent.failed\n{frames(error)}{said}", **known)
            forget_frames(error)
            problem = f"{what} of the agent {self.path!r} raised {kind}{_places(error)}"
        raise AgentError(f"{problem}; the worker's log says where")

    async def _returned(self, function: Callable[..., Any], call: Callable[[], Any]) -> Any:
        if inspect.iscoroutinefunction(function):
            return await self.code.run(_coroutine, self.conversation, call)
        returned = await self.code.run(_plain, self.conversation, call)
        if inspect.isawaitable(returned):
            return await self.code.run(_coroutine, self.conversation, lambda: returned)
        return returned


async def _coroutine(conversation: Conversation, call: Callable[[], Any]) -> Any:
    enter(conversation)
    return await call()


def _plain(conversation: Conversation, call: Callable[[], Any]) -> Any:
    enter(conversation)
    return call()


def _places(error: Exception) -> str:
    """The fields that a pydantic model did not take, and why, without their values."""
    if not isinstance(error, pydantic.ValidationError):
        return ""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = sorted({f"{item['loc'][0]} ({item['type']})" for item in found if item["loc"]})
    return f" of {error.title}: {', '.join(told)}"
