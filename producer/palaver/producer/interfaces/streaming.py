"""Streams of `Chat`: iterators, and what they have added up to so far."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Protocol, Self

from palaver.shared.messages import ToolCall
from palaver.shared.responses import ChatResponse, ChatResult, ChatStreamChunk, StreamChunk, Usage


class Answer(Protocol):
    """What chunks add up to, as an `Accumulator` knows it."""

    @property
    def text(self) -> str: ...
    @property
    def reasoning(self) -> str: ...
    @property
    def tool_calls(self) -> list[ToolCall]: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def done(self) -> bool: ...
    @property
    def response(self) -> ChatResponse: ...


class StreamingResult:
    """The answer so far; whole when `done`. Usage and finish reason are known at the end."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def text(self) -> str:
        """All text so far."""
        return self._answer.text

    @property
    def reasoning(self) -> str | None:
        """All thoughts so far, also those that the iterator leaves out."""
        return self._answer.reasoning or None

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls that nobody has answered."""
        return list(self._answer.tool_calls)

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped."""
        return self._answer.finish_reason

    @property
    def usage(self) -> Usage | None:
        """The tokens."""
        return self._answer.usage

    @property
    def done(self) -> bool:
        """Whether nothing will follow."""
        return self._answer.done

    def to_chat_result(self) -> ChatResult:
        """The result as a call without streaming gives it."""
        return ChatResult.of(self._answer.response)

    def __repr__(self) -> str:
        return f"StreamingResult({len(self.text)} characters{', done' if self.done else ''})"


class _Stream:
    """What both iterators know."""

    def __init__(self, answer: Answer, *, include_reasoning: bool = False) -> None:
        self.result = StreamingResult(answer)
        self._include_reasoning = include_reasoning

    def _view(self, chunk: StreamChunk) -> ChatStreamChunk | None:
        # A reset is told whatever else the chunk has: what came before it no longer holds.
        if chunk.kind == "reasoning" and not self._include_reasoning and not chunk.reset:
            return None
        return ChatStreamChunk.of(chunk, self.result.tool_calls if chunk.done else ())


class StreamingIterator(_Stream):
    """The chunks of an answer, live; raises the job's own error after the last one of a job that failed."""

    def __init__(
        self, chunks: Generator[StreamChunk, None, None], answer: Answer, *, include_reasoning: bool = False
    ) -> None:
        super().__init__(answer, include_reasoning=include_reasoning)
        self._chunks = chunks

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChatStreamChunk:
        for chunk in self._chunks:
            if (view := self._view(chunk)) is not None:
                return view
        raise StopIteration

    def close(self) -> None:
        """Read no more. The job goes on."""
        self._chunks.close()


class AsyncStreamingIterator(_Stream):
    """As `StreamingIterator`, for `async for`."""

    def __init__(
        self, chunks: AsyncGenerator[StreamChunk, None], answer: Answer, *, include_reasoning: bool = False
    ) -> None:
        super().__init__(answer, include_reasoning=include_reasoning)
        self._chunks = chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatStreamChunk:
        async for chunk in self._chunks:
            if (view := self._view(chunk)) is not None:
                return view
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Read no more. The job goes on."""
        await self._chunks.aclose()
