"""The readers of one turn, and what stands between each of them and the job."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final, TypeAlias

from palaver.producer.handles import AsyncJobHandle
from palaver.shared.accumulator import Accumulator
from palaver.shared.errors import WrongStateError
from palaver.shared.events import AnyEvent, Content, ContentData

log = logging.getLogger("palaver.producer")

Piece: TypeAlias = str | ContentData
"""A piece of a response: text, or an object and what it is."""

Callback: TypeAlias = Callable[[Piece], Awaitable[None]]

RESET: Final = ContentData(content_type="reset")
"""The answer begins anew: the text before it no longer holds."""


class Lane:
    """Pieces in order of arrival, for one reader. At most `size` pieces of the job wait in it."""

    def __init__(self, size: int) -> None:
        self._queue: asyncio.Queue[tuple[Piece | None, bool]] = asyncio.Queue()
        self._room = asyncio.Semaphore(size)

    async def put(self, piece: Piece) -> None:
        """Add a piece of the job, as soon as there is room."""
        await self._room.acquire()
        self._queue.put_nowait((piece, True))

    def slip_in(self, piece: Piece) -> None:
        """Add a piece at once: one that this program has made itself and holds anyway."""
        self._queue.put_nowait((piece, False))

    def end(self) -> None:
        """Nothing follows."""
        self._queue.put_nowait((None, False))

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while True:
            piece, counted = await self._queue.get()
            if piece is None:
                return
            if counted:
                self._room.release()
            yield piece


class Outlet:
    """The pieces of a turn, for any number of readers, each of which gets all of them.

    A reader that does not keep up leaves at most `size` pieces and `room` events in memory; then it reads
    from the log what it missed. Pieces of this program come when they are said, and before all others to a
    reader that comes later.
    """

    def __init__(self, *, size: int, room: int) -> None:
        self.last_call = datetime.now(UTC)  # of anything that happened here
        self._size, self._room = size, room
        self._own: list[Piece] = []
        self._lanes: set[Lane] = set()
        self._handle: AsyncJobHandle | None = None
        self._opened, self._closed = asyncio.Event(), asyncio.Event()
        self._error: BaseException | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing follows."""
        return self._closed.is_set()

    def open(self, handle: AsyncJobHandle) -> None:
        """Here is the job."""
        self.touch()
        self._handle = handle
        self._opened.set()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing follows but, for every reader, this error."""
        self.touch()
        self._error = error
        self._opened.set()
        self._closed.set()

    async def accepted(self) -> None:
        """Wait for the job to be stored, or to be refused: then this raises why."""
        await self._opened.wait()
        if self._handle is None:
            await self.end()

    async def end(self) -> None:
        """Wait for the end; raises its error."""
        await self._closed.wait()
        if self._error is not None:
            raise self._error

    def say(self, piece: Piece) -> None:
        """Give a piece to all readers. Raises WrongStateError after the end, ValidationError for no piece."""
        if self.closed:
            raise WrongStateError("Queue is closed: the response has ended")
        checked = piece if isinstance(piece, str) else ContentData.validated(piece, at="response")
        self.touch()
        self._own.append(checked)
        for lane in self._lanes:
            lane.slip_in(checked)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """All pieces for one reader; raises the error of the end after the last."""
        lane = Lane(self._size)
        for piece in self._own:
            lane.slip_in(piece)
        self._lanes.add(lane)
        pump = asyncio.create_task(self._pump(lane))
        try:
            async for piece in lane:
                yield piece
            await pump  # for its error
        finally:
            self._lanes.discard(lane)
            pump.cancel()

    async def deliver(self, callback: Callback, *, job_id: str) -> None:
        """Give all pieces to a function, one after the other; what it raises is told in the log."""
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                try:
                    waits = callback(piece)
                    if inspect.isawaitable(waits):
                        await waits
                except Exception as error:  # noqa: BLE001 - it is not our code, and the turn goes on
                    log.warning("callback_failed job=%s error=%s", job_id, type(error).__name__)

    def touch(self) -> None:
        """Something happens."""
        self.last_call = max(self.last_call, datetime.now(UTC))

    async def _pump(self, lane: Lane) -> None:
        try:
            await self._opened.wait()
            if self._handle is not None:
                state = Accumulator(self._handle.job_id)
                async with aclosing(self._handle.events(room=self._room)) as events:
                    async for event in events:
                        self.touch()
                        for piece in _pieces_of(state, event):
                            await lane.put(piece)
            await self.end()
        finally:
            lane.end()


def _pieces_of(state: Accumulator, event: AnyEvent) -> Iterator[Piece]:
    """What an event adds to a response: text of the answer, and objects; no thoughts."""
    for chunk in state.feed(event):
        if chunk.reset:
            yield RESET
        if chunk.kind == "text" and chunk.delta:
            yield chunk.delta
    if isinstance(event, Content):
        yield event.data
