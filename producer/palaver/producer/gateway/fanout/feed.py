"""One reader a session, for all clients of this process that follow it.

A feed keeps the session's last events, encoded, in a ring. A client has a place in it and takes what is
behind that place whenever it can; one that falls out of the ring, or comes with an older cursor, reads the
log by itself until it is there again. So a slow client costs only itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from palaver.producer.async_client import AsyncClient
from palaver.producer.gateway.fanout.frames import HELLO, encode
from palaver.producer.gateway.fanout.ring import Ring
from palaver.producer.reader import Reader
from palaver.shared.errors import StreamInterruptedError

_CATCH_UP_PAGE: Final = 200
"""Events of the log in memory at a time, for a client that catches up."""


class Feed:
    """The live events of one session, once it has `started`."""

    def __init__(self, client: AsyncClient, session_id: str) -> None:
        self.session_id = session_id
        self.followers = 0
        self.ring = Ring(0)
        self._client = client
        self._waiting: set[asyncio.Future[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def started(self) -> None:
        """Return when it reads; the first who asks has it begin. Raises LedgerUnavailableError."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def stop(self) -> None:
        """Stop reading."""
        tasks = [task for task in (self._starting, self._task) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self.followers == 0:  # a task that was cancelled has its frame, and that this feed
            self._starting = self._task = None

    @property
    def is_over(self) -> bool:
        """Whether it reads no more."""
        return self._task is not None and self._task.done()

    async def news(self) -> None:
        """Return when there is more. Raises what ended the feed."""
        if self._task is not None and self._task.done():
            self._task.result()
            raise StreamInterruptedError("The session's reader has stopped.")
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    async def _start(self) -> None:
        reader = await self._client.reading.live_reader(self.session_id)
        self.ring = Ring(reader.seq)
        self._task = asyncio.create_task(self._run(reader), name=f"palaver-feed-{self.session_id}")
        self._task.add_done_callback(lambda _: self._wake())

    async def _run(self, reader: Reader) -> None:
        async with aclosing(reader):
            while (entries := await reader.entries()) is not None:
                self.ring.add(entries)
                self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class Feeds:
    """The feeds of a process: each is there while somebody follows it."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._feeds: dict[str, Feed] = {}

    def __len__(self) -> int:
        return len(self._feeds)

    def __iter__(self) -> Iterator[Feed]:
        return iter(list(self._feeds.values()))

    async def follow(self, session_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """A session's events with a seq above `after`, encoded, live and without end.

        Raises LedgerUnavailableError.
        """
        yield HELLO
        async with self._joined(session_id) as feed:
            while True:
                if (place := feed.ring.place_behind(after)) is None:
                    async with aclosing(self._of_log(feed, after)) as old:
                        async for data, seq in old:
                            after = seq
                            yield data
                    place = feed.ring.place_behind(after)
                while place is not None and (piece := feed.ring.behind(place)) is not None:
                    if piece.data:
                        _, after, place = piece
                        yield piece.data
                    else:
                        await feed.news()

    async def follow_job(self, session_id: str, job_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """The events of one job, until its end."""
        yield HELLO
        reader = self._client.reading.reader(session_id, after, job_id, room=_CATCH_UP_PAGE)
        async with aclosing(reader):
            while (entries := await reader.entries()) is not None:
                yield b"".join(map(encode, entries))

    async def aclose(self) -> None:
        """Stop all."""
        for feed in self:
            await feed.stop()

    async def _of_log(self, feed: Feed, after: int) -> AsyncGenerator[tuple[bytes, int], None]:
        """What comes after a cursor, and the cursor behind it, until the ring has the rest."""
        reader = self._client.reading.reader(feed.session_id, after, room=_CATCH_UP_PAGE)
        async with aclosing(reader):
            while (entries := await reader.entries()) is not None:
                yield b"".join(map(encode, entries)), reader.seq
                await asyncio.sleep(0)  # the feed, told of the same event, may come behind this reader
                if feed.ring.place_behind(reader.seq) is not None:
                    return

    @asynccontextmanager
    async def _joined(self, session_id: str) -> AsyncIterator[Feed]:
        feed = self._feeds.get(session_id)
        if feed is None or feed.is_over:  # those who are still told why leave it
            feed = self._feeds[session_id] = Feed(self._client, session_id)
        feed.followers += 1
        try:
            await feed.started()
            yield feed
        finally:
            feed.followers -= 1
            if feed.followers == 0:
                if self._feeds.get(session_id) is feed:
                    del self._feeds[session_id]
                await feed.stop()
