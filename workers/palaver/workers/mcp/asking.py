"""Whether a server of tools answers, and with which tools: asked once, for `palaver check`."""

from __future__ import annotations

import asyncio

from palaver.shared.errors import ConnectionError, TimeoutError
from palaver.shared.tool_servers import SEPARATOR, ToolServer
from palaver.workers.mcp.connection import tools_of
from palaver.workers.mcp.results import offers_of
from palaver.workers.mcp.transport import Signals, client_of, problem_of

__all__ = ["tool_names"]


async def tool_names(server: ToolServer) -> list[str]:
    """The tools that jobs could have of this server, by its own names for them.

    Raises ConnectionError or TimeoutError; no key is in their messages.
    """
    signals = Signals()
    limit = asyncio.timeout(server.connect_seconds)
    try:
        async with limit, client_of(server, signals) as client:
            offers = offers_of(server, await tools_of(client))
    except Exception as error:  # noqa: BLE001 - whatever a server or a process does wrong is told by its class
        if limit.expired():
            raise TimeoutError("it did not answer in time") from None
        raise ConnectionError(f"it cannot be reached: {problem_of(error, signals)}") from None
    return [name.removeprefix(server.name + SEPARATOR) for name in offers]
