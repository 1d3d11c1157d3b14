"""The tools of all servers, as a source for the worker's toolbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from palaver.shared.tool_servers import SEPARATOR, ToolServer
from palaver.workers.event_log import event_logger
from palaver.workers.generation import Offer, ToolContext, ToolError, ToolSource, UserCode
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
        self._running: dict[asyncio.Task[None], Connection] = {}  # retired ones too

    async def start(self) -> None:
        """See `ToolSource.start`."""
        await self._code.run(self._begin, self._servers)

    async def change(self, servers: Sequence[ToolServer]) -> None:
        """Have these servers from now on; of one that is another now, or gone, running calls end first."""
        before, self._servers = {server.name: server for server in self._servers}, servers
        after = {server.name: server for server in servers}
        await self._code.run(self._retire, [name for name in before if after.get(name) != before[name]])
        await self._code.run(self._begin, [each for each in servers if before.get(each.name) != each])

    @property
    def missing(self) -> dict[str, str]:
        """The servers that are not there, and why. From any thread."""
        problems = {server.name: self._problem(server) for server in self._servers}
        return {name: why for name, why in problems.items() if why is not None}

    async def tools(self) -> Mapping[str, Offer]:
        """See `ToolSource.tools`; the first time it waits until each server was reached or was not."""
        offers: Mapping[str, Offer] = await self._code.run(self._known)
        return offers

    def owns(self, name: str) -> bool:
        """See `ToolSource.owns`."""
        return any(name.startswith(server.name + SEPARATOR) for server in self._servers)

    async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """See `ToolSource.call`."""
        said: str = await self._code.run(self._call, name, arguments)
        return said

    async def aclose(self) -> None:
        """Disconnect, and end the processes that were started for it."""
        if self._running:
            await self._code.run(self._end)

    async def _begin(self, servers: Sequence[ToolServer]) -> None:
        for server in servers:
            if (why := _unset(server)) is not None:
                logger.warning("mcp.unserved", server=server.name, reason=why)
                continue
            connection = self._connections[server.name] = Connection(server)
            running = asyncio.create_task(connection.run(), name=f"mcp-{server.name}")
            self._running[running] = connection
            running.add_done_callback(self._running.pop)

    def _problem(self, server: ToolServer) -> str | None:
        connection = self._connections.get(server.name)
        return _unset(server) if connection is None else connection.problem

    async def _retire(self, names: Sequence[str]) -> None:
        for connection in [self._connections.pop(name) for name in names if name in self._connections]:
            connection.retire()

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        connection = self._connections.get(name.partition(SEPARATOR)[0])
        if connection is None:
            raise ToolError("its server is not there any more")
        return await connection.call(name, arguments)

    async def _known(self) -> dict[str, Offer]:
        known = await asyncio.gather(*(each.known() for each in self._connections.values()))
        return {name: offer for offers in known for name, offer in offers.items()}

    async def _end(self) -> None:
        running = dict(self._running)
        for connection in running.values():
            connection.end()
        if running:
            await asyncio.wait(running, timeout=CLOSE_SECONDS)


def _unset(server: ToolServer) -> str | None:
    variable = server.missing()
    return None if variable is None else f"the variable {variable} is not set"
