"""Sinks of the tests' own."""

import asyncio
import threading
from collections.abc import Sequence
from typing import ClassVar

from palaver.shared.events import AnyEvent
from palaver.workers.sinks import Sink


class Remembering(Sink):
    """Remembers what it was told; waits for `gate` if there is one, fails while `fails`."""

    told: ClassVar[list[list[AnyEvent]]] = []
    gate: ClassVar[threading.Event | None] = None
    fails: ClassVar[bool] = False
    closed: ClassVar[bool] = False
    at_once: ClassVar[int] = 0

    async def publish(self, session_id: str, events: Sequence[AnyEvent]) -> None:
        kind = type(self)
        kind.at_once += 1
        if self.gate is not None:
            await asyncio.to_thread(self.gate.wait, 20)
        kind.at_once -= 1
        if self.fails:
            raise ValueError("with what was said")
        kind.told.append(list(events))

    async def aclose(self) -> None:
        type(self).closed = True

    @classmethod
    def forget(cls) -> None:
        cls.told, cls.gate, cls.fails, cls.closed = [], None, False, False


class Ends(Sink):
    """Wants the ends alone."""

    kinds = frozenset(("stream_end",))
    told: ClassVar[list[AnyEvent]] = []

    async def publish(self, session_id: str, events: Sequence[AnyEvent]) -> None:
        self.told.extend(events)


class NoSink:
    """Of another kind."""
