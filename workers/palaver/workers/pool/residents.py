"""What lives on the pool's loop for as long as the pool does."""

import asyncio
from typing import Final, Protocol

from palaver.workers.event_log import event_logger
from palaver.workers.loop import LoopThread

__all__ = ["Resident", "Residents"]

logger = event_logger("palaver.workers.pool")

STEP_SECONDS: Final = 10.0  # for each resident in each step of the end


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

    def hand_over(self) -> None:
        """In Celery's thread, as `stop`."""
        self._each("hand_over")

    def stop(self) -> None:
        self._each("stop")

    async def leave(self) -> None:
        """Both steps, on the loop itself: nobody else is there to take them."""
        for step in ("hand_over", "stop"):
            for resident in reversed(self._residents):
                await asyncio.wait([asyncio.create_task(getattr(resident, step)())], timeout=STEP_SECONDS)

    def _each(self, step: str) -> None:
        for resident in reversed(self._residents):
            if not self._loop.alive:
                return
            try:
                self._loop.run(getattr(resident, step)(), timeout=STEP_SECONDS)
            except Exception as error:  # noqa: BLE001 - the process is ending; the next step matters more
                logger.error("pool.end_failed", step=step, error=type(error).__name__)
