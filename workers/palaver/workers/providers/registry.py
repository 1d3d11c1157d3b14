"""Which class serves a profile's `kind`: the built-in dialects by name, any other as
`package.module:Class`.
"""

import importlib
from typing import Final

from palaver.shared.errors import ConfigurationError
from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers.base import Provider

KINDS: Final[dict[str, str]] = {
    "aiml": "palaver.workers.providers.openai:AIMLProvider",
    "anthropic": "palaver.workers.providers.anthropic:AnthropicProvider",
    "ollama": "palaver.workers.providers.ollama:OllamaProvider",
    "openai": "palaver.workers.providers.openai:OpenAIProvider",
    "scripted": "palaver.workers.providers.scripted:ScriptedProvider",
}
"""The built-in kinds. A class is imported when the first profile of its kind is made."""


def create(profile: Profile, http: HttpClient) -> Provider:
    """The provider of a profile, sharing the process's HTTP client.

    Raises ConfigurationError for an unknown kind, a class that cannot be imported, or a profile that the
    class refuses.
    """
    return provider_class(profile)(profile, http)


def provider_class(profile: Profile) -> type[Provider]:
    """The class that a profile's kind names. Raises ConfigurationError."""
    path = KINDS.get(profile.kind, profile.kind)
    module, colon, name = path.partition(":")
    if not colon:
        known = ", ".join(sorted(KINDS))
        raise _wrong(profile, f"there is no kind {profile.kind!r}; choose {known}, or package.module:Class")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _wrong(profile, f"{path} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Provider)):
        raise _wrong(profile, f"{path} is no subclass of palaver.workers.providers.Provider")
    return found


def _wrong(profile: Profile, problem: str) -> ConfigurationError:
    return ConfigurationError(f"provider {profile.name}: {problem}", provider=profile.name)
