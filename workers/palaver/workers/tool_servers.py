"""The servers of tools that a worker has now: the `[mcp.…]` tables of `palaver.toml` may change while it
runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from palaver.shared.errors import ConfigurationError
from palaver.shared.file_stamps import stamps_of
from palaver.shared.settings import Settings
from palaver.shared.tool_servers import ToolServer, load_tool_servers
from palaver.workers.event_log import event_logger
from palaver.workers.generation import Offer, ToolContext, ToolError, ToolSource, UserCode

if TYPE_CHECKING:
    from palaver.workers.mcp import McpTools

__all__ = ["ToolServers", "require_mcp"]

logger = event_logger("palaver.workers.tool_servers")


class ToolServers(ToolSource):
    """The tools of all servers that the configuration names.

    Raises ConfigurationError for a wrong table, and where there are servers but not the package for them.
    """

    def __init__(self, settings: Settings, code: UserCode) -> None:
        self._settings = settings
        self._code = code
        self._stamps = stamps_of([settings.config])
        self._servers = load_tool_servers(settings)
        self._mcp = self._made(self._servers)

    async def renew(self) -> bool:
        """Read the tables again, if their file was written; whether there are other servers now.

        Tables that cannot be read are told in the log, and change nothing.
        """
        if (stamps := stamps_of([self._settings.config])) == self._stamps:
            return False
        self._stamps = stamps
        try:
            servers = load_tool_servers(self._settings)
            if servers == self._servers:
                return False
            if self._mcp is None:
                # It is imported here for the first time, and the streams must not wait for that.
                self._mcp = await asyncio.to_thread(self._made, servers)
                await self.start()
            else:
                await self._mcp.change(servers)
        except ConfigurationError as error:
            logger.error("tools.refused", reason=str(error))
            return False
        self._servers = servers
        logger.info("tools.renewed", servers=len(servers))
        return True

    async def start(self) -> None:
        """See `ToolSource.start`."""
        if self._mcp is not None:
            await self._mcp.start()

    @property
    def missing(self) -> Mapping[str, str]:
        """The servers that are not there, by name, and why: a status or the class of an error."""
        return {} if self._mcp is None else self._mcp.missing

    async def tools(self) -> Mapping[str, Offer]:
        """See `ToolSource.tools`."""
        return {} if self._mcp is None else await self._mcp.tools()

    def owns(self, name: str) -> bool:
        """See `ToolSource.owns`."""
        return self._mcp is not None and self._mcp.owns(name)

    async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """See `ToolSource.call`."""
        if self._mcp is None:
            raise ToolError("its server is not there any more")
        return await self._mcp.call(name, arguments, context)

    async def aclose(self) -> None:
        """See `ToolSource.aclose`."""
        if self._mcp is not None:
            await self._mcp.aclose()

    def _made(self, servers: Sequence[ToolServer]) -> McpTools | None:
        return require_mcp(servers[0]).McpTools(servers, self._code) if servers else None


def require_mcp(server: ToolServer) -> Any:
    """The module that talks to such servers: half a second, which others need not spend.

    Raises ConfigurationError naming what to install.
    """
    try:
        return import_module("palaver.workers.mcp")
    except ModuleNotFoundError as missing:
        problem = f"[mcp.{server.name}] needs the package {missing.name}: pip install 'palaver[mcp]'"
        raise ConfigurationError(problem) from None
