"""What an agent is, and how one is put at a path.

    class Support(Agent):
        async def get_response(self, message, session_context, **kwargs):
            return "Hello!"

    chat_urlpatterns = [path("support/", Support)]

`Agent` is a convenience: any class with `get_response` is one, and so is a function of the same arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from palaver.shared.agent_paths import AgentPattern
from palaver.shared.errors import ConfigurationError

__all__ = ["Agent", "AgentUser", "AgentView", "Match", "Route", "path", "view_of"]


@dataclass(frozen=True, slots=True)
class AgentUser:
    """Who talks to an agent, where nothing else is known of users (`load_user` of the agents' module)."""

    id: str
    email: str = ""


class Agent:
    """Base of class agents. One is made in each worker process; each message has a copy of it, with `user`,
    `files` and `context` of its own.
    """

    user: Any = None  # None: anonymous
    files: Any = ()  # of this message: id, filename, type, size
    context: Any = None

    @classmethod
    def as_view(cls, **arguments: Any) -> AgentView:
        """The class for `path`, made with these arguments."""
        return AgentView(cls, arguments)


@dataclass(frozen=True, eq=False)
class AgentView:
    """A class agent at a path."""

    agent: type
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def make(self) -> Any:
        """The agent; called once in each worker process."""
        return self.agent(**self.arguments)

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Django's `path` asks for something that can be called."""
        raise TypeError(f"{self.agent.__name__} is an agent, no view: name it in chat_urlpatterns")


class FunctionView:
    """A function agent at a path."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.get_response = function

    def make(self) -> FunctionView:
        """It is its own agent."""
        return self


def view_of(target: Any) -> AgentView | FunctionView:
    """What stands at a path. Raises ConfigurationError for what is no agent."""
    if isinstance(target, AgentView):
        return target
    if isinstance(target, type) and callable(getattr(target, "get_response", None)):
        return AgentView(target)
    if inspect.isroutine(target):
        return FunctionView(target)
    name = getattr(target, "__name__", type(target).__name__)
    raise ConfigurationError(f"{name} is no agent: neither a function nor a class with get_response")


@dataclass(frozen=True, slots=True)
class Match:
    """What a path leads to, and what its parameters are."""

    func: Any
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """An agent and its path."""

    pattern: AgentPattern
    view: AgentView | FunctionView

    def resolve(self, path: str) -> Match | None:
        """As Django's patterns resolve."""
        found = self.pattern.match(path)
        return None if found is None else Match(self.view, found)


def path(route: str, agent: Any) -> Route:
    """Put an agent at a path: `path("docs/<int:number>/", Docs)`; `get_response` is given `number`.

    Converters are those of Django: str, int, slug, uuid, path. Raises ConfigurationError.
    """
    return Route(AgentPattern.parse(route), view_of(agent))
