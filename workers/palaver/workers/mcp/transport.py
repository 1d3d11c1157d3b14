"""How a server is reached: a client of the official package over HTTP or over a process's pipes."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
from mcp import Client, MCPError, StdioServerParameters, stdio_client, types
from mcp.client.streamable_http import streamable_http_client

from palaver.shared.tool_servers import ToolServer
from palaver.workers.mcp.lines import ENCODING, MOST_BYTES

__all__ = ["Signals", "client_of", "problem_of", "transport_of"]

READ_SECONDS: Final = 300.0  # between two bytes of a stream that the server holds open; calls have their own
SESSION_HEADER: Final = "mcp-session-id"

Transport = AbstractAsyncContextManager[tuple[Any, Any]]


def _nobody_asks() -> None:
    """The default for who does not stay connected."""


@dataclass(slots=True)
class Signals:
    """What a client tells beside its answers: the server has other tools, does not know the session any more,
    or is gone. `refusal` is the HTTP status of its last answer if that was an error, which the package hides.
    """

    changed: Callable[[], None] = _nobody_asks
    forgotten: Callable[[], None] = _nobody_asks
    lost: Callable[[], None] = _nobody_asks
    refusal: int | None = None


def client_of(server: ToolServer, signals: Signals) -> Client:
    """A client to be entered."""

    async def heed(message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            signals.changed()

    known = types.Implementation(name="palaver", version="0")
    watched = _watched(transport_of(server, signals), signals.lost)
    return Client(watched, message_handler=heed, client_info=known, cache=None)


def transport_of(server: ToolServer, signals: Signals) -> Transport:
    """The streams of messages from a server and to it, to be entered."""
    return _over_http(server, signals) if server.url is not None else _over_pipes(server)


def problem_of(error: BaseException, signals: Signals) -> str:
    """What went wrong first, in groups of errors: a status or a class, for a text may hold a key."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError) and signals.refusal is not None:
        return f"HTTP {signals.refusal}"
    return type(error).__name__


@asynccontextmanager
async def _watched(transport: Transport, lost: Callable[[], None]) -> AsyncIterator[tuple[Any, Any]]:
    """The transport, with the news that it has ended: a client is told only when it next asks something."""
    async with transport as (incoming, outgoing):
        send, receive = anyio.create_memory_object_stream[Any](0)

        async def carry() -> None:
            async with send:
                async for message in incoming:
                    await send.send(message)
            lost()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carry)
            try:
                yield receive, outgoing
            finally:
                tasks.cancel_scope.cancel()


class _Bounded(httpx2.AsyncByteStream):
    """A body of at most so many bytes: the package reads it whole."""

    def __init__(self, body: httpx2.AsyncByteStream, most: int) -> None:
        self._body = body
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._body:
            size += len(piece)
            if size > self._most:
                raise httpx2.StreamError(f"more than {self._most} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


def _bound(response: httpx2.Response) -> None:
    """Nothing is read of what is compressed although nobody asked for it: a bomb, perhaps."""
    packed = response.headers.get("content-encoding", "identity") != "identity"
    events = response.headers.get("content-type", "").lower().startswith("text/event-stream")
    # Of events the package has a bound.
    if (packed or not events) and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream, 0 if packed else MOST_BYTES)


@asynccontextmanager
async def _over_http(server: ToolServer, signals: Signals) -> AsyncIterator[tuple[Any, Any]]:
    async def look(response: httpx2.Response) -> None:
        signals.refusal = response.status_code if response.is_error else None
        if response.status_code == httpx2.codes.NOT_FOUND and SESSION_HEADER in response.request.headers:
            signals.forgotten()
        _bound(response)

    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx2.AsyncClient(
                headers={**server.request_headers(), "accept-encoding": "identity"},
                timeout=httpx2.Timeout(server.connect_seconds, read=READ_SECONDS),
                event_hooks={"response": [look]},
            )
        )
        streams = streamable_http_client(server.url or "", http_client=http)
        yield await stack.enter_async_context(streams)


@asynccontextmanager
async def _over_pipes(server: ToolServer) -> AsyncIterator[tuple[Any, Any]]:
    process = StdioServerParameters(
        command=server.command or "",
        args=server.args,
        env=server.process_env(),
        cwd=server.cwd,
        encoding=ENCODING,
        encoding_error_handler="replace",  # what is cut may be cut within a character
    )
    # What it writes there may hold anything: not for the worker's log.
    with Path(server.log or os.devnull).open("a", encoding="utf-8") as errors:  # noqa: ASYNC230 - no network
        async with stdio_client(process, errlog=errors) as streams:
            yield streams


class _NotOfThePackage(logging.Filter):
    """Drops what the package logs under a name that others may have as well."""

    def filter(self, record: logging.LogRecord) -> bool:
        return f"{os.sep}mcp{os.sep}" not in record.pathname


def _silence() -> None:
    """The package logs messages, arguments and results among them; HTTP its addresses and headers."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)
    logging.getLogger("client").addFilter(_NotOfThePackage())
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)


_silence()
