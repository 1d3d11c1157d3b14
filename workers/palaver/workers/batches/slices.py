"""The lines of a batch, read from the file store."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import orjson

from palaver.shared.batches import SLICE, BatchJob, BatchLine
from palaver.shared.errors import FileMissingError, ValidationError
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.batches.patience import patiently

__all__ = ["Slices"]

SPARE: Final = 3
"""Slices that are kept beyond those that a window of neighbouring lines needs: some lines come again."""


class Slices:
    """Reads a slice once for all its lines that run together, of which there are `window`."""

    def __init__(self, files: BatchFiles, batch: BatchJob, *, window: int) -> None:
        self._files = files
        self._batch = batch
        self._most = window // SLICE + SPARE
        self._slices: OrderedDict[int, asyncio.Task[list[bytes]]] = OrderedDict()

    async def line(self, index: int) -> BatchLine:
        """The line of this index. Raises FileMissingError, and ValidationError for what no line can be."""
        first = index - index % SLICE
        if first not in self._slices:
            self._slices[first] = asyncio.create_task(self._read(first))
            self._drop_oldest()
        self._slices.move_to_end(first)
        lines = await asyncio.shield(self._slices[first])
        place = index - first
        if place >= len(lines):
            raise FileMissingError(f"The stored input of the batch has no line {index}.")
        try:
            return BatchLine.parse(lines[place], self._batch)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ValidationError(f"The stored line {index} of the batch is none.") from None

    def close(self) -> None:
        """Read no more."""
        for reading in self._slices.values():
            reading.cancel()

    def _drop_oldest(self) -> None:
        for first in list(self._slices)[: max(0, len(self._slices) - self._most)]:
            if self._slices[first].done():
                del self._slices[first]

    async def _read(self, first: int) -> list[bytes]:
        return await patiently(self._batch.batch_id, lambda: self._files.slice(self._batch, first))
