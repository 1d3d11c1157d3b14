"""Functions that see the messages of a turn before they are answered, and the text afterwards: of a
`ChatObject` in its own program, of agents in the workers.

hooks = Hooks()

@hooks.on_precompletion(priority=1)
async def shorten(event: PreCompletionEvent) -> None:
    event.messages = event.messages[-10:]
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from palaver.shared.messages import Message, parse_history
from palaver.shared.plain import refuse, shape

log = logging.getLogger("palaver.hooks")


@dataclass
class PreCompletionEvent:
    """What is to be answered: of a `ChatObject` system prompt, memory and the user's message; of an agent the
    session's history and the user's message.
    """

    messages: list[Message]

    def check(self) -> None:
        """Raises ValidationError for what a job does not take."""
        self.messages = parse_history(self.messages, param="messages")


@dataclass
class CompletionEvent:
    """What was answered. Another text replaces it in the response and in the memory."""

    text: str = field(repr=False)

    def check(self) -> None:
        """Raises ValidationError for what is no text."""
        if not isinstance(self.text, str):
            refuse("text", f"must be a string, not {shape(self.text)}")


E = TypeVar("E", PreCompletionEvent, CompletionEvent)
Handler = Callable[[E], Awaitable[None] | None]


@dataclass(frozen=True)
class _Hook(Generic[E]):
    function: Handler[E]
    priority: int
    block: bool


class Hooks:
    """Handlers by priority, the lowest first; one with `block` is the last that runs.

    What a handler does counts only if it returns: one that raises, or leaves what is wrong, is told in the
    log, and all goes on as if it had not run.
    """

    def __init__(self) -> None:
        self._before: list[_Hook[PreCompletionEvent]] = []
        self._after: list[_Hook[CompletionEvent]] = []

    def on_precompletion(
        self, *, priority: int = 10, block: bool = False
    ) -> Callable[[Handler[PreCompletionEvent]], Handler[PreCompletionEvent]]:
        """Register a handler that may change the messages."""
        return _register(self._before, priority, block)

    def on_completion(
        self, *, priority: int = 10, block: bool = False
    ) -> Callable[[Handler[CompletionEvent]], Handler[CompletionEvent]]:
        """Register a handler that may replace the text."""
        return _register(self._after, priority, block)

    def include(self, others: Hooks) -> None:
        """Run the handlers of others too, by their priorities among these."""
        self._before = sorted([*self._before, *others._before], key=_priority)
        self._after = sorted([*self._after, *others._after], key=_priority)

    async def before(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as the handlers leave them."""
        return (await _run(self._before, PreCompletionEvent(list(messages)))).messages

    async def after(self, text: str) -> str:
        """The text as the handlers leave it."""
        return (await _run(self._after, CompletionEvent(text))).text


def _priority(hook: _Hook[Any]) -> int:
    return hook.priority


def _register(hooks: list[_Hook[Any]], priority: int, block: bool) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        hooks.append(_Hook(function, priority, block))
        hooks.sort(key=_priority)
        return function

    return register


async def _run(hooks: Sequence[_Hook[E]], event: E) -> E:
    for hook in hooks:
        event = await _tried(hook, event)
        if hook.block:
            break
    return event


async def _tried(hook: _Hook[E], event: E) -> E:
    own = replace(event)
    if isinstance(own, PreCompletionEvent):
        own.messages = list(own.messages)
    try:
        waits = hook.function(own)
        if inspect.isawaitable(waits):
            await waits
        own.check()
    except Exception as error:  # noqa: BLE001 - it is not our code, and the turn goes on
        name = getattr(hook.function, "__name__", type(hook.function).__name__)
        log.warning("hook_failed hook=%s error=%s", name, type(error).__name__)
        return event
    return own
