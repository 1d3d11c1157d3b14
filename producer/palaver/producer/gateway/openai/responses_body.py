"""Bodies of requests to OpenAI's responses.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from palaver.producer.gateway.shapes import Open, TextOr, kind_of, of_types
from palaver.shared.jobs import MAX_TOOLS
from palaver.shared.plain import Flag, Integer, Items, JsonObject, JsonValue, Names, Real, Text, refuse, shape

_ITEMS: Final = ("message", "function_call", "function_call_output", "reasoning")


class TextPart(Open):
    """Text of a message."""

    type: Literal["input_text", "output_text", "text"]
    text: Text


class ImagePart(Open):
    """An image, by its address or as a `data:` URL; none of a file."""

    type: Literal["input_image"]
    image_url: Text
    detail: Text | None = None


_PARTS: Final = ("input_text", "output_text", "text", "input_image")


def _part_kind(value: Any) -> str | None:
    tag = kind_of(value)
    return "[input_image]" if tag == "[input_image]" else "[text]" if tag else None


Part: TypeAlias = Annotated[
    Annotated[TextPart, Tag("[text]")] | Annotated[ImagePart, Tag("[input_image]")],
    Discriminator(_part_kind),
    BeforeValidator(of_types(*_PARTS)),
]


class MessageItem(Open):
    """What somebody said."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: TextOr[Part]


class CallItem(Open):
    """The model has called a tool; `arguments` is JSON text."""

    type: Literal["function_call"]
    call_id: Text
    name: Annotated[Text, Field(min_length=1)]
    arguments: Text


class OutputItem(Open):
    """What a tool has answered."""

    type: Literal["function_call_output"]
    call_id: Text
    output: TextOr[Part]


class ReasoningItem(Open):
    """What the model thought, which is not told to it again."""

    type: Literal["reasoning"]


def _item_kind(value: Any) -> str | None:
    if isinstance(value, Mapping) and "type" not in value:
        return "[message]"
    return kind_of(value)


def _item(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("type", "message") not in _ITEMS:
        refuse("type", f"must be {' or '.join(_ITEMS)}: others are not taken")
    if not isinstance(value, Mapping | Open):
        raise ValueError(f"must be an object, not {shape(value)}")
    return value


Item: TypeAlias = Annotated[
    Annotated[MessageItem, Tag("[message]")]
    | Annotated[CallItem, Tag("[function_call]")]
    | Annotated[OutputItem, Tag("[function_call_output]")]
    | Annotated[ReasoningItem, Tag("[reasoning]")],
    Discriminator(_item_kind),
    BeforeValidator(_item),
]


class Tool(Open):
    """A function of the client's. Tools that OpenAI runs itself have another `type`, and are not offered."""

    type: Text
    name: Text | None = None
    description: Text | None = None
    parameters: JsonObject | None = None
    strict: Flag | None = None


class TextOptions(Open):
    """Which form the answer's text is to have."""

    format: JsonObject | None = None
    verbosity: Text | None = None


class Reasoning(Open):
    """How much the model is to think."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


class Prompt(Open):
    """What a model is told. `model` is `profile/model` or an alias, or left out: then the default answers."""

    input: TextOr[Item]
    model: Text | None = None
    instructions: Text | None = None
    previous_response_id: Text | None = None
    tools: Annotated[Items[Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: JsonValue | None = None
    parallel_tool_calls: Flag | None = None
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    truncation: Literal["auto", "disabled"] | None = None
    conversation: JsonValue | None = None
    prompt: JsonValue | None = None


class CountRequest(Prompt):
    """How many tokens are this?"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "Hello"}]})


class ResponsesRequest(Prompt):
    """As OpenAI's. A response is kept as long as its job (`PALAVER_RETENTION`), and with `store: false` shown
    to nobody. What would be another request without it is refused: `conversation`, `prompt`,
    `max_tool_calls`, `truncation: auto`, `background` without `store`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "Hello"}]})

    stream: Flag | None = None
    stream_options: JsonObject | None = None
    background: Flag | None = None
    store: Flag | None = None
    include: Names | None = None
    metadata: JsonObject | None = None
    max_output_tokens: Integer | None = None
    max_tool_calls: Integer | None = None
    temperature: Real | None = None
    top_p: Real | None = None
    top_logprobs: Integer | None = None
    user: Text | None = None
