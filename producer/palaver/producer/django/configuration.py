"""What a project's settings say of agents: `DJANGO_AI_CHAT_URLS` and `SAAS_AI`."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from django.conf import settings

from palaver.shared.agent_paths import resolved
from palaver.shared.errors import ConfigurationError
from palaver.shared.plain import refuse

URLS: Final = "DJANGO_AI_CHAT_URLS"


def chat_urlpatterns() -> Sequence[Any]:
    """The agents of the project. Raises ValidationError, a ValueError, where no setting names them, and
    ConfigurationError for a module without them.
    """
    name = getattr(settings, URLS, None)
    if not name:
        refuse(URLS, 'is not set; it names the module with chat_urlpatterns, as in "shop.chat_urls"')
    try:
        module = import_module(name)
    except ImportError as error:
        raise ConfigurationError(f"{URLS}: {name} cannot be imported: {error}") from error
    patterns = getattr(module, "chat_urlpatterns", None)
    if not isinstance(patterns, list | tuple):
        raise ConfigurationError(f"{URLS}: {name} has no list chat_urlpatterns")
    return patterns


def check_path(agent_path: str) -> None:
    """Raises ValidationError for a path that leads to none of them."""
    patterns = chat_urlpatterns()
    if not resolved(patterns, agent_path):
        known = ", ".join(str(getattr(pattern, "pattern", pattern)) for pattern in patterns)
        refuse("agent_path", f"there is no agent at {agent_path[:64]!r}; there are: {known[:500]}")


def text_extractor() -> str:
    """The dotted path of the project's own text extractor; empty for none."""
    given = getattr(settings, "SAAS_AI", {})
    name = given.get("TEXT_EXTRACTOR") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(name, str | None):
        raise ConfigurationError("SAAS_AI must be a dict, and its TEXT_EXTRACTOR a dotted path")
    return name or ""
