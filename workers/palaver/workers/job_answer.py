"""What one job has said so far: parts of a provider's stream come in, events go to the writer, a response
comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from palaver.shared.errors import ErrorInfo, MalformedStreamError, PalaverError, ValidationError
from palaver.shared.events import RetryData, StreamEndData, ToolCallData, WarningData
from palaver.shared.jobs import FinishReason, Status
from palaver.shared.messages import ToolCall
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import ChatResponse, Usage
from palaver.workers.providers.parts import (
    FinishPart,
    MetadataPart,
    Part,
    RawPart,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
)
from palaver.workers.publisher import Writer

__all__ = ["JobAnswer"]


class JobAnswer:
    """One job's answer, over all the requests that it takes. Its text lives in the writer, once."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.ref: ModelRef | None = None  # the model that is being asked
        self.begun = False  # the request that is going on has written something
        self.finished = False  # and its answer is whole
        self.tool_calls: list[ToolCall] = []
        self._offset = 0
        self._thought_through = False  # readers have the reasoning before the text that goes on
        self._inherited = bool(writer.said)  # an earlier attempt wrote, and only its text is known
        self._model: str | None = None  # the name under which the model answered
        self._usage_before: Usage | None = None  # of earlier requests
        self._usage: Usage | None = None
        self._reason: FinishReason | None = None
        self._raw: Any = None
        self._metadata: dict[str, Any] = {}
        self._warned: set[tuple[str, str | None]] = set()
        self._take: dict[type, Callable[[Any], None]] = {
            ToolCallPart: self._tool_call,
            UsagePart: self._count,
            RawPart: self._keep_raw,
            MetadataPart: self._keep_metadata,
            WarningPart: self._warn,
            FinishPart: self._finish,
        }

    @property
    def text(self) -> str:
        return self.writer.said.decode()

    @property
    def usage(self) -> Usage | None:
        """What is known to have been spent, failed requests included."""
        if self._usage is None:
            return self._usage_before
        return self._usage.plus(self._usage_before)

    def is_whole_only(self, *, tools: bool) -> bool:
        """Whether the answer so far has parts, or may have them, that no text goes on from: tool calls.

        Those of an earlier attempt are in the log only, so an answer that may have some begins anew.
        """
        return bool(self.tool_calls) or (tools and self._inherited)

    def request(self, ref: ModelRef, offset: int) -> None:
        """Another request begins; its `stream_start` is written with its first part, at this offset."""
        self._usage_before, self._usage = self.usage, None
        self.ref, self._offset, self._model = ref, offset, None
        self._thought_through = offset > 0 and bool(self.writer.thought)
        self.begun = self.finished = False

    def take(self, parts: list[Part]) -> None:
        """The parts of one network read: the hot path."""
        writer = self.writer
        for part in parts:
            kind = type(part)
            if kind is TextDelta:
                if not self.begun:
                    self._begin()
                writer.text(part.text, part.raw)  # type: ignore[union-attr]
            elif kind is ReasoningDelta:
                if self._thought_through:
                    continue
                if not self.begun:
                    self._begin()
                writer.reasoning(part.text, part.raw)  # type: ignore[union-attr]
            else:
                self._take[kind](part)

    def warn(self, code: str, message: str, param: str | None = None) -> None:
        """Tell readers, once, that something is left out."""
        if (code, param) not in self._warned:
            self._warned.add((code, param))
            data = WarningData(code=code, param=param, message=message)
            self.writer.event("warning", data.model_dump(mode="json", exclude_none=True))

    def retry(self, error: PalaverError, delay: float, ref: ModelRef) -> None:
        """Tell readers that the job goes on after a failure."""
        data = RetryData(error=ErrorInfo.of(error), delay=delay, model=str(ref))
        self.writer.event("retry", data.model_dump(mode="json", exclude_none=True))

    def result(self, error: PalaverError | None) -> tuple[ChatResponse, PalaverError | None]:
        """The result as it stands, whole or partial; and why partial: `error`, or what is found now."""
        try:
            return self._response(error), error
        except ValidationError as unfit:
            self.drop_extras()
            return self._response(unfit), unfit

    def drop_extras(self) -> None:
        """Forget what a provider said beside the text: no reader could read it. The text is kept."""
        self._raw, self._metadata, self._model, self.tool_calls = None, {}, None, []

    def _response(self, error: PalaverError | None) -> ChatResponse:
        fields: dict[str, Any] = {
            "content": self.text,
            "reasoning": self.writer.thought.decode() or None,
            "usage": self.usage,
            "model": self._model or (self.ref.model if self.ref else None),
            "provider": self.ref.profile if self.ref else None,
            "tool_calls": self.tool_calls,
            "metadata": self._metadata,
            "raw": self._raw,
        }
        if error is not None:
            return ChatResponse.failed(error, **fields)
        return ChatResponse(finish_reason=self._reason, **fields)

    def end(self, status: Status, response: ChatResponse, error: PalaverError | None) -> bytes:
        """The `stream_end` of this result, as the inner part of an event."""
        known = {"status": status, "usage": response.usage, "finish_reason": response.finish_reason}
        if error is None:
            data = StreamEndData(response=response, **known)
        else:
            partial = {"text": response.content, "reasoning": response.reasoning}
            data = StreamEndData(error=ErrorInfo.of(error), **partial, **known)
        return b'"type":"stream_end","data":' + data.to_json()

    def _begin(self) -> None:
        assert self.ref is not None  # noqa: S101 - `request` came before any part
        self.begun = True
        self.writer.start(model=self.ref.model, provider=self.ref.profile, offset=self._offset)
        if self._offset == 0:
            self.tool_calls, self._inherited = [], False

    def _tool_call(self, part: ToolCallPart) -> None:
        if not self.begun:
            self._begin()
        try:
            call = ToolCall(id=part.id, name=part.name, arguments=part.arguments)
        except ValidationError as unfit:
            raise MalformedStreamError(f"the provider's call of a tool is none: {unfit.message}") from None
        self.tool_calls.append(call)
        self.writer.event("tool_call", ToolCallData(**call.model_dump()).model_dump(mode="json"))

    def _count(self, part: UsagePart) -> None:
        self._usage = part.usage

    def _keep_raw(self, part: RawPart) -> None:
        self._raw = orjson.loads(part.body)

    def _keep_metadata(self, part: MetadataPart) -> None:
        self._metadata.update(part.data)

    def _warn(self, part: WarningPart) -> None:
        self.warn(part.code, part.message, part.param)

    def _finish(self, part: FinishPart) -> None:
        if not self.begun:
            self._begin()  # an empty answer is an answer: it replaces what readers had
        try:
            self._reason = FinishReason(part.reason)
        except ValueError:
            raise MalformedStreamError(
                "the provider ended its answer for a reason that is none of ours"
            ) from None
        self._model, self.finished = part.model, True
