"""Document 001's functions beside `ChatManager`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

from palaver.producer.interfaces.batched import answer_all
from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.options import job_fields
from palaver.producer.interfaces.settled import OnSettled, result_or_cancel
from palaver.shared.errors import ChatError
from palaver.shared.messages import MessageLike
from palaver.shared.plain import refuse, require, shape
from palaver.shared.responses import ChatResponse

log = logging.getLogger("palaver.producer")

C = TypeVar("C")
T = TypeVar("T")
R = TypeVar("R")

RETRY_SECONDS: Final = 1.0


async def process_stream(stream: AsyncIterable[C], handler: Callable[[C], T]) -> list[T]:
    """What the handler makes of each chunk, in order. An error of the handler's closes the stream.

    Raises ValidationError for what is no stream, and no function.
    """
    require("stream", stream, AsyncIterable, "an async iterable")
    require("handler", handler, Callable, "a function")
    chunks = aiter(stream)
    try:
        return [handler(chunk) async for chunk in chunks]
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def safe_chat_operation(operation: Callable[[], Awaitable[R]], max_retries: int = 3) -> R:
    """The operation's result, after at most `max_retries` attempts in all, a second apart.

    Only a ChatError is worth another attempt; the last one is raised. Raises ValidationError for a
    `max_retries` below 1.
    """
    require("operation", operation, Callable, "a function")
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 1:
        refuse("max_retries", f"must be a number of attempts, 1 or more, not {shape(max_retries)}")
    for attempt in range(1, max_retries):
        try:
            return await operation()
        except ChatError as error:
            log.warning(f"Retry {attempt}/{max_retries}: {error}")
        await asyncio.sleep(RETRY_SECONDS)
    return await operation()


async def process_message_batch(
    messages: Iterable[MessageLike],
    batch_size: int = 10,
    *,
    raise_on_error: bool = False,
    on_settled: OnSettled | None = None,
    clients: Clients | None = None,
    **options: Any,
) -> list[ChatResponse]:
    """The answers to all messages, in their order; at most `batch_size` run at once. They are one batch where
    there is a store of files, else jobs.

    One that fails is an error response, or, with `raise_on_error`, its error is raised once all are settled.
    Options are parameters or fields of the jobs. Cancelled, or left by an error of `on_settled`, it cancels
    what runs. Raises ValidationError for a `batch_size` below 1.
    """
    client = (clients or Clients.of_process()).awaited
    fields = job_fields(options)

    async def ask(message: MessageLike) -> ChatResponse:
        return await result_or_cancel(client.submit(message, **fields))

    responses = await answer_all(
        client, messages, fields, ask, name="messages", batch_size=batch_size, on_settled=on_settled
    )
    if raise_on_error:
        for info in (response.error_info for response in responses):
            if info is not None:
                raise info.exception()
    return responses
