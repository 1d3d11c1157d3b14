"""Document 004's `Chat`: questions, streams and long answers, without state between the calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, closing
from typing import Unpack

from palaver.producer.handles import AsyncJobHandle, JobHandle
from palaver.producer.interfaces.calls import (
    CallDefaults,
    ChatOptions,
    HistoryLike,
    StreamOptions,
    turn_of,
)
from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.completing import CompleteOptions, CompleteStreamOptions, LongAnswer
from palaver.producer.interfaces.endpoint import Endpoint
from palaver.producer.interfaces.streaming import AsyncStreamingIterator, StreamingIterator
from palaver.shared.accumulator import Accumulator
from palaver.shared.errors import PalaverError
from palaver.shared.jobs import DEFAULT_TIMEOUT, Timeouts
from palaver.shared.messages import MessagesLike
from palaver.shared.responses import ChatResult, StreamChunk


class Chat:
    """A model to talk to. Every call is a job; nothing of it is kept for the next one.

    `model` is `"profile/model"` or an alias; beside an address (`base_url`, `api_key`, `headers`, `proxies`,
    `rate_limit`), which must be that of a configured profile, it is the provider's own name. Times are in
    seconds, `read_timeout_s` between two bytes; `max_retries` counts failed requests.

    Calls raise ValidationError before anything is stored, and the job's own error when it failed.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        model: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT,
        connect_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
        max_retries: int = 0,
        headers: Mapping[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        rate_limit: tuple[float, float] | None = None,
        clients: Clients | None = None,
    ) -> None:
        self._clients = clients or Clients.of_process()
        endpoint = Endpoint(
            base_url=base_url, api_key=api_key, headers=headers, proxies=proxies, rate_limit=rate_limit
        )
        self._defaults = CallDefaults(
            profile=self._clients.profile(endpoint),
            model=model,
            timeouts=_timeouts(timeout_s, connect=connect_timeout_s, read=read_timeout_s),
            max_retries=max_retries,
        )

    @property
    def timeout_s(self) -> float:
        """The read timeout, in seconds."""
        return self._defaults.timeouts.read_seconds

    def __call__(
        self, messages: MessagesLike, *, history: HistoryLike | None = None, **options: Unpack[ChatOptions]
    ) -> ChatResult:
        """The answer to the messages, which come after those of `history`."""
        fields = self._defaults.fields(ChatOptions, options, history)
        return ChatResult.of(self._clients.blocking.submit(messages, wait=True, **fields))

    async def acall(
        self, messages: MessagesLike, *, history: HistoryLike | None = None, **options: Unpack[ChatOptions]
    ) -> ChatResult:
        """As the call itself."""
        fields = self._defaults.fields(ChatOptions, options, history)
        return ChatResult.of(await self._clients.awaited.submit(messages, wait=True, **fields))

    def stream(
        self, messages: MessagesLike, *, history: HistoryLike | None = None, **options: Unpack[StreamOptions]
    ) -> StreamingIterator:
        """The answer piece by piece. Returns as soon as the job is stored."""
        fields = self._defaults.fields(StreamOptions, options, history)
        handle = self._clients.blocking.submit(messages, **fields)
        state = Accumulator(handle.job_id)
        return StreamingIterator(handle.chunks(state), state, include_reasoning=_thinks(options))

    async def astream(
        self, messages: MessagesLike, *, history: HistoryLike | None = None, **options: Unpack[StreamOptions]
    ) -> AsyncStreamingIterator:
        """As `stream`: `async for chunk in await chat.astream(…)`."""
        fields = self._defaults.fields(StreamOptions, options, history)
        handle = await self._clients.awaited.submit(messages, **fields)
        state = Accumulator(handle.job_id)
        return AsyncStreamingIterator(handle.chunks(state), state, include_reasoning=_thinks(options))

    def complete(
        self,
        messages: MessagesLike,
        *,
        history: HistoryLike | None = None,
        **options: Unpack[CompleteOptions],
    ) -> ChatResult:
        """The whole answer, continued while it is truncated.

        Raises ChatIncompleteResponseError when it is so in the end, unless `ensure_complete` is false.
        """
        answer = LongAnswer(self._defaults, ChatOptions, messages, history, options)
        for _ in self._following(answer, self._submit(answer)):
            pass
        return ChatResult.of(answer.response)

    async def acomplete(
        self,
        messages: MessagesLike,
        *,
        history: HistoryLike | None = None,
        **options: Unpack[CompleteOptions],
    ) -> ChatResult:
        """As `complete`."""
        answer = LongAnswer(self._defaults, ChatOptions, messages, history, options)
        async for _ in self._afollowing(answer, await self._asubmit(answer)):
            pass
        return ChatResult.of(answer.response)

    def complete_stream(
        self,
        messages: MessagesLike,
        *,
        history: HistoryLike | None = None,
        **options: Unpack[CompleteStreamOptions],
    ) -> StreamingIterator:
        """As `complete`, piece by piece."""
        answer = LongAnswer(self._defaults, StreamOptions, messages, history, options)
        chunks = self._following(answer, self._submit(answer))
        return StreamingIterator(chunks, answer, include_reasoning=_thinks(options))

    async def acomplete_stream(
        self,
        messages: MessagesLike,
        *,
        history: HistoryLike | None = None,
        **options: Unpack[CompleteStreamOptions],
    ) -> AsyncStreamingIterator:
        """As `complete_stream`: `async for chunk in await chat.acomplete_stream(…)`."""
        answer = LongAnswer(self._defaults, StreamOptions, messages, history, options)
        chunks = self._afollowing(answer, await self._asubmit(answer))
        return AsyncStreamingIterator(chunks, answer, include_reasoning=_thinks(options))

    def chat_with_history(
        self, history: HistoryLike, message: MessagesLike | None = None, **options: Unpack[ChatOptions]
    ) -> ChatResult:
        """The answer to a message after this history; without one, to the history as it is."""
        before, messages = turn_of(history, message)
        return self(messages, history=before, **options)

    def stream_with_history(
        self, history: HistoryLike, message: MessagesLike | None = None, **options: Unpack[StreamOptions]
    ) -> StreamingIterator:
        """As `chat_with_history`, piece by piece."""
        before, messages = turn_of(history, message)
        return self.stream(messages, history=before, **options)

    def _submit(self, answer: LongAnswer) -> JobHandle:
        return self._clients.blocking.submit(answer.messages, **answer.fields)

    async def _asubmit(self, answer: LongAnswer) -> AsyncJobHandle:
        return await self._clients.awaited.submit(answer.messages, **answer.fields)

    def _following(self, answer: LongAnswer, handle: JobHandle) -> Generator[StreamChunk, None, None]:
        again = True
        while again:
            try:
                with closing(handle.chunks(answer.follow(handle.job_id))) as chunks:
                    yield from (chunk for chunk in chunks if not chunk.done)
                again = False
            except PalaverError as error:
                again = answer.after(error)
            if again:
                handle = self._submit(answer)
        yield answer.last_chunk()
        answer.check()

    async def _afollowing(
        self, answer: LongAnswer, handle: AsyncJobHandle
    ) -> AsyncGenerator[StreamChunk, None]:
        again = True
        while again:
            try:
                async with aclosing(handle.chunks(answer.follow(handle.job_id))) as chunks:
                    async for chunk in chunks:
                        if not chunk.done:
                            yield chunk
                again = False
            except PalaverError as error:
                again = answer.after(error)
            if again:
                handle = await self._asubmit(answer)
        yield answer.last_chunk()
        answer.check()


def _timeouts(both: float, *, connect: float | None, read: float | None) -> Timeouts:
    """As the caller named them; who names none leaves a configured profile its own."""
    named = None if both == DEFAULT_TIMEOUT else both
    return Timeouts(connect=named if connect is None else connect, read=named if read is None else read)


def _thinks(options: Mapping[str, object]) -> bool:
    return bool(options.get("include_reasoning"))
