"""How an agent's own code is called: off the loop of the streams, within its conversation, and so that
whatever it raises ends its job with a sentence that quotes nobody.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pydantic

from palaver.shared.errors import (
    AgentError,
    ConfigurationError,
    FileError,
    ProviderError,
    ValidationError,
    WrongStateError,
)
from palaver.workers.agents.conversation import Conversation, enter
from palaver.workers.event_log import event_logger
from palaver.workers.frames import frames
from palaver.workers.generation import UserCode

__all__ = ["AgentCode"]

logger = event_logger("palaver.workers.agents")

_OWN: Final = (AgentError, ConfigurationError, FileError, ProviderError, ValidationError, WrongStateError)
"""Errors of ours that an agent may let through: they say what was wrong, and quote nobody."""


@dataclass(frozen=True, slots=True)
class AgentCode:
    """The code of the agent at a path, for one conversation."""

    code: UserCode
    conversation: Conversation
    path: str
    job_id: str
    log_content: bool = False

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the function returns: a coroutine function on the agents' loop, any other in a thread.

        Raises AgentError; the log has the lines of code that the exception has passed, and its text only
        where content may be logged.
        """
        bound = partial(function, *args, **kwargs)
        within = _coroutine if inspect.iscoroutinefunction(function) else _plain
        name = getattr(function, "__qualname__", type(function).__qualname__)
        try:
            return await self.code.run(within, self.conversation, bound)
        except _OWN:
            raise
        except Exception as error:  # noqa: BLE001 - it is not our code
            known = {"job_id": self.job_id, "agent": self.path, "error": type(error).__name__}
            said = f"{type(error).__name__}: {str(error)!r}" if self.log_content else ""
            logger.warning(f"agent.failed\n{frames(error)}{said}", **known)
            problem = f"{name} of the agent {self.path!r} raised {type(error).__name__}{_places(error)}"
        raise AgentError(f"{problem}; the worker's log says where")


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
