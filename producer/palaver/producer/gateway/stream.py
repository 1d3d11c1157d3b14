"""Responses that are written piece by piece, straight to the server: nothing is encoded for one reader."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableSet
from contextlib import aclosing, suppress
from typing import Final, Literal

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from palaver.shared.errors import PalaverError

log = logging.getLogger("palaver.gateway")

KEEP_ALIVE_SECONDS: Final = 15.0
KEEP_ALIVE: Final = b": keep-alive\n\n"
_RESTART_SECONDS: Final = 2.0
"""All readers of a process that stops come back within this time, not at once."""


class ByteStream(Response):
    """A stream of server-sent events. `pieces` are whole events, and are closed when the stream ends.

    Silence is broken by `keep_alive`. `when_gone` is awaited if the client leaves before the end. While it
    is sent it is in `live`; `resumable` tells whether a client can go on elsewhere where this one stopped.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        live: MutableSet[ByteStream],
        headers: Mapping[str, str] | None = None,
        keep_alive: bytes = KEEP_ALIVE,
        resumable: bool = False,
        when_gone: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})})
        self._pieces = pieces
        self._live = live
        self._keep_alive = keep_alive
        self._resumable = resumable
        self._when_gone = when_gone
        self._task: asyncio.Task[None] | None = None
        self._interrupted: Literal["gone", "restart"] | None = None
        self._silent = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it. See ASGI."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        watch = loop.create_task(_until_gone(receive))
        watch.add_done_callback(lambda _: self._interrupt("gone"))
        timer = _Repeating(loop, lambda: self._break_silence(send))
        self._live.add(self)
        try:
            await self._write(send)
        except asyncio.CancelledError:
            if self._interrupted is None or self._task is None:
                raise
            self._task.uncancel()
        finally:
            self._live.discard(self)
            timer.cancel()
            self._task = None
            watch.cancel()
            await self._pieces.aclose()
        if self._interrupted == "restart":
            hint = int(random.random() * _RESTART_SECONDS * 1000)
            await send(_piece(b"retry: %d\n: restarting\n\n" % hint, more=False))
        elif self._interrupted == "gone" and self._when_gone is not None:
            await self._when_gone()

    def restart(self) -> None:
        """End it with a hint to come back, if a client can go on elsewhere."""
        if self._resumable:
            self._interrupt("restart")

    async def _write(self, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async with aclosing(self._pieces) as pieces:
            try:
                async for piece in pieces:
                    self._silent = False
                    await send(_piece(piece, more=True))
            except PalaverError as error:  # too late for a status: the client comes back and is told
                log.warning("stream_ended code=%s", error.code)
        await send(_piece(b"", more=False))

    def _interrupt(self, why: Literal["gone", "restart"]) -> None:
        if self._task is not None and self._interrupted is None:
            self._interrupted = why
            self._task.cancel()

    async def _break_silence(self, send: Send) -> None:
        # A piece that is being sent is whole, as this one is: their order does not matter.
        if self._silent and self._task is not None:
            await send(_piece(self._keep_alive, more=True))
        self._silent = True


class _Repeating:
    """Calls every `KEEP_ALIVE_SECONDS`, each time in a task that ends soon."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], Awaitable[None]]) -> None:
        self._loop = loop
        self._call = call
        self._task: asyncio.Task[None] | None = None
        self._timer = loop.call_later(KEEP_ALIVE_SECONDS, self._fire)

    def cancel(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _fire(self) -> None:
        if self._task is None or self._task.done():  # else the client takes nothing
            self._task = self._loop.create_task(self._run())
        self._timer = self._loop.call_later(KEEP_ALIVE_SECONDS, self._fire)

    async def _run(self) -> None:
        with suppress(RuntimeError):  # the response has ended meanwhile
            await self._call()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
