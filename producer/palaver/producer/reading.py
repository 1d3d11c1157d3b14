"""Readers as clients use them: on a program's own event loop, or on the background one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import aclosing, closing, suppress
from functools import partial
from typing import Any

from palaver.producer.background import Background, background
from palaver.producer.hub import Hub
from palaver.producer.outcome import response_of, wait_ended
from palaver.producer.reader import Reader, Send
from palaver.shared.accumulator import Accumulator
from palaver.shared.beside import beside
from palaver.shared.events import AnyEvent
from palaver.shared.ledger import Dispatch, JobView
from palaver.shared.ledger.operations import probe_answer
from palaver.shared.responses import ChatResponse, StreamChunk
from palaver.shared.settings import Settings

SendNow = Callable[[Iterable[Dispatch]], None]


class Reading:
    """Everything that reads, on one event loop."""

    def __init__(self, hub: Hub, send: Send) -> None:
        self.hub = hub
        self._send = send

    def reader(
        self, session_id: str, after: int, job_id: str | None = None, *, room: int | None = None
    ) -> Reader:
        """A new consumer; to be closed."""
        return self._reader(session_id, after, job_id=job_id, room=room)

    async def live_reader(self, session_id: str) -> Reader:
        """A new consumer of what comes from now on, also of the jobs that have begun; to be closed."""
        now = await self.hub.ledger.snapshot(session_id, after=0)
        return self._reader(session_id, now.seq, open_jobs=now.jobs)

    def _reader(self, session_id: str, after: int, **options: Any) -> Reader:
        hub = self.hub
        reader = Reader(
            hub.ledger, hub.subscriptions, hub.idle, session_id, after, send=self._send, **options
        )
        hub.readers.add(reader)
        return reader

    async def events(
        self, session_id: str, after: int, job_id: str | None = None, *, room: int | None = None
    ) -> AsyncGenerator[AnyEvent, None]:
        """The events one by one."""
        async with aclosing(self.reader(session_id, after, job_id, room=room)) as reader:
            while (batch := await reader.batch()) is not None:
                for event in batch:
                    yield event

    async def chunks(
        self, job_id: str, events: AsyncGenerator[AnyEvent, None], state: Accumulator | None
    ) -> AsyncGenerator[StreamChunk, None]:
        """A job's events as the chunks of its answer; raises the job's error after the last one.

        `state` is what they add up to.
        """
        state = state or Accumulator(job_id)
        async with aclosing(events):
            async for event in events:
                for chunk in state.feed(event):
                    yield chunk
        raise_error(state)

    async def view(self, job_id: str, session_id: str | None = None, *, document: bool = False) -> JobView:
        """The job as it is now, see `Client.view`."""
        seen = await self.hub.ledger.inspect(job_id, session_id, document=document)
        if seen.dispatch is not None:
            await self._send([seen.dispatch])
        return seen.view

    async def result(
        self,
        session_id: str,
        job_id: str,
        cursor: int,
        timeout: float | None,  # noqa: ASYNC109 -- as in the blocking client
    ) -> ChatResponse:
        """Wait for a job's end; see `JobHandle.result`."""
        view = await self.view(job_id, session_id)
        if not view.status.ended:
            try:
                async with (
                    asyncio.timeout(timeout),
                    aclosing(self.reader(session_id, cursor, job_id)) as reader,
                ):
                    await reader.end()
            except TimeoutError:
                raise wait_ended(job_id, timeout or 0) from None
            view = await self.hub.ledger.job(job_id, session_id)
        return await beside(partial(response_of, view), view.response_json or b"")

    async def answer(self, probe_id: str, seconds: float) -> bytes | None:
        """What a worker answers to a probe; None if none does in time."""
        keys = self.hub.ledger.keys
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self.hub.subscriptions.listen(keys.probe(probe_id)) as inbox:
                while await inbox.receive():
                    if (answer := await self.hub.ledger.query(probe_answer(keys, probe_id))) is not None:
                        return answer
        return None


class BlockingReading:
    """Readers of a program without an event loop: they run on the background loop of the process.

    `send` is called on a thread of that loop's.
    """

    def __init__(self, settings: Settings, send: SendNow) -> None:
        self._settings = settings
        self._send = send

    def events(
        self, session_id: str, after: int, job_id: str | None = None, *, room: int | None = None
    ) -> Generator[AnyEvent, None, None]:
        """The events one by one. In a forked child it goes on, on the child's own connections."""
        while True:
            loop = background()
            feed = _Feed(self, loop, (session_id, after, job_id), room)
            try:
                while loop.pid == os.getpid():
                    batch = loop.run(feed.batch())
                    if batch is None:
                        return
                    for event in batch:
                        yield event
                        after = event.seq
            finally:
                loop.spawn(feed.aclose())

    def chunks(
        self, job_id: str, events: Generator[AnyEvent, None, None], state: Accumulator | None
    ) -> Generator[StreamChunk, None, None]:
        """A job's events as the chunks of its answer; see `JobHandle.chunks`."""
        state = state or Accumulator(job_id)
        with closing(events):
            for event in events:
                yield from state.feed(event)
        raise_error(state)

    def result(self, session_id: str, job_id: str, cursor: int, timeout: float | None) -> ChatResponse:
        """Wait for a job's end; see `JobHandle.result`."""
        loop = background()

        async def wait() -> ChatResponse:
            return await (await self.on(loop)).result(session_id, job_id, cursor, timeout)

        return loop.run(wait())

    def answer(self, probe_id: str, seconds: float) -> bytes | None:
        """What a worker answers to a probe; None if none does in time."""
        loop = background()

        async def wait() -> bytes | None:
            return await (await self.on(loop)).answer(probe_id, seconds)

        return loop.run(wait())

    async def on(self, loop: Background) -> Reading:
        """The reading on this loop, which runs this."""

        async def send(dispatches: Iterable[Dispatch]) -> None:
            await asyncio.to_thread(self._send, dispatches)

        return Reading(Hub.kept(loop, self._settings), send)


class _Feed:
    """A reader that is used from another thread: steps and the end wait for each other."""

    def __init__(
        self,
        reading: BlockingReading,
        loop: Background,
        what: tuple[str, int, str | None],
        room: int | None,
    ) -> None:
        self._reading = reading
        self._loop = loop
        self._what = what
        self._room = room
        self._reader: Reader | None = None
        self._busy = asyncio.Lock()

    async def batch(self) -> list[AnyEvent] | None:
        async with self._busy:
            if self._reader is None:
                self._reader = (await self._reading.on(self._loop)).reader(*self._what, room=self._room)
            return await self._reader.batch()

    async def aclose(self) -> None:
        async with self._busy:
            if self._reader is not None:
                await self._reader.aclose()


def raise_error(state: Accumulator) -> None:
    """Raise the error of a job that ended otherwise than completed, with what there is of its answer."""
    error = state.error
    if error is not None:
        error.job_id = error.job_id or state.job_id
        error.response = state.response
        raise error
