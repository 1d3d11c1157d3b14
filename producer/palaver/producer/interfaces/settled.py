"""Errors as values, and many requests of which so many run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TypeVar

from palaver.producer.handles import AsyncJobHandle
from palaver.shared.errors import PalaverError
from palaver.shared.plain import refuse, require, shape
from palaver.shared.responses import ChatResponse

T = TypeVar("T")

OnSettled = Callable[[int, int], object]
"""Called with `(done, total)` each time one more is settled."""


async def settled(work: Awaitable[ChatResponse]) -> ChatResponse:
    """The response, or an error response that says why there is none."""
    try:
        return await work
    except PalaverError as error:
        return failed(error)


def failed(error: PalaverError) -> ChatResponse:
    """The error response of an error: with what there is of the answer, if it is a job's."""
    known: ChatResponse | None = error.response
    return known if known is not None and known.is_error else ChatResponse.failed(error)


def check_many(items: Iterable[T], *, name: str, batch_size: int, on_settled: OnSettled | None) -> list[T]:
    """The items, as `settle_all` takes them; its ValidationErrors."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        refuse(name, f"must be a list, not {shape(items)}")
    require("on_settled", on_settled, Callable | None, "a function")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        refuse("batch_size", f"must be a number of requests, 1 or more, not {shape(batch_size)}")
    return list(items)


async def settle_all(
    ask: Callable[[T], Awaitable[ChatResponse]],
    items: Iterable[T],
    *,
    name: str,
    batch_size: int,
    on_settled: OnSettled | None = None,
) -> list[ChatResponse]:
    """The settled responses of all, in their order; at most `batch_size` are asked for at once.

    Cancelled, it asks for no more. Raises ValidationError for a `batch_size` below 1, and for items, which
    the caller knows by this name, that are one text.
    """
    waiting = check_many(items, name=name, batch_size=batch_size, on_settled=on_settled)
    responses: dict[int, ChatResponse] = {}
    places = iter(range(len(waiting)))

    async def work() -> None:
        for place in places:  # one iterator for all who work
            responses[place] = await settled(ask(waiting[place]))
            if on_settled is not None:
                on_settled(len(responses), len(waiting))

    await _together([work() for _ in range(min(batch_size, len(waiting)))])
    return [responses[place] for place in range(len(waiting))]


async def result_or_cancel(submitting: Awaitable[AsyncJobHandle]) -> ChatResponse:
    """The result of the job that is submitted; if nobody waits for it any more, the job is cancelled, also
    when that is before the submission has come back: by then a worker may have begun.
    """
    submitted = asyncio.ensure_future(submitting)
    try:
        return await (await asyncio.shield(submitted)).result()
    except asyncio.CancelledError:
        with suppress(PalaverError):
            await (await submitted).cancel()
        raise


async def _together(works: list[Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            if not task.cancelling():  # a second time would interrupt it where it cancels its job
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
