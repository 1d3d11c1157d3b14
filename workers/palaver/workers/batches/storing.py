"""Results leave the ledger: parts while the batch runs, `output.jsonl` and `errors.jsonl` at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import orjson

from palaver.shared.batch_output import output_line
from palaver.shared.batches import BatchResult, BatchStatus, BatchView
from palaver.shared.ledger import AsyncLedger, Gathered, operations
from palaver.shared.stores.batch_files import BatchFiles
from palaver.workers.batches.patience import patiently
from palaver.workers.link import Link

__all__ = ["Storing"]

PART_LINES: Final = 2000
PART_BYTES: Final = 8 * 1024 * 1024
AT_ONCE: Final = 50  # lines that are converted before other streams have their turns


class Storing:
    """Stores the results of one batch, for one of its drivers. All methods raise LeaseError."""

    def __init__(
        self,
        *,
        link: Link,
        ledger: AsyncLedger,
        files: BatchFiles,
        batch_id: str,
        token: str,
    ) -> None:
        self._link = link
        self._ledger = ledger
        self._keys = ledger.keys
        self._files = files
        self._batch_id = batch_id
        self._token = token
        self.is_behind = False  # more waits than a part takes, or as much

    async def flush(self) -> Gathered | None:
        """Store a part of what waits, and say what that was; None if another driver stores."""
        gathering = operations.gather_results(
            self._keys, self._batch_id, token=self._token, most=PART_LINES, most_bytes=PART_BYTES
        )
        gathered = await self._link.run(gathering)
        if gathered is None or not gathered.results:
            return gathered
        size = sum(map(len, gathered.results))
        self.is_behind = len(gathered.results) >= PART_LINES or size >= PART_BYTES
        part = (self._batch_id, gathered.first, gathered.last, gathered.results)
        await patiently(self._batch_id, lambda: self._files.put_part(*part))
        await self._link.run(
            operations.flush_results(self._keys, self._batch_id, token=self._token, gathered=gathered)
        )
        return gathered

    async def finish(self) -> BatchStatus | None:
        """Store what is left, then the output, and end the batch; None if another driver does, or if results
        come still.
        """
        while (gathered := await self.flush()) is not None and gathered.results:
            pass
        if gathered is None or not gathered.over:
            return None
        view = await self._link.run(operations.batch(self._keys, self._batch_id))
        await patiently(
            self._batch_id, lambda: self._files.put_output(self._batch_id, self._output(view, answers=True))
        )
        await patiently(self._batch_id, lambda: self._files.put_errors(self._batch_id, self._errors(view)))
        return await self._link.run(
            operations.end_batch(
                self._keys, self._batch_id, token=self._token, retention=self._ledger.retention
            )
        )

    async def _errors(self, view: BatchView) -> AsyncIterator[bytes]:
        """What was left out of the input, and what failed."""
        async for piece in self._files.invalid(view.batch):
            yield piece
        if view.counts.failed:
            async for piece in self._output(view, answers=False):
                yield piece

    async def _output(self, view: BatchView, *, answers: bool) -> AsyncIterator[bytes]:
        """The lines of all parts that are answers, or of those that are not, part by part."""
        parts = await self._ledger.query(operations.batch_parts(self._keys, self._batch_id))
        for part in parts:
            results = await patiently(self._batch_id, partial(self._files.part, self._batch_id, *part))
            for start in range(0, len(results), AT_ONCE):
                lines = (orjson.loads(result) for result in results[start : start + AT_ONCE])
                wanted = [line for line in lines if line["response"].get("success", True) is answers]
                await asyncio.sleep(0)
                if wanted:
                    yield b"".join(self._line(line, view.created_at) for line in wanted)

    def _line(self, result: object, created: float) -> bytes:
        return output_line(self._batch_id, created, BatchResult.validated(result))
