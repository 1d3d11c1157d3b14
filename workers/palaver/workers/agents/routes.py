"""The agents of a worker: `PALAVER_AGENTS` names the modules, or the files, that have `chat_urlpatterns`.

A list may hold patterns of Django's `path` too. A module may have a `load_user`: given the id of a user, it
returns what agents have as `self.user`; and `chat_hooks`, for all messages to its agents and their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from palaver.shared.agent_paths import resolved
from palaver.shared.errors import ConfigurationError
from palaver.shared.hooks import Hooks
from palaver.shared.plain import refuse
from palaver.workers.agents.base import AgentView, FunctionView, Match, Route, view_of
from palaver.workers.imports import imported

__all__ = ["Routes"]

UNSET = (
    "this worker serves no agents: PALAVER_AGENTS, or `palaver worker --agents`, names the module "
    "with their chat_urlpatterns"
)


@dataclass(frozen=True, slots=True)
class Routes:
    """All of them, in order: of two that take a path the first counts."""

    entries: Sequence[Any] = ()  # Route, or a pattern of Django's
    load_user: Callable[[str], Any] | None = None
    hooks: Hooks | None = None
    _views: dict[Any, AgentView | FunctionView] = field(default_factory=dict)  # of Django's patterns

    @classmethod
    def load(cls, places: str) -> Self:
        """Import what `PALAVER_AGENTS` names. Raises ConfigurationError naming the place."""
        entries: list[Any] = []
        load_user: Callable[[str], Any] | None = None
        hooks: Hooks | None = None
        for place in filter(None, (place.strip() for place in places.split(","))):
            module = imported("PALAVER_AGENTS", place)
            found = getattr(module, "chat_urlpatterns", None)
            if not isinstance(found, list | tuple):
                raise ConfigurationError(f"PALAVER_AGENTS: {place} has no list chat_urlpatterns")
            entries += [_checked(place, entry) for entry in found]
            load_user = getattr(module, "load_user", load_user)
            if (more := getattr(module, "chat_hooks", None)) is not None:
                hooks = hooks or Hooks()
                hooks.include(more)
        return cls(entries, load_user, hooks)

    @property
    def patterns(self) -> list[str]:
        """What is announced."""
        return [_text(entry) for entry in self.entries]

    def resolve(self, path: str) -> Match:
        """The agent of a path. Raises ValidationError (param `agent`) for one that leads nowhere."""
        if not self.entries:
            refuse("agent", UNSET)
        found = resolved(self.entries, path)
        if found is None:
            refuse("agent", f"there is none at {path[:64]!r}; there are: {', '.join(self.patterns)[:500]}")
        if isinstance(found, Match):
            return found
        if found.func not in self._views:
            self._views[found.func] = view_of(found.func)
        return Match(self._views[found.func], found.kwargs)


def _checked(place: str, entry: Any) -> Any:
    if not isinstance(entry, Route):
        if not callable(getattr(entry, "resolve", None)) or not hasattr(entry, "callback"):
            raise ConfigurationError(
                f"PALAVER_AGENTS: {place}: chat_urlpatterns has a {type(entry).__name__}, which is no path(…)"
            )
        view_of(entry.callback)
    return entry


def _text(entry: Any) -> str:
    return entry.pattern.text if isinstance(entry, Route) else str(entry.pattern)
