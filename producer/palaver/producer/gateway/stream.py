"""Responses that are written piece by piece, straight to the server: nothing is encoded for one reader."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final, Literal

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from palaver.shared.errors import PalaverError, UnauthorizedError

if TYPE_CHECKING:  # who asks knows what all requests share, and that knows the streams
    from palaver.producer.gateway.access.caller import Caller

log = logging.getLogger("palaver.gateway")

CUT: Final = "palaver.cut"
"""In the extensions of a request's scope: `now` closes its connection, without an end of the answer."""
KEEP_ALIVE_SECONDS: Final = 15.0
"""The longest silence: it is noticed in one half of this time, and broken in the next."""
KEEP_ALIVE: Final = b": keep-alive\n\n"
_SPOKES: Final = 60
"""So many pieces is the work for all streams cut into: the loop is held up by one of them at most."""
_RESTART_SECONDS: Final = 2.0
"""All readers of a process that stops come back within this time, not at once."""

Interruption = Literal["gone", "restart", "over"]
"""The client left, the process stops, the client may read no more."""
Ending = Literal["whole", "broken"] | Interruption


class ByteStream(Response):
    """A stream of server-sent events of one session, or another `media_type` of none. `pieces` are whole
    events, and are closed when it ends.

    Silence is broken by `keep_alive`. `when_gone` is awaited if the client leaves before the end. While it
    is sent it is in `live`; `resumable` tells whether a client can go on elsewhere where this one stopped.
    One that is not, and breaks, ends without the end of its answer, so that nobody takes it for whole; with
    `last_words`, what its API says of an error, also where its reader may read no more.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        live: Streams,
        caller: Caller,
        session_id: str | None = None,
        media_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
        keep_alive: bytes = KEEP_ALIVE,
        resumable: bool = False,
        when_gone: Callable[[], Awaitable[object]] | None = None,
        last_words: Callable[[PalaverError], bytes] | None = None,
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})})
        self.caller = caller
        self.session_id = session_id
        self._pieces = pieces
        self._live = live
        self._keep_alive = keep_alive
        self._resumable = resumable
        self._when_gone = when_gone
        self._last_words = last_words
        self._error: PalaverError | None = None
        self._task: asyncio.Task[object] | None = None
        self._interrupted: Interruption | None = None
        self._silent = True
        self._send: Send | None = None
        self._breaking: asyncio.Task[None] | None = None  # unless the client takes nothing, it is done soon

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write it. See ASGI."""
        async with aclosing(self._pieces):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            draining = self._resumable and self._live.draining
            ending = "restart" if draining else await self._until_over(receive, send)
        if ending == "gone":
            if self._when_gone is not None:
                await self._when_gone()
        elif ending == "restart":
            hint = int(random.random() * _RESTART_SECONDS * 1000)  # noqa: S311 - jitter
            await send(_piece(b"retry: %d\n: restarting\n\n" % hint, more=False))
        elif self._error is not None and self._last_words is not None:
            await send(_piece(self._last_words(self._error), more=False))
        elif ending == "whole" or self._resumable:
            await send(_piece(b"", more=False))
        else:  # an answer that has no end
            log.info("stream_cut why=%s", ending)
            if (cut := scope.get("extensions", {}).get(CUT)) is not None:
                cut["now"]()

    def restart(self) -> None:
        """End it with a hint to come back, if a client can go on elsewhere."""
        if self._resumable:
            self._interrupt("restart")

    def end(self, error: PalaverError) -> None:
        """End it: who reads it may do so no more. He is told why, now or when he comes back."""
        if self._interrupt("over"):
            self._error = error

    def break_silence(self) -> None:
        """Tell the client something, if it was told nothing since this was called last."""
        was_silent, self._silent = self._silent, not self._silent
        if was_silent and self._send is not None and (self._breaking is None or self._breaking.done()):
            self._breaking = asyncio.create_task(self._say_something(self._send))

    async def _until_over(self, receive: Receive, send: Send) -> Ending:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        watch = loop.create_task(_until_gone(receive))
        watch.add_done_callback(lambda _: self._interrupt("gone"))
        self._send = send
        ending = self._end_in_time(loop)
        self._live.join(self)
        try:
            return await self._write(send)
        except asyncio.CancelledError:
            if self._interrupted is None or self._task is None:
                raise
            self._task.uncancel()
            return self._interrupted
        finally:
            self._live.leave(self)
            for waiting in (ending, self._breaking, watch):
                if waiting is not None:
                    waiting.cancel()
            self._task = None

    def _end_in_time(self, loop: asyncio.AbstractEventLoop) -> asyncio.TimerHandle | None:
        if self.caller.expires is None:
            return None
        left = max(0.0, self.caller.expires - time.time())
        return loop.call_later(left, self.end, UnauthorizedError())

    async def _write(self, send: Send) -> Ending:
        try:
            async for piece in self._pieces:
                self._silent = False
                await send(_piece(piece, more=True))
        except PalaverError as error:  # too late for a status: who comes back is told
            log.warning("stream_ended code=%s", error.code)
            return "broken"
        return "whole"

    def _interrupt(self, why: Interruption) -> bool:
        """Whether this is what ends it."""
        if self._task is None or self._interrupted is not None:
            return False
        self._interrupted = why
        return self._task.cancel()

    async def _say_something(self, send: Send) -> None:
        with suppress(RuntimeError):  # the response has ended meanwhile
            # A piece that is being sent is whole, as this one is: their order does not matter.
            await send(_piece(self._keep_alive, more=True))


class Streams:
    """The streams that a process is writing. Once it is `draining`, readers are told to come back, to another
    process most likely. When it is `over`, there is no time left for any answer.
    """

    def __init__(self) -> None:
        self.draining = False
        self.over = asyncio.Event()
        self._live: dict[ByteStream, int] = {}  # and on which spoke
        self._spokes: list[set[ByteStream]] = [set() for _ in range(_SPOKES)]
        self._turned = 0

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[ByteStream]:
        return iter(list(self._live))

    def join(self, stream: ByteStream) -> None:
        """It begins."""
        self._live[stream] = spoke = self._turned % _SPOKES
        self._spokes[spoke].add(stream)

    def leave(self, stream: ByteStream) -> None:
        """It has ended."""
        if (spoke := self._live.pop(stream, None)) is not None:
            self._spokes[spoke].discard(stream)

    def drain(self) -> None:
        """End those that can go on elsewhere."""
        self.draining = True
        for stream in self:
            stream.restart()

    def end(self, error: PalaverError) -> None:
        """It is over for all of them."""
        self.over.set()
        for stream in self:
            stream.end(error)

    async def keep_alive(self) -> None:
        """Break silences, for ever. One wheel for all: at each turn those that began at one of its spokes."""
        while True:
            await asyncio.sleep(KEEP_ALIVE_SECONDS / 2 / _SPOKES)
            self._turned += 1
            for stream in self._spokes[self._turned % _SPOKES]:
                stream.break_silence()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
