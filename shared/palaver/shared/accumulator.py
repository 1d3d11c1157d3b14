"""The rule by which events become an answer, once for all readers: pure, events in, state and chunks out."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

from palaver.shared.errors import (
    ErrorInfo,
    JobCancelledError,
    JobError,
    JobExpiredError,
    PalaverError,
)
from palaver.shared.events import (
    AnyEvent,
    JobQueued,
    ReasoningChunk,
    Resync,
    StreamEnd,
    StreamEndData,
    StreamStart,
    TextChunk,
    ToolCallEvent,
    ToolResult,
    Widget,
    WidgetData,
)
from palaver.shared.jobs import FinishReason, Status
from palaver.shared.messages import ToolCall
from palaver.shared.responses import ChatResponse, StreamChunk, Usage

_ENDS: Final[dict[Status, type[PalaverError]]] = {
    Status.FAILED: JobError,
    Status.CANCELLED: JobCancelledError,
    Status.EXPIRED: JobExpiredError,
}


def end_error(status: Status, info: ErrorInfo | None, *, job_id: str | None = None) -> PalaverError | None:
    """The error of a job that ended like this; None for a completed one."""
    if info is not None:
        return info.exception()
    kind = _ENDS.get(status)
    return kind(job_id=job_id) if kind else None


class Accumulator:
    """What a job's events add up to. Feed them in the order of the log.

    It is of one job: the one that is named, else the first that it is fed. Events of others, and events
    already seen, are skipped.
    """

    def __init__(self, job_id: str | None = None) -> None:
        self.job_id = job_id
        self.seq = 0
        self.attempt = 0
        self.status = Status.QUEUED
        self.position: int | None = None
        self.model: str | None = None
        self.provider: str | None = None
        self.tool_calls: list[ToolCall] = []
        self.widgets: list[WidgetData] = []
        self.end: StreamEndData | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []

    @property
    def text(self) -> str:
        """The answer so far."""
        return _joined(self._text)

    @property
    def reasoning(self) -> str:
        """The thoughts so far."""
        return _joined(self._reasoning)

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self.status.ended

    @property
    def usage(self) -> Usage | None:
        """The tokens, known at the end."""
        if self.end is None:
            return None
        return self.end.usage or (self.end.response.usage if self.end.response else None)

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, known at the end."""
        if self.end is None:
            return None
        return self.end.finish_reason or (self.end.response.finish_reason if self.end.response else None)

    @property
    def error(self) -> PalaverError | None:
        """The error of a job that ended otherwise than completed."""
        return end_error(self.status, self.end.error if self.end else None, job_id=self.job_id)

    @property
    def response(self) -> ChatResponse:
        """The response: the whole one at the end, before that what there is, without usage."""
        if self.end is not None and self.end.response is not None:
            return self.end.response
        error = self.error
        known: dict[str, Any] = {
            "content": self.text,
            "reasoning": self.reasoning or None,
            "tool_calls": list(self.tool_calls),
            "model": self.model,
            "provider": self.provider,
            "usage": self.usage,
        }
        if error is not None:
            return ChatResponse.failed(error, **known)
        return ChatResponse(finish_reason=_finish_reason(self.finish_reason), **known)

    def feed(self, event: AnyEvent) -> tuple[StreamChunk, ...]:
        """Take an event; the chunks that it adds to the stream, mostly one or none."""
        if self.job_id is None:
            self.job_id = event.job_id or None
        # What a reader makes itself, a resync and the end after it, has no seq of its own.
        old = event.seq <= self.seq and not isinstance(event, Resync | StreamEnd)
        if event.job_id != self.job_id or old or self.done:
            return ()
        self.seq = event.seq
        self.attempt = max(self.attempt, event.attempt)
        take = self._TAKE.get(type(event))
        return take(self, event) if take else ()

    def _queued(self, event: JobQueued) -> tuple[StreamChunk, ...]:
        self.position = event.data.position
        return ()

    def _start(self, event: StreamStart) -> tuple[StreamChunk, ...]:
        self.status = Status.RUNNING
        self.model = event.data.model or self.model
        self.provider = event.data.provider or self.provider
        if event.data.offset:
            # no-op unless the log and this reader disagree; then the log is right
            self._text = [self.text[: event.data.offset]]
            return ()
        return (StreamChunk(event.seq, reset=True),) if self._drop() else ()

    def _chunk(self, event: TextChunk) -> tuple[StreamChunk, ...]:
        self.status = Status.RUNNING
        self._text.append(event.data.delta)
        return (StreamChunk(event.seq, event.data.delta, raw=event.data.raw),)

    def _thought(self, event: ReasoningChunk) -> tuple[StreamChunk, ...]:
        self.status = Status.RUNNING
        self._reasoning.append(event.data.delta)
        return (StreamChunk(event.seq, event.data.delta, "reasoning", raw=event.data.raw),)

    def _call(self, event: ToolCallEvent) -> tuple[StreamChunk, ...]:
        self.tool_calls.append(ToolCall.validated(event.data.model_dump(include={"id", "name", "arguments"})))
        return ()

    def _result(self, event: ToolResult) -> tuple[StreamChunk, ...]:
        # `tool_calls` are those that nobody has answered, as in the response
        self.tool_calls = [call for call in self.tool_calls if call.id != event.data.id]
        return ()

    def _widget(self, event: Widget) -> tuple[StreamChunk, ...]:
        self.widgets.append(event.data)
        return ()

    def _resync(self, event: Resync) -> tuple[StreamChunk, ...]:
        data = event.data
        had, thought = self.text, self.reasoning
        if not (data.text.startswith(had) and data.reasoning.startswith(thought)):
            had = thought = ""
        dropped = self._drop() and not (had or thought)
        # The end itself comes as a stream_end: a reader must get it from there, with its response.
        self.status = Status.RUNNING if data.status.ended else data.status
        self._text, self._reasoning = [data.text], [data.reasoning]
        # What a reader has already, and still holds, is not said to it again.
        text, thoughts = data.text[len(had) :], data.reasoning[len(thought) :]
        chunks = [StreamChunk(event.seq, text, reset=dropped)] if text or dropped else []
        if thoughts:
            chunks.append(StreamChunk(event.seq, thoughts, "reasoning"))
        return tuple(chunks)

    def _end(self, event: StreamEnd) -> tuple[StreamChunk, ...]:
        self.status, self.end = event.data.status, event.data
        if event.data.text is not None:
            self._text = [event.data.text]
        if event.data.reasoning is not None:
            self._reasoning = [event.data.reasoning]
        return (StreamChunk(event.seq, done=True, finish_reason=self.finish_reason, usage=self.usage),)

    def _drop(self) -> bool:
        """Forget all that an attempt wrote; whether there was anything of it in the stream."""
        had = bool(self._text or self._reasoning)
        self._text, self._reasoning, self.tool_calls, self.widgets = [], [], [], []
        return had

    _TAKE: ClassVar[dict[type, Callable[[Any, Any], tuple[StreamChunk, ...]]]] = {
        JobQueued: _queued,
        StreamStart: _start,
        TextChunk: _chunk,
        ReasoningChunk: _thought,
        ToolCallEvent: _call,
        ToolResult: _result,
        Widget: _widget,
        Resync: _resync,
        StreamEnd: _end,
    }


def accumulate(events: Iterable[AnyEvent], job_id: str | None = None) -> Accumulator:
    """The state after these events."""
    state = Accumulator(job_id)
    for event in events:
        state.feed(event)
    return state


def _joined(parts: list[str]) -> str:
    # collapsed in place: a reader that looks after every chunk must not pay for all of them again
    if len(parts) > 1:
        parts[:] = ["".join(parts)]
    return parts[0] if parts else ""


def _finish_reason(reason: str | None) -> FinishReason | None:
    return FinishReason(reason) if reason and reason in FinishReason.__members__.values() else None
