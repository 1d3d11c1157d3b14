"""The lines of an ended batch that have no answer, to be asked again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from typing import Any

from palaver.producer.batches.following import follow
from palaver.shared.batches import BatchJob, BatchLine, BatchView
from palaver.shared.beside import in_thread
from palaver.shared.errors import JobNotFinishedError, WrongStateError
from palaver.shared.ledger import AsyncLedger
from palaver.shared.stores.batch_files import BatchFiles


def fields_again(view: BatchView) -> dict[str, Any]:
    """What the new batch has of the old one. Its key is made of the old one's id: a repeated retry finds the
    batch of the first. Raises JobNotFinishedError.
    """
    old = view.batch
    if not view.status.ended:
        told = f"batch {old.batch_id} is {view.status}; only an ended batch can be retried"
        raise JobNotFinishedError(told, job_id=old.batch_id)
    kept = ("window", "completion_window", "fail_fast", "dedupe", "user", "tenant", "metadata", "webhook")
    again = {"retry_of": old.batch_id, "idempotency_key": f"retry:{old.batch_id}"}
    return {**{name: getattr(old, name) for name in kept}, **again}


async def unanswered(
    ledger: AsyncLedger, files: BatchFiles, batch: BatchJob
) -> AsyncGenerator[list[tuple[int, BatchLine]], None]:
    """Those lines, slice by slice, each with its number. Raises WrongStateError if there is none."""
    answered = await _answered(ledger, files, batch)
    if all(answered):
        raise WrongStateError(
            f"every line of batch {batch.batch_id} has an answer; there is nothing to retry"
        )
    firsts = (await files.slices(batch)).firsts
    for first, end in pairwise([*firsts, batch.total]):
        if all(answered[first:end]):
            continue
        lines = await files.slice(batch, first)
        found = [(index + 1, line) for index, line in enumerate(lines, first) if not answered[index]]
        yield await in_thread(partial(_parsed, found, batch))


def _parsed(found: Sequence[tuple[int, bytes]], batch: BatchJob) -> list[tuple[int, BatchLine]]:
    return [(number, BatchLine.parse(line, batch)) for number, line in found]


async def _answered(ledger: AsyncLedger, files: BatchFiles, batch: BatchJob) -> bytearray:
    """A byte for each line: whether it has an answer."""
    answered = bytearray(batch.total)
    async with aclosing(follow(ledger, files, batch.batch_id)) as pages:
        async for page in pages:
            for result in page:
                answered[result.index] = result.response.success
    return answered
