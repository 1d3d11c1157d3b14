"""A message that is sent when somebody wants its answer, whole or piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from palaver.producer.handles import AsyncJobHandle
from palaver.shared.errors import ChatError, OllamaError, ProviderError
from palaver.shared.responses import Response, StreamChunk


class Sending:
    """`await` it for the Response, `async for` over it for the chunks of the answer's text, or both.

    It is sent by the first of these, and once; one that nobody wants is never sent. What goes wrong at the
    provider is a ChatError, a model that is not there a ModelNotFoundError.
    """

    def __init__(self, submit: Callable[[], Awaitable[AsyncJobHandle]]) -> None:
        self._submit = submit
        self._sent: asyncio.Future[AsyncJobHandle] | None = None

    def __await__(self) -> Generator[Any, None, Response]:
        return self._response().__await__()

    def __aiter__(self) -> AsyncGenerator[StreamChunk, None]:
        return self._chunks()

    async def handle(self) -> AsyncJobHandle:
        """The job, sent by this if it was not yet."""
        if self._sent is None:
            self._sent = asyncio.ensure_future(self._submit())
        # Who waits may be cancelled; what is sent is sent for others too.
        return await asyncio.shield(self._sent)

    async def _response(self) -> Response:
        with chat_errors():
            return Response.of(await (await self.handle()).result())

    async def _chunks(self) -> AsyncGenerator[StreamChunk, None]:
        with chat_errors():
            async with aclosing((await self.handle()).chunks()) as chunks:
                async for chunk in chunks:
                    if chunk.kind == "text":
                        yield chunk


@contextmanager
def chat_errors() -> Iterator[None]:
    """What goes wrong at a provider becomes a ChatError, whose `context` says what it was; the cause is kept.

    OllamaError and its subclasses, ModelNotFoundError among them, stay what they are.
    """
    try:
        yield
    except OllamaError:
        raise
    except ProviderError as error:
        problem = ChatError(
            error.message,
            {"type": error.type, "code": error.code},
            job_id=error.job_id,
            provider=error.provider,
            status_code=error.status_code,
            retry_after=error.retry_after,
            retryable=error.retryable,
        )
        problem.response = error.response
        raise problem from error
