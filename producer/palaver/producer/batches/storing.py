"""The lines of a batch are taken in and go into the store of files, before the ledger hears of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from palaver.producer.batches.intake import Intake
from palaver.producer.batches.source import BatchSource, Entry, entries
from palaver.producer.prepare import as_given
from palaver.shared.batches import SLICE, BatchJob, SliceIndex
from palaver.shared.beside import LARGE_BYTES
from palaver.shared.errors import PalaverError, ServiceUnavailableError
from palaver.shared.plain import measure
from palaver.shared.stores.batch_files import BatchFiles

AT_ONCE: Final = 4
"""Slices that are sent at the same time."""


async def take_all(intake: Intake, jobs: BatchSource, longest: int) -> None:
    """As `Intake.take`, while the event loop goes on: in a thread, but what gives a caller's jobs may belong
    to the loop's, and is asked here.
    """
    reading = entries(jobs, longest)
    if isinstance(jobs, str | os.PathLike) or hasattr(jobs, "readline"):
        while await asyncio.to_thread(intake.take, islice(reading, SLICE)):
            pass
        return
    while some := list(_few(reading)):
        await asyncio.to_thread(intake.take, some)  # with the caller's context: `allow` is the caller's


def _few(reading: Iterator[Entry]) -> Iterator[Entry]:
    """The next entries: a slice of them, or until they are large together."""
    size = 0
    for entry in islice(reading, SLICE):
        number, line = entry
        yield number, as_given(line)
        size += len(line) if isinstance(line, bytes) else measure(line, LARGE_BYTES)
        if size >= LARGE_BYTES:
            return


async def store(files: BatchFiles, batch: BatchJob, intake: Intake) -> None:
    """Store what was taken in. Raises FileStoreUnavailableError and ConfigurationError."""
    slices, stored = intake.slices(), list[tuple[int, int]]()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(_send(files, batch, slices, stored))
    except ExceptionGroup as problems:  # until Python 3.11.4 what `except*` raises stays in a group
        if (ours := problems.subgroup(PalaverError)) is None:
            raise
        raise ours.exceptions[0] from None
    if batch.invalid:
        await files.put_invalid(batch, _pieces(intake.left_out()))
    await files.put_slices(batch, SliceIndex(sorted(stored), batch.total))


async def discard(files: BatchFiles, batch: BatchJob) -> None:
    """Remove what was stored of a batch that will not be opened, as far as that is possible now.

    With an idempotency key another call may be storing the same lines, and is not disturbed.
    """
    if batch.idempotency_key is None:
        with suppress(ServiceUnavailableError):
            await files.delete(batch.batch_id)


async def _send(
    files: BatchFiles,
    batch: BatchJob,
    slices: Iterator[tuple[int, list[bytes]]],
    stored: list[tuple[int, int]],
) -> None:
    for first, lines in slices:
        stored.append((first, await files.put_slice(batch, first, lines)))


async def _pieces(lines: Iterable[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line
