"""An agent's own context: made once for each session, kept with it, and injected where a parameter has the
name of one of its fields.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from pydantic_core import to_json

from palaver.workers.agents.conversation import current_context

__all__ = [
    "context_from_json",
    "context_from_session",
    "context_to_json",
    "session_context",
    "with_context",
]

R = TypeVar("R")


def with_context() -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Have a method's parameters filled in from the agent's context, by their names.

        @with_context()
        def may_buy(self, product_id: str, subscription_tier: str = "free") -> bool: …

        self.may_buy("tea")

    What the caller gives comes first, then the context, then the default. Raises TypeError naming a
    parameter that has none of them.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> R:
            return function(*args, **_filled(function, signature, args, kwargs))

        @functools.wraps(function)
        async def acall(*args: Any, **kwargs: Any) -> Any:
            waits: Any = function(*args, **_filled(function, signature, args, kwargs))
            return await waits

        return acall if inspect.iscoroutinefunction(function) else call  # type: ignore[return-value]

    return decorate


def _filled(
    function: Callable[..., Any], signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The call's keyword arguments with those of the context."""
    given, fields = signature.bind_partial(*args, **kwargs).arguments, current_context()
    filled = dict(kwargs)
    for name, parameter in signature.parameters.items():
        if name in given or parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        if name in fields:
            filled[name] = fields[name]
        elif parameter.default is parameter.empty:
            problem = f"{name!r} is neither given nor a field of the agent's Context"
            raise TypeError(f"{function.__name__}(): {problem}")
    return filled


def session_context(
    custom: Mapping[str, Any], *, user_id: str | None, session_id: str, anonymous_id: str | None
) -> dict[str, Any]:
    """What an agent is told of its session: what the session was made with, and whose it is.

    Nobody can make the session another's by a key of its own context.
    """
    return {**custom, "user_id": user_id, "session_id": session_id, "anonymous_id": anonymous_id}


def context_from_session(kind: type[BaseModel], told: Mapping[str, Any]) -> BaseModel:
    """A context of what the session has under the names of its fields."""
    return kind(**{name: told[name] for name in kind.model_fields if told.get(name) is not None})


def context_to_json(context: Any) -> bytes:
    """As a session keeps it."""
    return to_json(context)


def context_from_json(kind: type[BaseModel] | None, kept: bytes) -> Any:
    """The context that a session has kept."""
    value = orjson.loads(kept)
    return value if kind is None or value is None else kind.model_validate(value)
