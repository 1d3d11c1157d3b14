"""The events of a session's log: a tagged union, one class per type. Text is data, never known to a repr."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, Union, get_args

import orjson
from pydantic import ConfigDict, Field

from palaver.shared.contract import VERSION
from palaver.shared.document import Document
from palaver.shared.errors import ErrorInfo, ValidationError
from palaver.shared.jobs import Status
from palaver.shared.plain import Flag, Integer, JsonObject, JsonValue, Real, Text, optional, shape
from palaver.shared.responses import ChatResponse, Usage

Count = Annotated[Integer, Field(ge=0)]


class Data(Document):
    """What an event tells. A newer worker may tell more: unknown keys are kept."""

    model_config = ConfigDict(extra="allow")


class BaseEvent(Document):
    """What all events have. `seq` is dense per session and is the cursor; `time` is the server's, in Unix
    seconds.

    `attempt` is 0 for events that no worker wrote, `job_id` is empty for what a reader says of its session.
    `v` is the version of the contract.
    """

    model_config = ConfigDict(extra="allow")

    seq: Count
    v: Annotated[Integer, Field(ge=1)] = VERSION
    session_id: Text
    job_id: Text
    attempt: Count = 0
    time: Real = 0.0


class JobQueuedData(Data):
    """`position`: jobs ahead in this session."""

    position: Count = 0


class JobQueued(BaseEvent):
    """A job was submitted, or the number of jobs ahead of it changed."""

    type: Literal["job_queued"] = "job_queued"
    data: JobQueuedData = Field(default_factory=JobQueuedData)


class StreamStartData(Data):
    """`offset`: Unicode code points of the text that stay; at 0 readers drop all they have of the job."""

    model: Text | None = optional()
    provider: Text | None = optional()
    offset: Count = 0
    metadata: JsonObject = Field(default_factory=dict)


class StreamStart(BaseEvent):
    """An attempt begins to write, or a stream of an agent in it."""

    type: Literal["stream_start"] = "stream_start"
    data: StreamStartData = Field(default_factory=StreamStartData)


class DeltaData(Data):
    """A piece of text; `raw` is the provider's event, if asked for."""

    delta: Text
    raw: JsonValue = optional()


class TextChunk(BaseEvent):
    """A piece of the answer."""

    type: Literal["text_chunk"] = "text_chunk"
    data: DeltaData


class ReasoningChunk(BaseEvent):
    """A piece of what the model thought."""

    type: Literal["reasoning_chunk"] = "reasoning_chunk"
    data: DeltaData


class ThinkingBlockData(Data):
    """`block` is what the provider wants back, without its words: `type`, `signature` or `data`. `length`:
    the words are the last so many characters of the reasoning.
    """

    block: JsonObject
    length: Count = 0

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> Self:
        """That of a block as the provider gave it."""
        told = {name: value for name, value in block.items() if name != "thinking"}
        return cls(block=told, length=len(block.get("thinking") or ""))


class ThinkingBlock(BaseEvent):
    """A block of what the model thought is whole, and signed by its provider."""

    type: Literal["thinking_block"] = "thinking_block"
    data: ThinkingBlockData


class ContentData(Data):
    """An object and what it is."""

    content_type: Text
    data: JsonValue = optional()


class Content(BaseEvent):
    """An image, metadata or another object from an agent."""

    type: Literal["content"] = "content"
    data: ContentData


class ToolCallData(Data):
    """A complete call; `arguments` is an object, or the raw text when that was none."""

    id: Text
    name: Text
    arguments: JsonObject | Text = Field(default_factory=dict)


class ToolCallEvent(BaseEvent):
    """The model calls a tool."""

    type: Literal["tool_call"] = "tool_call"
    data: ToolCallData


class ToolResultData(Data):
    """What the tool answered to the call of this id."""

    id: Text
    name: Text | None = optional()
    content: JsonValue = optional()
    is_error: Flag = False


class ToolResult(BaseEvent):
    """A tool has answered."""

    type: Literal["tool_result"] = "tool_result"
    data: ToolResultData


class WidgetData(Data):
    """A component's kind and its data."""

    widget_type: Text
    data: JsonValue = optional()


class Widget(BaseEvent):
    """An agent shows a component."""

    type: Literal["widget"] = "widget"
    data: WidgetData


class ProgressData(Data):
    """So much of so much is done."""

    done: Count = 0
    total: Count | None = optional()
    message: Text | None = optional()


class Progress(BaseEvent):
    """A batch, a chain or a continued answer goes on."""

    type: Literal["progress"] = "progress"
    data: ProgressData = Field(default_factory=ProgressData)


class WarningData(Data):
    """`code` is stable, `param` names the field concerned."""

    code: Text
    param: Text | None = optional()
    message: Text = ""


class WarningEvent(BaseEvent):
    """Something that was asked for cannot be done and is left out."""

    type: Literal["warning"] = "warning"
    data: WarningData


class RetryData(Data):
    """The error, the wait in seconds, and the model that is tried next."""

    error: ErrorInfo
    delay: Annotated[Real, Field(ge=0)] = 0.0
    model: Text | None = optional()


class Retry(BaseEvent):
    """A provider failed and the job goes on."""

    type: Literal["retry"] = "retry"
    data: RetryData


class ResyncData(Data):
    """Everything of the job so far; replaces what a reader had of it. `seq` is the log's last."""

    seq: Count
    text: Text = ""
    reasoning: Text = ""
    status: Status = Status.RUNNING


class Resync(BaseEvent):
    """The log no longer holds a reader's cursor. Never logged: the reader's library makes it."""

    type: Literal["resync"] = "resync"
    data: ResyncData


class StreamEndData(Data):
    """How the job ended: `response` if it completed, else `error` with the partial `text` and `reasoning`."""

    status: Literal[Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED]
    response: ChatResponse | None = optional()
    error: ErrorInfo | None = optional()
    text: Text | None = optional()
    reasoning: Text | None = optional()
    usage: Usage | None = optional()
    finish_reason: Text | None = optional()


class StreamEnd(BaseEvent):
    """The job has ended: once per job, its last event."""

    type: Literal["stream_end"] = "stream_end"
    data: StreamEndData


class OtherEvent(BaseEvent):
    """An event of a type that a newer worker knows and this reader does not."""

    type: Text
    data: JsonObject = Field(default_factory=dict)


Event: TypeAlias = Annotated[
    JobQueued
    | StreamStart
    | TextChunk
    | ReasoningChunk
    | ThinkingBlock
    | Content
    | ToolCallEvent
    | ToolResult
    | Widget
    | Progress
    | WarningEvent
    | Retry
    | Resync
    | StreamEnd,
    Field(discriminator="type"),
]
AnyEvent: TypeAlias = Union[Event, OtherEvent]  # noqa: UP007 -- "|" does not take an Annotated alias in mypy

EVENT_TYPES: Final[dict[str, type[BaseEvent]]] = {
    kind.model_fields["type"].default: kind for kind in get_args(get_args(Event)[0])
}
"""The class of each event type."""


def parse_event(event: bytes | str | Mapping[str, Any]) -> AnyEvent:
    """The event of a log entry or a channel message.

    An unknown type gives an `OtherEvent`; only what is no event at all raises ValidationError.
    """
    document = _loads(event) if isinstance(event, bytes | str) else event
    if not isinstance(document, Mapping):
        raise ValidationError(f"an event must be a JSON object, not {shape(document)}")
    kind = document.get("type")
    cls: Any = EVENT_TYPES.get(kind, OtherEvent) if isinstance(kind, str) else OtherEvent
    parsed: AnyEvent = cls.validated(document)
    return parsed


def _loads(event: bytes | str) -> Any:
    try:
        return orjson.loads(event)
    except orjson.JSONDecodeError:
        pass
    raise ValidationError("an event is not valid JSON")
