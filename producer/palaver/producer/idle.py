"""Readers of an event loop to whom nothing happens: one question to Redis for hundreds of them.

Each has to know after a while of silence whether it missed something. Thousands that asked one by one would
keep a core busy with nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import AsyncLedger, Inbox, Notice, Signal
from palaver.shared.ledger.operations import seqs

SILENCE_SECONDS: Final = 5.0
_NEARLY: Final = 0.1
"""Who has been silent for nearly as long, this part of the time less, is asked for with the others."""
_AT_ONCE: Final = 200


class _Place(NamedTuple):
    """A reader has everything of a session up to `seq`; it is looked after when it is `due`."""

    session_id: str
    seq: int
    due: float  # by the loop's clock


class IdleReaders:
    """Those of one event loop that wait. `reached` is when Redis last answered for them, by the monotonic
    clock.
    """

    def __init__(self, ledger: AsyncLedger) -> None:
        self.reached = float("-inf")
        self._ledger = ledger
        self._waiting: dict[Inbox, _Place] = {}  # in the order in which they are due
        self._task: asyncio.Task[None] | None = None

    async def notices(self, inbox: Inbox, session_id: str, seq: int) -> list[Notice]:
        """What comes next for a reader that has everything up to `seq`; MISSED, when its session is
        elsewhere, or nobody knows where.
        """
        self._wait(inbox, session_id, seq)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_after(), name="palaver-idle")
        try:
            return await inbox.receive()
        finally:
            self._waiting.pop(inbox, None)

    async def aclose(self) -> None:
        """Look after nobody any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _wait(self, inbox: Inbox, session_id: str, seq: int) -> None:
        due = asyncio.get_running_loop().time() + SILENCE_SECONDS
        self._waiting[inbox] = _Place(session_id, seq, due)

    async def _look_after(self) -> None:
        """Until nobody waits."""
        now = asyncio.get_running_loop().time
        while self._waiting:
            first = next(iter(self._waiting.values()))
            await asyncio.sleep(first.due - now())
            due = self._due(before=now() + SILENCE_SECONDS * _NEARLY)
            for start in range(0, len(due), _AT_ONCE):
                await self._ask(due[start : start + _AT_ONCE])

    def _due(self, *, before: float) -> list[tuple[Inbox, _Place]]:
        return list(takewhile(lambda item: item[1].due <= before, self._waiting.items()))

    async def _ask(self, due: Sequence[tuple[Inbox, _Place]]) -> None:
        asked = [place.session_id for _, place in due]
        found: list[int | None]
        try:
            found = [*await self._ledger.query(seqs(self._ledger.keys, asked))]
        except (PalaverError, ValueError):  # each finds out for itself, and tells it as its own
            found = [None] * len(due)
        else:
            self.reached = time.monotonic()
        for (inbox, place), seq in zip(due, found, strict=True):
            if self._waiting.get(inbox) is not place:  # something came meanwhile
                continue
            del self._waiting[inbox]
            if seq == place.seq:
                self._wait(inbox, place.session_id, seq)
            else:
                inbox.put(Signal.MISSED)
