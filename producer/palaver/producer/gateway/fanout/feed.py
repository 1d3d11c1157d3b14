"""One reader a session, for all clients of this process that follow it.

A feed keeps the session's last events, encoded, in a ring. A client has a place in it and takes what is
behind that place whenever it can; one that falls out of the ring, or comes with an older cursor, reads the
log by itself until it is there again. So a slow client costs only itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final, NamedTuple

from palaver.producer.async_client import AsyncClient
from palaver.producer.cursor import Entry
from palaver.producer.gateway.fanout.frames import HELLO, Frame, encode
from palaver.producer.reader import Reader
from palaver.shared.errors import PalaverError

RING_FRAMES: Final = 256
RING_BYTES: Final = 256 * 1024
_CATCH_UP_PAGE: Final = 200
"""Events of the log in memory at a time, for a client that catches up."""
_LARGEST_PIECE: Final = 64 * 1024
"""Bytes that are handed to a client's connection at once."""


class Piece(NamedTuple):
    """Some events, the seq of the last one, and the place behind it."""

    data: bytes
    seq: int
    place: int


class Feed:
    """The live events of one session. `place`s are absolute: they count all frames there ever were."""

    def __init__(self, client: AsyncClient, session_id: str) -> None:
        self.session_id = session_id
        self.followers = 0
        self._client = client
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._end = 0  # the place behind the last frame
        self._dense_from = 0  # behind this place each frame is the next one of the log
        self._seq = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._error: PalaverError | None = None
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

    def place_behind(self, seq: int) -> int | None:
        """Where a client goes on that has everything up to `seq`; None if that is not in the ring."""
        place = self._end - (self._seq - seq)
        first = max(self._end - len(self._frames), self._dense_from)
        return place if first <= place <= self._end else None

    def taken(self, place: int) -> Piece | None:
        """What is behind a place, as much as fits into one piece; None once it is not in the ring any more.

        Raises the error that ended the feed.
        """
        missing = self._end - place
        if missing > len(self._frames):
            return None
        if missing == 1:
            return Piece(self._frames[-1].data, self._seq, self._end)
        if missing == 0 and self._error is not None:
            raise self._error
        return self._joined(place, missing)

    def news(self) -> asyncio.Future[None]:
        """Done when there is another frame, or when there will be none."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    def _joined(self, place: int, missing: int) -> Piece:
        pieces, size, seq = list[bytes](), 0, 0
        for number in range(len(self._frames) - missing, len(self._frames)):
            seq, _, data = self._frames[number]
            pieces.append(data)
            size += len(data)
            if size >= _LARGEST_PIECE:
                break
        return Piece(b"".join(pieces), seq, place + len(pieces))

    async def _start(self) -> None:
        reader = await self._client.reading.live_reader(self.session_id)
        self._seq = reader.seq
        self._task = asyncio.create_task(self._run(reader), name=f"palaver-feed-{self.session_id}")

    async def _run(self, reader: Reader) -> None:
        async with aclosing(reader):
            try:
                while (entries := await reader.entries()) is not None:
                    self._take(entries)
            except PalaverError as error:
                self._error = error
        self._tell()

    def _take(self, entries: list[Entry]) -> None:
        for entry in entries:
            frame = Frame(entry.seq, not entry.made and entry.seq == self._seq + 1, encode(entry))
            self._frames.append(frame)
            self._bytes += len(frame.data)
            self._end += 1
            self._seq = entry.seq
            if not frame.follows:
                self._dense_from = self._end
        while len(self._frames) > RING_FRAMES or (self._bytes > RING_BYTES and len(self._frames) > 1):
            self._bytes -= len(self._frames.popleft().data)
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
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

    async def follow(self, session_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """A session's events with a seq above `after`, encoded, live and without end.

        Raises LedgerUnavailableError.
        """
        yield HELLO
        async with self._joined(session_id) as feed:
            while True:
                if (place := feed.place_behind(after)) is None:
                    async with aclosing(self._of_log(feed, after)) as old:
                        async for data, seq in old:
                            after = seq
                            yield data
                    place = feed.place_behind(after)
                while place is not None and (piece := feed.taken(place)) is not None:
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
        for feed in list(self._feeds.values()):
            await feed.stop()

    async def _of_log(self, feed: Feed, after: int) -> AsyncGenerator[tuple[bytes, int], None]:
        """What comes after a cursor, and the cursor behind it, until the ring has the rest."""
        reader = self._client.reading.reader(feed.session_id, after, room=_CATCH_UP_PAGE)
        async with aclosing(reader):
            while (entries := await reader.entries()) is not None:
                yield b"".join(map(encode, entries)), reader.seq
                if feed.place_behind(reader.seq) is not None:
                    return

    @asynccontextmanager
    async def _joined(self, session_id: str) -> AsyncIterator[Feed]:
        feed = self._feeds.setdefault(session_id, Feed(self._client, session_id))
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
