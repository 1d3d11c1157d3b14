"""What a project's settings say: `DJANGO_AI_CHAT_URLS`, `SAAS_AI`, `DJANGO_AI_PUSHER`."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import orjson
from django.conf import settings

from palaver.shared.agent_paths import resolved
from palaver.shared.errors import ConfigurationError
from palaver.shared.plain import refuse, require, shape

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
    require("agent_path", agent_path, str, "a path")
    patterns = chat_urlpatterns()
    if not resolved(patterns, agent_path):
        known = ", ".join(str(getattr(pattern, "pattern", pattern)) for pattern in patterns)
        refuse("agent_path", f"there is no agent at {agent_path[:64]!r}; there are: {known[:500]}")


def of_workers() -> dict[str, str]:
    """What the workers of the project have in their environment. Raises as `chat_urlpatterns`, and
    ConfigurationError for a setting of another form.
    """
    chat_urlpatterns()
    found = {"PALAVER_AGENTS": "palaver.producer.django.agents"}
    extractor = _table("SAAS_AI").get("TEXT_EXTRACTOR")
    if extractor:
        found["PALAVER_TEXT_EXTRACTOR"] = str(extractor)
    if pusher := _table("DJANGO_AI_PUSHER"):
        found["PALAVER_PUSHER"] = orjson.dumps(pusher).decode()
    return found


def _table(name: str) -> dict[str, Any]:
    value = getattr(settings, name, None) or {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} must be a dict, not {shape(value)}")
    return value
