"""Prompts for continues that a function makes.

    @continue_prompt
    def numbered(count: int, max_count: int, current_text: str, original_prompt: str) -> str:
        return f"Part {count} of {max_count}: go on."

A job names it: `complete={"continue_prompt": {"name": "numbered"}}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.jobs import ChatJob, PromptName
from palaver.shared.messages import Role
from palaver.workers.generation.steps import GoOn
from palaver.workers.generation.user_code import UserCode

__all__ = ["Prompts", "continue_prompt"]

F = TypeVar("F", bound=Callable[..., Any])


@overload
def continue_prompt(function: F) -> F: ...


@overload
def continue_prompt(*, name: str | None = None) -> Callable[[F], F]: ...


def continue_prompt(function: Any = None, *, name: str | None = None) -> Any:
    """Register a function of `(count, max_count, current_text, original_prompt)` that returns a prompt, for
    the workers that import its module (`PALAVER_TOOLS`). `count` begins at 1. It stays itself.
    """

    def register(function: F) -> F:
        setattr(function, PromptName.MARK, name or function.__name__)
        return function

    return register if function is None else register(function)


class Prompts:
    """The registered prompts of a worker; `seconds` is what one may take."""

    def __init__(
        self, functions: Mapping[str, Callable[..., Any]], code: UserCode, *, seconds: float
    ) -> None:
        self._functions = functions
        self._code = code
        self._seconds = seconds

    def check(self, job: ChatJob) -> None:
        """Raises ValidationError for a prompt that this worker does not have."""
        wanted = job.complete.continue_prompt if job.complete is not None else ""
        if isinstance(wanted, PromptName) and wanted.name not in self._functions:
            raise ValidationError(
                f"complete.continue_prompt: this worker has no function {wanted.name!r}; "
                "PALAVER_TOOLS names the modules with those that it has",
                param="complete.continue_prompt",
            )

    async def text(self, step: GoOn, job: ChatJob, said: str) -> str:
        """The prompt of a continue; `said` is all text so far. Raises ConfigurationError if its function
        fails.
        """
        wanted = step.complete.continue_prompt
        if not isinstance(wanted, PromptName):
            return wanted
        users = [message.text for message in job.messages if message.role is Role.USER]
        arguments = (step.count, step.complete.max_continues, said, users[-1] if users else "")
        problem = "returned no text"
        try:
            async with asyncio.timeout(self._seconds):
                prompt = await self._code.run(self._functions[wanted.name], *arguments)
            if isinstance(prompt, str) and prompt.strip():
                return prompt
        except Exception as error:  # noqa: BLE001 - it is not our code
            problem = f"raised {type(error).__name__}"
        raise ConfigurationError(f"the continue prompt {wanted.name!r} {problem}")
