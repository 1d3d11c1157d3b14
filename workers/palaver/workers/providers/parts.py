"""What a provider's answer is made of, whatever the dialect: the vocabulary between decoders and the runner.

A delta is another type than a whole: texts come in pieces, tool calls only when they are complete.
The structs are plain (msgspec, no garbage collector tracking), because one is made for every chunk of
every stream.
"""

from typing import Any

import msgspec

from palaver.shared.responses import Usage


class TextDelta(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """A piece of the visible answer; `raw` is the provider's own event as JSON, if the job asked for it."""

    text: str
    raw: bytes | None = None


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False, tag="reasoning"):
    """A piece of the model's thinking, never part of the visible answer."""

    text: str
    raw: bytes | None = None


class ToolCallPart(msgspec.Struct, frozen=True, tag="tool_call"):
    """One complete call. `arguments` is an object, or the model's own text where that is no JSON object.

    A call with text arguments must never be executed: tell the model what was wrong with it instead.
    """

    id: str
    name: str
    arguments: dict[str, Any] | str


class UsagePart(msgspec.Struct, frozen=True, tag="usage"):
    """Token counts of the whole request so far; a later one replaces an earlier one."""

    usage: Usage


class RawPart(msgspec.Struct, frozen=True, tag="raw"):
    """The provider's whole body as JSON (`return_raw`, answers that came in one piece)."""

    body: bytes


class MessagePart(msgspec.Struct, frozen=True, tag="message"):
    """Fields that the provider wants back in the assistant message when the job goes on after this answer,
    such as signed thinking; under names of their own. Of `thinking_blocks` readers are told too, since
    clients of Anthropic's API send them back themselves; of all others nobody is.
    """

    fields: dict[str, Any]


class MetadataPart(msgspec.Struct, frozen=True, tag="metadata"):
    """Values for the response's metadata, such as the other choices of a request with `n` above 1."""

    data: dict[str, Any]


class WarningPart(msgspec.Struct, frozen=True, tag="warning"):
    """Something that was asked for and cannot be done, and is left out."""

    code: str
    message: str
    param: str | None = None


class FinishPart(msgspec.Struct, frozen=True, tag="finish"):
    """The last part of every whole answer: why it ended, and the model that says it answered."""

    reason: str
    model: str | None = None


Part = (
    TextDelta
    | ReasoningDelta
    | ToolCallPart
    | UsagePart
    | RawPart
    | MessagePart
    | MetadataPart
    | WarningPart
    | FinishPart
)
