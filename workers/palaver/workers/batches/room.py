"""Room in memory, for lines that are large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Room"]


class Room:
    """So many bytes, taken in the order in which they are asked for. What is larger than all takes all."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._turn = asyncio.Lock()
        self._given_back = asyncio.Event()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncGenerator[None, None]:
        """Wait until so many bytes are free, and have them."""
        size = min(size, self._size)
        async with self._turn:
            while self._free < size:
                self._given_back.clear()
                await self._given_back.wait()
            self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._given_back.set()
