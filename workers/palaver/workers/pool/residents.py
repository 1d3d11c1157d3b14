"""What lives on the pool's loop for as long as the pool does."""

import asyncio
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Final, Protocol

from palaver.workers.event_log import event_logger
from palaver.workers.loop import LoopThread

__all__ = ["Resident", "Residents"]

logger = event_logger("palaver.workers.pool")

HAND_OVER_SECONDS: Final = 6.0
LEAVE_SECONDS: Final = 9.0
"""For all residents, the second for both steps: a little less than the process has, see `Leaving`."""


class Resident(Protocol):
    """Something that lives on the pool's loop for as long as the pool."""

    async def start(self) -> None:
        """Before the first task."""

    async def serve(self) -> None:
        """Once the worker consumes messages."""

    def leaving(self) -> None:
        """On the loop: the worker was told to leave, what runs has its time to end. May be called again."""

    async def hand_over(self) -> None:
        """Give what still runs to other workers: the time to drain is over. Its tasks then end by
        themselves.
        """

    async def stop(self) -> None:
        """After `hand_over`, which may have failed: end what still runs, and wait for nobody."""


class Residents:
    """All of them; they end in the opposite order."""

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop
        self._residents: list[Resident] = []
        self._leaving: asyncio.Task[None] | None = None

    def add(self, resident: Resident) -> None:
        """Start it on the loop. Raises what its `start` raises."""
        self._loop.run(resident.start())
        self._residents.append(resident)

    def serve(self) -> None:
        for resident in self._residents:
            self._loop.begin(resident.serve())

    def leaving(self) -> None:
        """On the loop."""
        for resident in self._residents:
            resident.leaving()

    def end(self) -> None:
        """Have all of them hand over and stop. In Celery's thread; returns when they have, or are late."""
        if self._loop.alive:
            with suppress(TimeoutError, CancelledError):  # or the loop has ended meanwhile
                self._loop.run(self.left(), timeout=LEAVE_SECONDS + 1)

    async def left(self) -> None:
        """The same on the loop. Whoever asks first has it done, and others wait for that."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(), name="palaver-leaving")
        await asyncio.wait([self._leaving])

    async def _leave(self) -> None:
        begun = asyncio.get_running_loop().time()
        for step, seconds in (("hand_over", HAND_OVER_SECONDS), ("stop", LEAVE_SECONDS)):
            for resident in reversed(self._residents):
                try:
                    async with asyncio.timeout_at(begun + seconds):
                        await getattr(resident, step)()
                except Exception as error:  # noqa: BLE001 - the process is ending; the next step matters more
                    logger.error("pool.end_failed", step=step, error=type(error).__name__)
