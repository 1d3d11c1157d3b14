"""The lines of a batch, read from the file store."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from palaver.shared.batches import SLICE, BatchJob, SliceIndex
from palaver.shared.errors import FileMissingError
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.batches.patience import patiently
from palaver.workers.batches.room import Room, Share

__all__ = ["Slices"]

SPARE: Final = 3
"""Slices that are kept beyond those that a window of neighbouring lines needs: some lines come again."""


class Slices:
    """Reads a slice once for all its lines that run together, of which there are `window`, and of the lines
    only those that have `room` in memory.
    """

    def __init__(self, files: BatchFiles, batch: BatchJob, *, window: int, room: Room) -> None:
        self._files = files
        self._batch = batch
        self._room, self._share = room, Share()
        self._most = window // SLICE + SPARE
        self._index: asyncio.Task[SliceIndex] | None = None
        self._slices: OrderedDict[int, asyncio.Task[list[bytes]]] = OrderedDict()

    @asynccontextmanager
    async def line(self, index: int) -> AsyncGenerator[bytes, None]:
        """What is stored of the line of this index, which has its room meanwhile. Raises FileMissingError."""
        if self._index is None:
            self._index = asyncio.create_task(self._read_index())
        first, size = (await asyncio.shield(self._index)).place(index)
        async with self._room.take(size, self._share):
            yield _line(await self._slice(first), index - first, index)

    async def check(self) -> None:
        """Raises one of NO_STORE if the store cannot be used."""
        await self._files.slices(self._batch)

    def close(self) -> None:
        """Read no more."""
        for reading in (self._index, *self._slices.values()):
            if reading is not None:
                reading.cancel()

    async def _slice(self, first: int) -> list[bytes]:
        if first not in self._slices:
            self._slices[first] = asyncio.create_task(self._read(first))
            self._drop_oldest()
        self._slices.move_to_end(first)
        return await asyncio.shield(self._slices[first])

    def _drop_oldest(self) -> None:
        for first in list(self._slices)[: max(0, len(self._slices) - self._most)]:
            if self._slices[first].done():
                del self._slices[first]

    async def _read_index(self) -> SliceIndex:
        return await patiently(self._batch.batch_id, lambda: self._files.slices(self._batch))

    async def _read(self, first: int) -> list[bytes]:
        return await patiently(self._batch.batch_id, lambda: self._files.slice(self._batch, first))


def _line(lines: list[bytes], place: int, index: int) -> bytes:
    if place >= len(lines):
        raise FileMissingError(f"The stored input of the batch has no line {index}.")
    return lines[place]
