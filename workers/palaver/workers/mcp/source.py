"""The tools of all servers, as a source for the worker's toolbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from palaver.shared.tool_servers import SEPARATOR, ToolServer
from palaver.workers.event_log import event_logger
from palaver.workers.generation import Offer, ToolContext, ToolSource, UserCode
from palaver.workers.mcp.connection import Connection

__all__ = ["McpTools"]

logger = event_logger("palaver.workers.mcp")

CLOSE_SECONDS: Final = 8.0  # a process that ignores the end of its input is killed after four


class McpTools(ToolSource):
    """Tools by the names `SERVER__TOOL`. What servers send is read on the loop of code that is not ours."""

    def __init__(self, servers: Sequence[ToolServer], code: UserCode) -> None:
        self._servers = servers
        self._code = code
        self._connections: dict[str, Connection] = {}
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """See `ToolSource.start`."""
        await self._code.run(self._begin)

    async def tools(self) -> Mapping[str, Offer]:
        """See `ToolSource.tools`; the first time it waits until each server was reached or was not."""
        offers: Mapping[str, Offer] = await self._code.run(self._known)
        return offers

    def owns(self, name: str) -> bool:
        """See `ToolSource.owns`."""
        return any(name.startswith(server.name + SEPARATOR) for server in self._servers)

    async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """See `ToolSource.call`."""
        connection = self._connections[name.partition(SEPARATOR)[0]]
        said: str = await self._code.run(connection.call, name, arguments)
        return said

    async def aclose(self) -> None:
        """Disconnect, and end the processes that were started for it."""
        if self._running:
            await self._code.run(self._end)

    async def _begin(self) -> None:
        for server in self._servers:
            if (variable := server.missing()) is not None:
                why = f"the variable {variable} is not set"
                logger.warning("mcp.unserved", server=server.name, reason=why)
                continue
            connection = self._connections[server.name] = Connection(server)
            self._running.append(asyncio.create_task(connection.run(), name=f"mcp-{server.name}"))

    async def _known(self) -> dict[str, Offer]:
        known = await asyncio.gather(*(each.known() for each in self._connections.values()))
        return {name: offer for offers in known for name, offer in offers.items()}

    async def _end(self) -> None:
        running, self._running = self._running, []
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CLOSE_SECONDS)
