"""Handles on submitted jobs. A handle holds ids only: one from another process does the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel

from palaver.producer.prepare import check_after, check_timeout
from palaver.shared.errors import JobGoneError, JobNotFoundError
from palaver.shared.jobs import Status
from palaver.shared.ledger import JobView
from palaver.shared.responses import ChatResponse, ModelResponse, StreamChunk

if TYPE_CHECKING:
    from palaver.producer.async_client import AsyncClient
    from palaver.producer.client import Client
    from palaver.shared.accumulator import Accumulator
    from palaver.shared.events import AnyEvent

M = TypeVar("M", bound=BaseModel)


class _Handle:
    """What both kinds of handle know: the ids, and the cursor before the job's first event."""

    def __init__(self, session_id: str, job_id: str, cursor: int) -> None:
        self.session_id = session_id
        self.job_id = job_id
        self.cursor = cursor

    def __repr__(self) -> str:
        return f"{type(self).__name__}(job_id={self.job_id!r}, session_id={self.session_id!r})"

    def _from(self, after: int) -> int:
        """Where to read from: nothing before the cursor is of this job."""
        check_after(after)
        return max(after, self.cursor)


class JobHandle(_Handle):
    """A submitted job. Iterating over it gives the chunks of the answer, from the first one, live.

    The loop ends after a chunk with `done`, and then raises the job's own error if it did not complete.
    """

    def __init__(self, client: Client, session_id: str, job_id: str, cursor: int) -> None:
        super().__init__(session_id, job_id, cursor)
        self._client = client

    @property
    def status(self) -> Status:
        """The job's status now; asks the ledger."""
        return self.view().status

    def view(self) -> JobView:
        """Everything that the ledger knows of the job. Raises JobNotFoundError."""
        return self._client.view(self.job_id, self.session_id)

    def events(self, after: int = 0, *, room: int | None = None) -> Generator[AnyEvent, None, None]:
        """The job's events with a `seq` above `after`, live, until its `stream_end`.

        `room`: so many events wait for this reader in memory; beyond it they are read from the log.
        """
        return self._client.reading.events(self.session_id, self._from(after), self.job_id, room=room)

    def chunks(self, state: Accumulator | None = None) -> Generator[StreamChunk, None, None]:
        """The chunks of the answer, as a loop over the handle gives them.

        What they add up to can be read from `state` meanwhile, a new one of this job.
        """
        return self._client.reading.chunks(self.job_id, self.events(), state)

    def __iter__(self) -> Iterator[StreamChunk]:
        return self.chunks()

    def result(self, timeout: float | None = None) -> ChatResponse:
        """Wait for the end, at most `timeout` seconds.

        Raises the job's own error if it failed, was cancelled or expired; `error.response` has the partial
        text. Raises WaitTimeoutError when the wait was too short: the job goes on; ValidationError for a
        `timeout` that is no number of seconds.
        """
        check_timeout(timeout)
        return self._client.reading.result(self.session_id, self.job_id, self.cursor, timeout)

    def cancel(self) -> Status:
        """End the job. Returns its status now: `running` until the worker that was asked has ended it.

        A job that waits never starts. An ended job stays what it is.
        """
        try:
            cancelled = self._client.ledger.cancel(self.session_id, self.job_id)
        except JobGoneError:
            raise JobNotFoundError(f"there is no job {self.job_id}", job_id=self.job_id) from None
        self._client.send([cancelled.dispatch])
        return cancelled.status


class ModelHandle(JobHandle, Generic[M]):
    """A submitted job whose answer is to be an instance of a pydantic model."""

    def __init__(self, client: Client, session_id: str, job_id: str, cursor: int, model: type[M]) -> None:
        super().__init__(client, session_id, job_id, cursor)
        self._model = model

    def result(self, timeout: float | None = None) -> ModelResponse[M]:
        """As `JobHandle.result`; `parsed` is the instance. Raises StructuredOutputError too, with the answer
        as it came in `error.response`.
        """
        return ModelResponse.of(super().result(timeout), self._model)


class AsyncJobHandle(_Handle):
    """A submitted job, as `JobHandle`, for `async for` and `await`."""

    def __init__(self, client: AsyncClient, session_id: str, job_id: str, cursor: int) -> None:
        super().__init__(session_id, job_id, cursor)
        self._client = client

    async def status(self) -> Status:
        """The job's status now; asks the ledger."""
        return (await self.view()).status

    async def view(self) -> JobView:
        """Everything that the ledger knows of the job. Raises JobNotFoundError."""
        return await self._client.view(self.job_id, self.session_id)

    def events(self, after: int = 0, *, room: int | None = None) -> AsyncGenerator[AnyEvent, None]:
        """The job's events with a `seq` above `after`, live, until its end; see `JobHandle.events`."""
        return self._client.reading.events(self.session_id, self._from(after), self.job_id, room=room)

    def chunks(self, state: Accumulator | None = None) -> AsyncGenerator[StreamChunk, None]:
        """The chunks of the answer; see `JobHandle.chunks`."""
        return self._client.reading.chunks(self.job_id, self.events(), state)

    def __aiter__(self) -> AsyncGenerator[StreamChunk, None]:
        return self.chunks()

    async def result(self, timeout: float | None = None) -> ChatResponse:  # noqa: ASYNC109 -- as JobHandle's
        """Wait for the end; see `JobHandle.result`."""
        check_timeout(timeout)
        return await self._client.reading.result(self.session_id, self.job_id, self.cursor, timeout)

    async def cancel(self) -> Status:
        """End the job; see `JobHandle.cancel`."""
        try:
            cancelled = await self._client.ledger.cancel(self.session_id, self.job_id)
        except JobGoneError:
            raise JobNotFoundError(f"there is no job {self.job_id}", job_id=self.job_id) from None
        await self._client.send([cancelled.dispatch])
        return cancelled.status


class AsyncModelHandle(AsyncJobHandle, Generic[M]):
    """A submitted job, as `ModelHandle`, for `async for` and `await`."""

    def __init__(
        self, client: AsyncClient, session_id: str, job_id: str, cursor: int, model: type[M]
    ) -> None:
        super().__init__(client, session_id, job_id, cursor)
        self._model = model

    async def result(self, timeout: float | None = None) -> ModelResponse[M]:  # noqa: ASYNC109 -- as JobHandle's
        """Wait for the end; see `ModelHandle.result`."""
        return ModelResponse.of(await super().result(timeout), self._model)
