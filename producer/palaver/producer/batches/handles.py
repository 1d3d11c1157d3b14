"""Handles on batches. A handle holds the id only: one from another process does the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING

from palaver.producer.background import background
from palaver.producer.batches.following import Order, check_order, follow
from palaver.producer.batches.watching import ended, events_until_end, views
from palaver.producer.prepare import check_after, check_timeout
from palaver.shared.batches import BatchResult, BatchStatus, BatchView
from palaver.shared.events import AnyEvent
from palaver.shared.ledger import AsyncLedger

if TYPE_CHECKING:
    from palaver.producer.async_client import AsyncClient
    from palaver.producer.client import Client


class BatchHandle:
    """A batch. Every method raises BatchNotFoundError for one that the ledger no longer knows."""

    def __init__(self, client: Client, batch_id: str) -> None:
        self.batch_id = batch_id
        self._client = client

    def __repr__(self) -> str:
        return f"BatchHandle({self.batch_id!r})"

    @property
    def progress(self) -> BatchView:
        """How far it is: status, counts, tokens, cost, times; asks the ledger."""
        return self._client.ledger.batch(self.batch_id)

    @property
    def status(self) -> BatchStatus:
        """The batch's status now; asks the ledger."""
        return self.progress.status

    def events(self, after: int = 0) -> Generator[AnyEvent, None, None]:
        """Its events with a `seq` above `after`, live: `progress`, once a second at most, `stream_end`."""
        check_after(after)
        loop = background()
        feed = loop.run(self._client.reading.on(loop))
        yield from loop.drain(events_until_end(feed, self.batch_id, after))

    def results(self, order: Order = "input") -> Generator[BatchResult, None, None]:
        """What became of each line, live, until the batch has ended; in the order of the lines, or, with
        `order="completion"`, as they are done. Lines that a cancel kept from running have no result.

        Memory stays the same however many there are. Raises FileStoreUnavailableError too, and
        JobExpiredError for a batch whose time is long over and that no worker is there to end.
        """
        check_order(order)
        loop, ledger = background(), self._background_ledger()
        for page in loop.drain(follow(ledger, self._client.batch_files, self.batch_id, order)):
            yield from page

    def left_out(self) -> Generator[bytes, None, None]:
        """What is told of the lines that `skip_invalid` left out: lines in OpenAI's format, in pieces."""
        yield from background().drain(self._client.batch_files.invalid(self.progress.batch))

    def watch(self) -> Generator[BatchView, None, None]:
        """The batch as it goes on, at least twice a second, until it has ended."""
        yield from background().drain(views(self._background_ledger(), self.batch_id))

    def wait(self, timeout: float | None = None) -> BatchView:
        """Wait for the end, at most `timeout` seconds; how it ended. Raises WaitTimeoutError: it goes on;
        and JobExpiredError as `results`.
        """
        check_timeout(timeout)
        return background().run(ended(self._background_ledger(), self.batch_id, timeout))

    def cancel(self) -> BatchStatus:
        """Have no line begin any more, and those that run end; what is done is kept. An ended batch stays
        what it is.
        """
        return self._client.ledger.cancel_batch(self.batch_id)

    def retry_failed(self) -> BatchHandle:
        """Do the lines of an ended batch that have no answer again, as a new batch with `retry_of`; their
        custom ids stay. Repeating the call makes no second batch.

        Raises JobNotFinishedError, WrongStateError (all have an answer), FileMissingError, and what
        `Client.batch` raises.
        """
        return self._client.retry_batch(self.batch_id)

    def _background_ledger(self) -> AsyncLedger:
        loop = background()
        return loop.run(self._client.reading.on(loop)).hub.ledger


class AsyncBatchHandle:
    """A batch, as `BatchHandle`, for `async for` and `await`."""

    def __init__(self, client: AsyncClient, batch_id: str) -> None:
        self.batch_id = batch_id
        self._client = client

    def __repr__(self) -> str:
        return f"AsyncBatchHandle({self.batch_id!r})"

    async def progress(self) -> BatchView:
        """How far it is; see `BatchHandle.progress`."""
        return await self._client.ledger.batch(self.batch_id)

    async def status(self) -> BatchStatus:
        """The batch's status now; asks the ledger."""
        return (await self.progress()).status

    def events(self, after: int = 0) -> AsyncGenerator[AnyEvent, None]:
        """Its events with a `seq` above `after`, live, until its end; see `BatchHandle.events`."""
        check_after(after)
        return events_until_end(self._client.reading, self.batch_id, after)

    async def results(self, order: Order = "input") -> AsyncGenerator[BatchResult, None]:
        """What became of each line, live, until the batch has ended; see `BatchHandle.results`."""
        check_order(order)
        pages = follow(self._client.ledger, self._client.batch_files, self.batch_id, order)
        async with aclosing(pages):
            async for page in pages:
                for result in page:
                    yield result

    async def left_out(self) -> AsyncGenerator[bytes, None]:
        """What is told of the lines that were left out; see `BatchHandle.left_out`."""
        async for piece in self._client.batch_files.invalid((await self.progress()).batch):
            yield piece

    def watch(self) -> AsyncGenerator[BatchView, None]:
        """The batch as it goes on, until it has ended; see `BatchHandle.watch`."""
        return views(self._client.ledger, self.batch_id)

    async def wait(self, timeout: float | None = None) -> BatchView:  # noqa: ASYNC109 -- as BatchHandle's
        """Wait for the end; see `BatchHandle.wait`."""
        check_timeout(timeout)
        return await ended(self._client.ledger, self.batch_id, timeout)

    async def cancel(self) -> BatchStatus:
        """Have no line begin any more; see `BatchHandle.cancel`."""
        return await self._client.ledger.cancel_batch(self.batch_id)

    async def retry_failed(self) -> AsyncBatchHandle:
        """Do the lines that have no answer again; see `BatchHandle.retry_failed`."""
        return await self._client.retry_batch(self.batch_id)
