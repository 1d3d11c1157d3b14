"""Servers of tools that speak the Model Context Protocol, as `palaver.toml` names them: `[mcp.NAME]`."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from palaver.shared.config_file import read_config, table_of
from palaver.shared.document import Document
from palaver.shared.error_tree import ConfigurationError, ValidationError
from palaver.shared.jobs import Seconds
from palaver.shared.plain import Text, refuse, shape
from palaver.shared.settings import Settings

__all__ = ["SEPARATOR", "ToolServer", "load_tool_servers"]

SEPARATOR: Final = "__"
"""Between a server's name and a tool's, in the name under which a job has that tool."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,32}", value):
        raise ValueError("must be 1 to 32 letters, digits or hyphens")
    return value


def _url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


def _secret(value: Any) -> Any:
    if value is None or isinstance(value, SecretStr) or (isinstance(value, str) and value):
        return value
    raise ValueError(f"must be a key, not {shape(value)}")


class ToolServer(Document):
    """A server that is reached at its `url` (streamable HTTP), or is started as a process, `command` with
    `args` (stdio). Keys, headers and variables are secrets: they are in no repr and in no dump.

    `api_key_env` names the variable with its bearer token, `env_vars` variables of the worker that its
    process gets; it gets no others but PATH, HOME and their like, and those of `env`. `log` is a file for
    what the process writes to stderr. `tools` None offers all of its tools. `timeout` is for a call (None:
    the worker's), `connect_seconds` for connecting and listing; both in seconds.
    """

    name: Annotated[Text, AfterValidator(_name)]
    url: Annotated[Text, AfterValidator(_url)] | None = Field(default=None, exclude=True)
    headers: dict[Text, Text] = Field(default_factory=dict, exclude=True)
    api_key_env: Text | None = None
    api_key: Annotated[SecretStr | None, BeforeValidator(_secret)] = Field(default=None, exclude=True)
    command: Annotated[Text, Field(min_length=1)] | None = None
    args: list[Text] = Field(default_factory=list, exclude=True)
    env: dict[Text, Text] = Field(default_factory=dict, exclude=True)
    env_vars: list[Text] = Field(default_factory=list)
    cwd: Text | None = None
    log: Text | None = None
    tools: list[Text] | None = None
    timeout: Seconds | None = None
    connect_seconds: Seconds = 10.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.url is None) == (self.command is None):
            refuse("", "needs either a url or a command")
        foreign = (
            ("headers", "api_key_env") if self.url is None else ("args", "env", "env_vars", "cwd", "log")
        )
        for field in foreign:
            if getattr(self, field):
                refuse(field, f"is not for a server with a {'command' if self.url is None else 'url'}")
        return self

    def missing(self) -> str | None:
        """Which variable of the environment is needed and not set."""
        if self.api_key_env is not None and self.api_key is None:
            return self.api_key_env
        return next((name for name in self.env_vars if name not in os.environ), None)

    def request_headers(self) -> dict[str, str]:
        """The headers of every request, the key among them, in clear."""
        if self.api_key is None:
            return dict(self.headers)
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}", **self.headers}

    def process_env(self) -> dict[str, str]:
        """The variables that its process gets beside the harmless ones, in clear."""
        return {name: os.environ[name] for name in self.env_vars if name in os.environ} | self.env


def load_tool_servers(settings: Settings) -> list[ToolServer]:
    """The servers of `palaver.toml` and the environment (which wins), `PALAVER_MCP`.

    Keys named by `api_key_env` are read here. Raises ConfigurationError naming the file and the key.
    """
    tables = {**table_of(read_config(settings.config), "mcp", settings.config), **settings.mcp}
    try:
        return [_server(name, table) for name, table in tables.items()]
    except ValidationError as error:
        problem = f"{settings.config}: {error.message}"
    raise ConfigurationError(problem)


def _server(name: str, table: Any) -> ToolServer:
    if not isinstance(table, Mapping):
        refuse(f"mcp.{name}", f"must be a table, not {shape(table)}")
    fields = {"name": name, **table}
    if isinstance(variable := fields.get("api_key_env"), str):
        fields["api_key"] = os.environ.get(variable) or None
    return ToolServer.validated(fields, at=f"mcp.{name}")
