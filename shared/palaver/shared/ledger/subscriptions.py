"""Live messages of many channels over one connection of the process.

What arrives here only wakes readers: after SUBSCRIBED, LOST or OVERRUN they read the log from their cursor.
The connection is a raw one: what Redis sends is in the inboxes in the turn of the loop in which it was read.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from enum import Enum
from typing import Any, Final, Self, cast

import hiredis

from palaver.shared import ending_tasks
from palaver.shared.redis_address import Address
from palaver.shared.settings import Settings

# A connection that says nothing for so long is asked with a PING, and given up when that goes unanswered too.
_IDLE_SECONDS: Final = 15.0
_BACKOFF_SECONDS: Final = (0.05, 1.0)
_CHANNELS_AT_ONCE: Final = 500
_LIMIT: Final = 10_000


class Signal(Enum):
    """What an inbox says besides messages."""

    SUBSCRIBED = "subscribed"  # from now on nothing is missed until LOST; comes again after every reconnect
    LOST = "lost"  # the connection was cut; SUBSCRIBED follows
    OVERRUN = "overrun"  # the inbox was full and was emptied
    MISSED = "missed"  # somebody who looked found more than was told here, or less


Notice = bytes | Signal


class Inbox:
    """What has arrived on one channel for one reader, in order and bounded."""

    def __init__(self, channel: str, limit: int) -> None:
        self.channel = channel
        self._limit = limit
        self._notices: list[Notice] = []
        self._waiter: asyncio.Future[None] | None = None
        self._patient_until = 0.0  # by the loop's clock
        self._timer: asyncio.Handle | None = None
        self._rings = math.inf  # when the timer does: uvloop's cannot say it, if that is at once

    async def receive(self, timeout: float | None = None) -> list[Notice]:  # noqa: ASYNC109 - silence is no error
        """What has arrived, as soon as there is something; empty after `timeout` seconds of silence."""
        if not self._notices:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            self._be_patient_until(math.inf if timeout is None else loop.time() + timeout, loop)
            try:
                await self._waiter
            finally:
                self._waiter = None
        taken, self._notices = self._notices, []
        return taken

    def put(self, notice: Notice) -> None:
        """Add a notice; a reader that does not keep up loses all of them and is told so."""
        if len(self._notices) >= self._limit:
            self._notices = [Signal.OVERRUN]
        self._notices.append(notice)
        self._wake()

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _be_patient_until(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        # Messages come far more often than silence: the timer stays, and finds out later that it has time.
        self._patient_until = when
        if when < self._rings:
            self.close()
            self._timer, self._rings = loop.call_at(when, self._silent, loop), when

    def _silent(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._rings = None, math.inf
        if loop.time() >= self._patient_until:
            self._wake()
        elif self._waiter is not None:
            self._be_patient_until(self._patient_until, loop)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Ear(asyncio.Protocol):
    """One connection that listens: each message goes to `take`; `closed` is set when it ends."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard = 0  # reads so far
        self.refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self.heard += 1
        try:
            self._reader.feed(data)
            while (message := self._reader.gets()) is not False:
                if isinstance(message, hiredis.ReplyError):  # it does not let us in, or is not ready
                    raise message
                self._take(message)
        except hiredis.HiredisError:
            self.refused = True
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None  # uvloop's raises where one writes to it now
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, *words: str | bytes) -> None:
        """Write one command; its replies come as messages."""
        if self._transport is not None:
            self._transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Subscriptions:
    """One pub/sub connection for all readers of an event loop. It connects when the first one listens.

    Failures of the connection are never raised: readers are told by notices, and it comes back by itself.
    """

    def __init__(self, settings: Settings) -> None:
        self._address = Address.parse(settings.redis_url, name="palaver-reader")
        self._connect_seconds = settings.connect_seconds
        self._inboxes: dict[bytes, set[Inbox]] = {}
        self._confirmed: set[bytes] = set()
        self._ear: _Ear | None = None
        self._run_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. Inboxes get nothing any more."""
        task, self._run_task = self._run_task, None
        if task is not None:
            await ending_tasks.end([task])

    @contextlib.asynccontextmanager
    async def listen(self, channel: str, limit: int | None = None) -> AsyncIterator[Inbox]:
        """An inbox for the channel, which holds at most `limit` notices (None: 10,000).

        Its first notice is SUBSCRIBED, as soon as Redis has confirmed it.
        """
        name, inbox = channel.encode(), Inbox(channel, limit or _LIMIT)
        self._add(name, inbox)
        try:
            yield inbox
        finally:
            inbox.close()
            self._remove(name, inbox)

    def _add(self, name: bytes, inbox: Inbox) -> None:
        first = name not in self._inboxes
        self._inboxes.setdefault(name, set()).add(inbox)
        if self._run_task is None or self._run_task.done():
            self._run_task = asyncio.create_task(self._run(), name="palaver-subscriptions")
        elif name in self._confirmed:
            inbox.put(Signal.SUBSCRIBED)
        elif first and self._ear is not None:  # a new connection begins with everything that is wanted then
            self._ear.send("SUBSCRIBE", name)

    def _remove(self, name: bytes, inbox: Inbox) -> None:
        readers = self._inboxes[name]
        readers.discard(inbox)
        if not readers:
            del self._inboxes[name]
            # At once: a reader that comes before the reply must wait for a confirmation of its own.
            self._confirmed.discard(name)
            if self._ear is not None:
                self._ear.send("UNSUBSCRIBE", name)

    async def _run(self) -> None:
        lowest, highest = _BACKOFF_SECONDS
        delay = lowest
        while True:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(self._connect_seconds):
                    ear = await self._address.connect(lambda: _Ear(self._take), seconds=self._connect_seconds)
                try:
                    await self._follow(ear)
                finally:
                    self._ear = None
                    self._confirmed.clear()
                    ear.close()
                delay = delay if ear.refused else lowest
            self._tell(Signal.LOST)
            await asyncio.sleep(delay)
            delay = min(delay * 2, highest)

    async def _follow(self, ear: _Ear) -> None:
        """Listen until the connection ends, or is silent although it was asked."""
        for words in self._address.greeting:
            ear.send(*words)
        wanted = list(self._inboxes)
        for start in range(0, len(wanted), _CHANNELS_AT_ONCE):
            ear.send("SUBSCRIBE", *wanted[start : start + _CHANNELS_AT_ONCE])
        self._ear = ear
        asked = False
        while not ear.closed.done():
            before = ear.heard
            await asyncio.wait([ear.closed], timeout=_IDLE_SECONDS)
            silent = ear.heard == before
            if silent and asked:
                return
            asked = silent
            if silent:
                ear.send("PING")

    def _take(self, message: Any) -> None:
        # Greetings, and a PING before the first subscription, are answered by words.
        if not isinstance(message, list):
            return
        kind, channel = message[0], message[1]
        if kind == b"message":
            for inbox in self._inboxes.get(channel, ()):
                inbox.put(message[2])
        elif kind == b"subscribe" and channel in self._inboxes:
            self._confirmed.add(channel)
            for inbox in self._inboxes[channel]:
                inbox.put(Signal.SUBSCRIBED)

    def _tell(self, signal: Signal) -> None:
        for inboxes in self._inboxes.values():
            for inbox in inboxes:
                inbox.put(signal)
