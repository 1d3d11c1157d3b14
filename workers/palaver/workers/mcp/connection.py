"""A server of tools, connected for as long as the worker lives: again, whenever the connection is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import anyio
from mcp import Client, MCPError, types
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost

from palaver.shared.tool_servers import SEPARATOR, ToolServer
from palaver.workers.event_log import event_logger
from palaver.workers.generation import Offer, ToolError
from palaver.workers.mcp.results import offers_of, text_of
from palaver.workers.mcp.transport import Signals, client_of, problem_of

__all__ = ["Connection", "tools_of"]

logger = event_logger("palaver.workers.mcp")

FIRST_PAUSE: Final = 1.0  # seconds before it is tried again; doubled each time, …
LONGEST_PAUSE: Final = 60.0  # … up to this; a call that needs the server waits for none
MOST_PAGES: Final = 100  # of a list of tools


class Connection:
    """One server. `offers` are the tools that it had when it was last heard of."""

    def __init__(self, server: ToolServer) -> None:
        self.server = server
        self.offers: dict[str, Offer] = {}
        self.problem: str | None = None  # why there is no connection, as of the last attempt
        self._client: Client | None = None
        self._tried = asyncio.Event()  # the attempt that goes on, or the next one, has come out
        self._first = self._tried
        self._wanted = asyncio.Event()  # somebody waits for that
        self._news = asyncio.Event()  # other tools, or no connection any more
        self._forgotten = self._lost = False
        self._signals = Signals(self._news.set, self._is_forgotten, self._is_lost)
        self._task: asyncio.Task[None] | None = None
        self._calls = 0
        self._retired = False  # nothing more is called; it ends with the calls that run
        self._over = False

    async def run(self) -> None:
        """Stay connected until told to `end`, or retired."""
        self._task = asyncio.current_task()
        try:
            if not self._over:
                await self._stay()
        finally:
            self._came_out()

    def retire(self) -> None:
        """Disconnect once no call runs any more."""
        self._retired = True
        self._end_unused()

    def end(self) -> None:
        """Disconnect now."""
        self._over = True
        if self._task is not None:
            self._task.cancel()

    async def _stay(self) -> None:
        pause = FIRST_PAUSE
        while True:
            begun, problem = time.monotonic(), "the connection was lost"
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a server is no end of the worker
                problem = problem_of(error, self._signals)
            if self._over:
                return  # a failure at the same time swallows the cancellation
            if self._client is None:
                self._came_out()
            self._client, self.problem = None, problem
            if time.monotonic() - begun > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            logger.warning("mcp.unreachable", server=self.server.name, error=problem, seconds=pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            pause = min(pause * 2, LONGEST_PAUSE)

    async def known(self) -> Mapping[str, Offer]:
        """Its tools, once it was tried to be reached."""
        await self._first.wait()
        return self.offers

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What a tool says, under its job's name for it. Raises ToolError with what went wrong."""
        self._calls += 1
        try:
            return await self._call(name, arguments)
        finally:
            self._calls -= 1
            self._end_unused()

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        tool = name.removeprefix(self.server.name + SEPARATOR)
        for _ in range(2):
            client = await self._connected()
            try:
                result = await client.call_tool(tool, dict(arguments))
            except MCPError as error:
                if client is not self._client or self._lost:
                    break
                if not self._forgotten:
                    raise ToolError(error.message) from None
                self._is_lost()  # it has not run the call; the protocol wants a new session
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                break
            else:
                if result.is_error:
                    raise ToolError(text_of(result))
                return text_of(result)
        raise ToolError("the connection to its server was lost; it may have run")

    async def _connected(self) -> Client:
        if self._client is None or self._lost:
            tried = self._tried
            self._wanted.set()
            await tried.wait()
        if self._client is None:
            raise ToolError("its server cannot be reached")
        return self._client

    async def _serve(self) -> None:
        """Connect, and heed what the server says of its tools, until the connection is lost."""
        self._forgotten = self._lost = False
        self._wanted.clear()
        self._news.clear()
        client = client_of(self.server, self._signals)
        limit = self.server.connect_seconds
        async with asyncio.timeout(limit) as late, client:
            await self._list(client)
            late.reschedule(None)
            self._client, self.problem = client, None
            self._came_out()
            logger.info("mcp.connected", server=self.server.name, tools=len(self.offers))
            listening = asyncio.create_task(self._listen(client))
            try:
                while await self._told():
                    late.reschedule(asyncio.get_running_loop().time() + limit)
                    await self._list(client)
                    late.reschedule(None)
            finally:
                listening.cancel()

    async def _told(self) -> bool:
        """Wait for news; False when the connection is lost."""
        await self._news.wait()
        self._news.clear()
        return not self._lost

    async def _list(self, client: Client) -> None:
        self.offers = offers_of(self.server, await tools_of(client))

    async def _listen(self, client: Client) -> None:
        """Have the server tell of changes, which newer ones do only when asked; the client's handler heeds
        them.
        """
        try:
            async with client.listen(tools_list_changed=True) as changes:
                self._news.set()  # what has changed before it listened
                async for _ in changes:
                    pass
        except SubscriptionLost:
            self._is_lost()
        except (ListenNotSupportedError, MCPError):
            pass  # an older one, which tells unasked; or one whose tools never change

    def _end_unused(self) -> None:
        if self._retired and not self._calls:
            self.end()

    def _is_forgotten(self) -> None:
        self._forgotten = True

    def _is_lost(self) -> None:
        self._lost = True
        self._news.set()

    def _came_out(self) -> None:
        """Tell those who wait for the attempt; who comes later waits for the next one."""
        self._tried.set()
        self._tried = asyncio.Event()


async def tools_of(client: Client) -> list[types.Tool]:
    """All tools that a server lists."""
    tools: list[types.Tool] = []
    cursor = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools
