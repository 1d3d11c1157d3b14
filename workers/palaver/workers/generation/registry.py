"""What a worker's own modules add to it: `PALAVER_TOOLS` names them, separated by commas.

`package.module` adds the functions in it that `tool` and `continue_prompt` have marked; `package.module:Name`
adds a source of tools, a subclass of `ToolSource` that is made without arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from palaver.shared.errors import ConfigurationError
from palaver.shared.jobs import PromptName
from palaver.workers.generation.functions import MARK, Function
from palaver.workers.generation.source import ToolSource
from palaver.workers.imports import imported

__all__ = ["Registry"]


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that was found."""

    functions: dict[str, Function] = field(default_factory=dict)
    prompts: dict[str, Callable[..., Any]] = field(default_factory=dict)
    sources: list[ToolSource] = field(default_factory=list)

    @classmethod
    def load(cls, places: str) -> Registry:
        """Import what `PALAVER_TOOLS` names. Raises ConfigurationError naming the place, and for two
        functions of one name.
        """
        registry = cls()
        named = [place.strip() for place in places.split(",") if place.strip()]
        for place in named:
            module, colon, name = place.partition(":")
            found = imported("PALAVER_TOOLS", module)
            if colon:
                registry.sources.append(_source(place, getattr(found, name, None)))
            else:
                registry._add(place, found)
        return registry

    def _add(self, place: str, module: ModuleType) -> None:
        for value in vars(module).values():
            function, prompt = getattr(value, MARK, None), getattr(value, PromptName.MARK, None)
            if isinstance(function, Function):
                known = self.functions.setdefault(function.offer.definition.name, function)
                _refuse_second(place, "tool", known.function, function.function)
            if isinstance(prompt, str):
                _refuse_second(place, "continue prompt", self.prompts.setdefault(prompt, value), value)


def _source(place: str, kind: Any) -> ToolSource:
    if not (isinstance(kind, type) and issubclass(kind, ToolSource)):
        raise ConfigurationError(f"PALAVER_TOOLS: {place} is no subclass of ToolSource")
    return kind()


def _refuse_second(place: str, what: str, known: Any, found: Any) -> None:
    if known is not found:
        raise ConfigurationError(f"PALAVER_TOOLS: {place}: there is another {what} of the name of {found!r}")
