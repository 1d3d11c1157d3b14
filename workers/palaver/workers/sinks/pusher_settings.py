"""Where Pusher is, and the key: `[pusher]` of palaver.toml, or `PALAVER_PUSHER` as JSON, which wins."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr

from palaver.shared.config_file import read_config, table_of
from palaver.shared.document import Document
from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.plain import Text
from palaver.shared.settings import Settings

__all__ = ["PusherSettings", "load_pusher"]


def _word(value: Any) -> Any:
    """An id that somebody wrote as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Word = Annotated[Text, BeforeValidator(_word), Field(pattern=r"^[A-Za-z0-9_-]+$")]


class PusherSettings(Document):
    """An application at Pusher, or at a server that speaks its protocol (`url`). The secret is in no repr."""

    app_id: Word
    key: Word
    secret: Annotated[SecretStr, Field(exclude=True)]
    cluster: Word = "us2"
    url: Annotated[Text, Field(pattern=r"^https?://")] | None = None

    @property
    def address(self) -> str:
        """Where its HTTP API is."""
        return (self.url or f"https://api-{self.cluster}.pusher.com").rstrip("/")


def load_pusher(settings: Settings) -> PusherSettings | None:
    """What is configured; None without a key. Names may be written in capitals. Raises ConfigurationError."""
    table = {**table_of(read_config(settings.config), "pusher", settings.config), **settings.pusher}
    fields = {name.lower(): value for name, value in table.items()}
    if not fields.get("key"):
        return None
    variable = fields.pop("secret_env", None)
    if variable is not None:
        fields["secret"] = os.environ.get(str(variable))
        if not fields["secret"]:
            raise ConfigurationError(f"pusher: the environment variable {variable} is not set")
    try:
        return PusherSettings.validated(fields, at="pusher")
    except ValidationError as error:
        problem = error.message
    raise ConfigurationError(problem)
