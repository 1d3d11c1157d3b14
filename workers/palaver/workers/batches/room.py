"""Room in memory, for lines that are large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Room", "Share"]


@dataclass(slots=True, eq=False)
class Share:
    """What one batch has of a room."""

    held: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Room:
    """So many bytes, taken by each batch in the order in which its lines ask; anybody may have what is free.

    A line may wait for its provider for hours, and has its bytes meanwhile: those of others are not to wait
    with it. So an equal share is each batch's own, whatever the others have taken, and one line of it may
    always begin. In all, n batches have at most (1 + 1/2 + … + 1/n) times these bytes, and a line each. What
    is larger than all counts as all.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._holding: set[Share] = set()
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def take(self, size: int, share: Share) -> AsyncGenerator[None, None]:
        """Wait until a batch may have so many bytes, and have them."""
        size = min(size, self._size)
        async with share.turn:
            while not self._has(size, share):
                self._given_back.clear()
                await self._given_back.wait()
            self._move(size, share)
        try:
            yield
        finally:
            self._move(-size, share)
            self._given_back.set()

    def _has(self, size: int, share: Share) -> bool:
        if not share.held or size <= self._free:
            return True
        return share.held + size <= self._size // len(self._holding)

    def _move(self, size: int, share: Share) -> None:
        self._free -= size
        share.held += size
        (self._holding.add if share.held else self._holding.discard)(share)
