"""What runs in this process now, and how it is ended from outside."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from palaver.shared.errors import PalaverError
from palaver.workers.stop import Stop

__all__ = ["Running"]


class Running:
    """The jobs and batches that this process works on, at most `slots` at once. Belongs to the loop of the
    streams.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.draining = False  # no more are begun
        self._stops: dict[Stop, str] = {}  # to the id of what it stops
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._stops)

    def work(self, id_: str) -> Working:
        """For `with`: what has this id runs in the block, and its `Stop` ends it."""
        return Working(self, id_)

    def stop(self, id_: str, reason: PalaverError) -> bool:
        """End what has this id; False if it does not run here."""
        stops = [stop for stop, running in self._stops.items() if running == id_]
        for stop in stops:
            stop(reason)
        return bool(stops)

    def stop_all(self, reason: PalaverError) -> None:
        """End everything."""
        for stop in list(self._stops):
            stop(reason)

    async def idle(self, seconds: float) -> bool:
        """Whether nothing runs any more; waited for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()

    def begin(self, stop: Stop, id_: str) -> None:
        """Something of this id runs from now on."""
        self._stops[stop] = id_
        self._idle.clear()

    def end(self, stop: Stop) -> None:
        """It does not run any more."""
        del self._stops[stop]
        if not self._stops:
            self._idle.set()


class Working:
    """One thing that runs, for as long as its block goes on."""

    __slots__ = ("_id", "_running", "_stop")

    def __init__(self, running: Running, id_: str) -> None:
        self._running = running
        self._id = id_
        self._stop = Stop()

    def __enter__(self) -> Stop:
        self._running.begin(self._stop, self._id)
        return self._stop

    def __exit__(self, *error: object) -> None:
        self._running.end(self._stop)
