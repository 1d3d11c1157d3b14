"""Many requests of one kind: as a batch, for a system that has a store of files, else as jobs of which so
many run at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

import orjson

from palaver.producer.async_client import AsyncClient
from palaver.producer.batches import AsyncBatchHandle, fits_a_line
from palaver.producer.interfaces.settled import OnSettled, check_many, failed, settle_all
from palaver.shared.batches import MAX_WINDOW
from palaver.shared.errors import (
    BatchInputError,
    JobCancelledError,
    PalaverError,
    ValidationError,
)
from palaver.shared.responses import ChatResponse

T = TypeVar("T")

_OF_THE_BATCH: Final = ("user", "tenant")


async def answer_all(
    client: AsyncClient,
    items: Iterable[T],
    fields: Mapping[str, Any],
    ask: Callable[[T], Awaitable[ChatResponse]],
    *,
    name: str,
    batch_size: int,
    on_settled: OnSettled | None = None,
) -> list[ChatResponse]:
    """The settled responses of all, in their order; at most `batch_size` run at once.

    `fields` are those of the jobs; `ask` is how one is asked for where no batch can be made of them. The rest
    as `settle_all`.
    """
    waiting = check_many(items, name=name, batch_size=batch_size, on_settled=on_settled)
    if not waiting or not client.files.configured or not fits_a_line(fields):
        return await settle_all(ask, waiting, name=name, batch_size=batch_size, on_settled=on_settled)
    return await _Batched(len(waiting), on_settled).answers(client, waiting, fields, batch_size)


class _Batched:
    """The answers of one batch, as they come."""

    def __init__(self, total: int, on_settled: OnSettled | None) -> None:
        self._total = total
        self._on_settled = on_settled
        self._settled: dict[int, ChatResponse] = {}

    async def answers(
        self, client: AsyncClient, items: Iterable[Any], fields: Mapping[str, Any], window: int
    ) -> list[ChatResponse]:
        """All of them; one that is missing in the end was cancelled by somebody else."""
        missing: PalaverError = JobCancelledError()
        try:
            await self._follow(await _opened(client, items, fields, window))
        except BatchInputError as error:  # nothing can be asked
            for problem in error.problems:
                self._settle(problem["line"], ChatResponse.failed(_refusal(problem)))
            missing = error
        except PalaverError as error:
            missing = error
        for number in range(1, self._total + 1):
            if number not in self._settled:
                self._settle(number, failed(missing))
        return [self._settled[number] for number in range(1, self._total + 1)]

    async def _follow(self, handle: AsyncBatchHandle) -> None:
        try:
            told = b"".join([piece async for piece in handle.left_out()])
            for problem in map(orjson.loads, told.splitlines()):
                error = problem["error"]
                self._settle(error["line"], ChatResponse.failed(_refusal(error)))
            async with aclosing(handle.results(order="completion")) as results:
                async for result in results:
                    self._settle(int(result.custom_id.removeprefix("line-")), result.response)
        finally:
            with suppress(PalaverError):
                await handle.cancel()  # of lines that go on nobody would hear; an ended batch stays as it is

    def _settle(self, number: int, response: ChatResponse) -> None:
        self._settled[number] = response
        if self._on_settled is not None:
            self._on_settled(len(self._settled), self._total)


async def _opened(
    client: AsyncClient, items: Iterable[Any], fields: Mapping[str, Any], window: int
) -> AsyncBatchHandle:
    """The batch; if nobody waits for it any more, it is cancelled, also before its opening has come back."""
    owner = {name: fields[name] for name in _OF_THE_BATCH if name in fields}
    # Somebody waits for each of them no longer than for a job.
    jobs = [{"deadline": client.settings.deadline, **fields, "messages": item} for item in items]
    opening = asyncio.ensure_future(
        client.batch(jobs, window=min(window, MAX_WINDOW), skip_invalid=True, **owner)
    )
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with suppress(PalaverError):
            await (await opening).cancel()
        raise


def _refusal(problem: Mapping[str, Any]) -> ValidationError:
    return ValidationError(problem["message"], param=problem["param"])
