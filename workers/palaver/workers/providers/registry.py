"""Which class serves a profile's `kind`: the built-in dialects by name, any other as
`package.module:Class`.
"""

import importlib
from typing import Final

from palaver.shared.chat_client import ChatClient
from palaver.shared.errors import ConfigurationError, PalaverError
from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.imports import importing
from palaver.workers.providers.base import Provider
from palaver.workers.providers.client_provider import ClientProvider

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
    found = class_of(profile)
    try:
        if issubclass(found, Provider):
            return found(profile, http)
        return ClientProvider(profile, http, found.from_profile(profile))
    except PalaverError:
        raise
    except Exception as error:
        # A TypeError says of an option that is not taken, or an abstract method that is not there; any other
        # text may tell a key, of which the class was told.
        told = error if isinstance(error, TypeError) else type(error).__name__
        raise _wrong(profile, f"{profile.kind} cannot be made: {told}") from error


def class_of(profile: Profile) -> type[Provider] | type[ChatClient]:
    """The class that a profile's kind names. Raises ConfigurationError."""
    path = KINDS.get(profile.kind, profile.kind)
    module, colon, name = path.partition(":")
    if not colon:
        known = ", ".join(sorted(KINDS))
        raise _wrong(profile, f"there is no kind {profile.kind!r}; choose {known}, or package.module:Class")
    with importing(f"provider {profile.name}: {path}", provider=profile.name):
        found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, Provider | ChatClient)):
        raise _wrong(profile, f"{path} is a subclass of neither palaver.shared.ChatClient nor Provider")
    return found


def _wrong(profile: Profile, problem: str) -> ConfigurationError:
    return ConfigurationError(f"provider {profile.name}: {problem}", provider=profile.name)
