"""Live messages of many channels over one connection of the process.

What arrives here only wakes readers: after SUBSCRIBED, LOST or OVERRUN they read the log from their cursor.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any, Final, Self

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from palaver.shared.ledger.async_ledger import AsyncLedger

# A connection that says nothing for so long is asked with a PING, and given up when that goes unanswered too.
_IDLE_SECONDS: Final = 15.0
_BACKOFF_SECONDS: Final = (0.05, 1.0)
_CHANNELS_AT_ONCE: Final = 500
# Messages handed out before other tasks of the loop get their turn.
_BURST: Final = 200


class Signal(Enum):
    """What an inbox says besides messages."""

    SUBSCRIBED = "subscribed"  # from now on nothing is missed until LOST; comes again after every reconnect
    LOST = "lost"  # the connection was cut; SUBSCRIBED follows
    OVERRUN = "overrun"  # the inbox was full and was emptied


Notice = bytes | Signal


class Inbox:
    """What has arrived on one channel for one reader, in order and bounded."""

    def __init__(self, channel: str, limit: int) -> None:
        self.channel = channel
        self._limit = limit
        self._notices: list[Notice] = []
        self._arrived = asyncio.Event()

    async def receive(self, timeout: float | None = None) -> list[Notice]:  # noqa: ASYNC109 - silence is no error
        """What has arrived, as soon as there is something; empty after `timeout` seconds of silence."""
        if not self._notices:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
        taken, self._notices = self._notices, []
        self._arrived.clear()
        return taken

    def put(self, notice: Notice) -> None:
        """Add a notice; a reader that does not keep up loses all of them and is told so."""
        if len(self._notices) >= self._limit:
            self._notices = [Signal.OVERRUN]
        self._notices.append(notice)
        self._arrived.set()


class Subscriptions:
    """One pub/sub connection for all readers of an event loop. It connects when the first one listens.

    `limit` is how many notices an inbox holds. Failures of the connection are never raised: readers are told
    by notices, and it comes back by itself.
    """

    def __init__(self, ledger: AsyncLedger, *, limit: int = 10_000) -> None:
        self._ledger = ledger
        self._limit = limit
        self._inboxes: dict[bytes, set[Inbox]] = {}
        self._confirmed: set[bytes] = set()
        self._connection: AbstractConnection | None = None
        self._writing = asyncio.Lock()
        self._pump: asyncio.Task[None] | None = None
        self._closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. Inboxes get nothing any more."""
        if self._pump is not None:
            # Besides the cancel: a wait_for of Python 3.11 swallows one that comes together with a message.
            self._closing = True
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
            self._pump = None

    @contextlib.asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Inbox]:
        """An inbox for the channel. Its first notice is SUBSCRIBED, as soon as Redis has confirmed it."""
        name, inbox = channel.encode(), Inbox(channel, self._limit)
        await self._add(name, inbox)
        try:
            yield inbox
        finally:
            await self._remove(name, inbox)

    async def _add(self, name: bytes, inbox: Inbox) -> None:
        first = name not in self._inboxes
        self._inboxes.setdefault(name, set()).add(inbox)
        if self._pump is None or self._pump.done():
            self._closing = False
            self._pump = asyncio.create_task(self._run(), name="palaver-subscriptions")
        elif name in self._confirmed:
            inbox.put(Signal.SUBSCRIBED)
        elif first:
            await self._send("SUBSCRIBE", name)

    async def _remove(self, name: bytes, inbox: Inbox) -> None:
        readers = self._inboxes[name]
        readers.discard(inbox)
        if not readers:
            del self._inboxes[name]
            # At once: a reader that comes before the reply must wait for a confirmation of its own.
            self._confirmed.discard(name)
            await self._send("UNSUBSCRIBE", name)

    async def _send(self, *words: bytes | str) -> None:
        """Send if there is a connection; a new one begins with everything that is wanted then."""
        if self._connection is None:
            return
        with contextlib.suppress(RedisError, OSError):
            async with self._writing:
                await self._connection.send_command(*words, check_health=False)

    async def _run(self) -> None:
        lowest, highest = _BACKOFF_SECONDS
        delay = lowest
        while not self._closing:
            connection = self._ledger.listening_connection()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                delay = lowest
                await self._follow(connection)
            except (RedisError, OSError):
                self._tell(Signal.LOST)
            finally:
                self._connection = None
                self._confirmed.clear()
                await connection.disconnect()
            await asyncio.sleep(delay)
            delay = min(delay * 2, highest)

    async def _follow(self, connection: AbstractConnection) -> None:
        async with self._writing:
            self._connection = connection
            wanted = list(self._inboxes)
            for start in range(0, len(wanted), _CHANNELS_AT_ONCE):
                names = wanted[start : start + _CHANNELS_AT_ONCE]
                await connection.send_command("SUBSCRIBE", *names, check_health=False)
        read = 0
        while not self._closing:
            self._take(await self._next(connection))
            read += 1
            if read % _BURST == 0:
                await asyncio.sleep(0)

    async def _next(self, connection: AbstractConnection) -> Any:
        message = await self._read(connection, _IDLE_SECONDS)
        if message is None:
            await self._send("PING")
            message = await self._read(connection, _IDLE_SECONDS)
            if message is None:
                raise ConnectionError("no answer to a PING")
        return message

    async def _read(self, connection: AbstractConnection, seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await connection.read_response(
                    timeout=math.inf, disconnect_on_error=False, push_request=True
                )
        except TimeoutError:
            return None

    def _take(self, message: Any) -> None:
        # A PING is answered by a word before the first subscription, by a list after it.
        kind = message[0] if isinstance(message, list) else b"pong"
        if kind == b"message":
            for inbox in self._inboxes.get(message[1], ()):
                inbox.put(message[2])
        elif kind == b"subscribe" and message[1] in self._inboxes:
            self._confirmed.add(message[1])
            for inbox in self._inboxes[message[1]]:
                inbox.put(Signal.SUBSCRIBED)

    def _tell(self, signal: Signal) -> None:
        for inboxes in self._inboxes.values():
            for inbox in inboxes:
                inbox.put(signal)
