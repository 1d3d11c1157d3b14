"""Paths of agents: patterns like those of URLs, `docs/<int:number>/`, with the converters that Django has.

A slash at either end of a path or a pattern is of no importance. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self
from uuid import UUID

from palaver.shared.error_tree import ConfigurationError
from palaver.shared.plain import refuse

__all__ = ["AgentPattern", "check_agent", "resolved", "trimmed"]

CONVERTERS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "str": ("[^/]+", str),
    "int": ("[0-9]+", int),
    "slug": ("[-a-zA-Z0-9_]+", str),
    "uuid": ("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", UUID),
    "path": (".+", str),
}
"""What each matches, and what its parameter becomes."""

_PARAMETER: Final = re.compile(r"<(?:(?P<converter>[^>:]+):)?(?P<name>[^>]+)>")


@dataclass(frozen=True, slots=True)
class AgentPattern:
    """A pattern, ready to match."""

    text: str
    _regex: re.Pattern[str] = field(repr=False)
    _converters: dict[str, Callable[[str], Any]] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The pattern that the text means. Raises ConfigurationError for an unknown converter, and for a
        parameter that is no name or stands there twice.
        """
        regex, converters, end = "", {}, 0
        pattern = trimmed(text)
        for found in _PARAMETER.finditer(pattern):
            converter, name = found["converter"] or "str", found["name"]
            if converter not in CONVERTERS:
                known = ", ".join(CONVERTERS)
                raise ConfigurationError(f"path {text!r}: no converter {converter!r}; there are: {known}")
            if not name.isidentifier() or name in converters:
                raise ConfigurationError(f"path {text!r}: {name!r} is no name of its own")
            matches, converters[name] = CONVERTERS[converter]
            regex += f"{re.escape(pattern[end : found.start()])}(?P<{name}>{matches})"
            end = found.end()
        return cls(text, re.compile(regex + re.escape(pattern[end:])), converters)

    def match(self, path: str) -> dict[str, Any] | None:
        """The parameters, converted; None for a path that does not fit."""
        found = self._regex.fullmatch(trimmed(path))
        if found is None:
            return None
        return {name: self._converters[name](value) for name, value in found.groupdict().items()}


def trimmed(path: str) -> str:
    """The path without the slashes that are of no importance."""
    return path.strip("/")


def resolved(patterns: Iterable[Any], path: str) -> Any:
    """What the first of these patterns makes of the path that takes it, or None. They resolve as Django's do:
    to something with `func` and `kwargs`, and there with the slash at the end, if they have one.
    """
    for pattern in patterns:
        found = pattern.resolve(f"{trimmed(path)}/") or pattern.resolve(trimmed(path))
        if found is not None:
            return found
    return None


def check_agent(path: str, served: Iterable[str], *, param: str = "agent") -> None:
    """Raise ValidationError for a path that none of these patterns takes.

    No patterns at all are no reason; nor is one that only a worker can read, such as a regular expression.
    """
    patterns = sorted(served)
    if patterns and not any(_takes(pattern, path) for pattern in patterns):
        refuse(param, f"no worker serves the agent {path[:64]!r}; served: {', '.join(patterns)[:500]}")


def _takes(text: str, path: str) -> bool:
    if text.startswith("^"):  # a regular expression, as Django's `re_path` has them
        return True
    try:
        return AgentPattern.parse(text).match(path) is not None
    except ConfigurationError:
        return True
