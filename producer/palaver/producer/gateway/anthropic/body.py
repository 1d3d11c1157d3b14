"""Bodies of requests to Anthropic's messages API.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from palaver.producer.gateway.shapes import Open, TextOr, kind_of, of_types
from palaver.shared.jobs import MAX_TOOLS
from palaver.shared.plain import Flag, Integer, Items, JsonObject, Names, Real, Text, refuse

_MESSAGES: Final = [{"role": "user", "content": "Hello"}]
_EXAMPLE: Final[dict[str, Any]] = {"model": "scripted/echo", "max_tokens": 100, "messages": _MESSAGES}


class Block(Open):
    """A piece of a message. `cache_control`: the prompt up to here is to be cached."""

    cache_control: JsonObject | None = None


class TextBlock(Block):
    """Text."""

    type: Literal["text"]
    text: Text


def _of_image(media_type: str) -> str:
    if not media_type.startswith("image/"):
        refuse("", f"must be an image's, not {media_type[:64]!r}")
    return media_type


class InlineSource(Open):
    """The image itself, in Base64."""

    type: Literal["base64"]
    media_type: Annotated[Text, AfterValidator(_of_image)]
    data: Text

    @property
    def url(self) -> str:
        """As an address."""
        return f"data:{self.media_type};base64,{self.data}"


class UrlSource(Open):
    """Where the image is."""

    type: Literal["url"]
    url: Text


class ImageBlock(Block):
    """An image."""

    type: Literal["image"]
    source: Annotated[
        Annotated[InlineSource, Tag("[base64]")] | Annotated[UrlSource, Tag("[url]")],
        Discriminator(kind_of),
        BeforeValidator(of_types("base64", "url")),
    ]


TaggedText: TypeAlias = Annotated[TextBlock, Tag("[text]")]
TaggedImage: TypeAlias = Annotated[ImageBlock, Tag("[image]")]


class TextSource(Open):
    """A document's text."""

    type: Literal["text"]
    media_type: Literal["text/plain"] | None = None
    data: Text


class ContentSource(Open):
    """A document's text and images."""

    type: Literal["content"]
    content: TextOr[
        Annotated[
            TaggedText | TaggedImage,
            Discriminator(kind_of),
            BeforeValidator(of_types("text", "image")),
        ]
    ]


class DocumentBlock(Block):
    """A document; PDF is not taken."""

    type: Literal["document"]
    source: Annotated[
        Annotated[TextSource, Tag("[text]")] | Annotated[ContentSource, Tag("[content]")],
        Discriminator(kind_of),
        BeforeValidator(of_types("text", "content", others="PDF and files are not offered")),
    ]
    title: Text | None = None
    context: Text | None = None
    citations: JsonObject | None = None


TaggedDocument: TypeAlias = Annotated[DocumentBlock, Tag("[document]")]
Shown: TypeAlias = Annotated[
    TaggedText | TaggedImage | TaggedDocument,
    Discriminator(kind_of),
    BeforeValidator(of_types("text", "image", "document")),
]


class ToolUseBlock(Block):
    """The model has called a tool."""

    type: Literal["tool_use"]
    id: Text
    name: Annotated[Text, Field(min_length=1)]
    input: JsonObject = Field(default_factory=dict)


class ToolResultBlock(Block):
    """What a tool has answered."""

    type: Literal["tool_result"]
    tool_use_id: Text
    content: TextOr[Shown] | None = None
    is_error: Flag | None = None


class ThinkingBlock(Open):
    """What the model thought; only who gave it can have made the signature."""

    type: Literal["thinking"]
    thinking: Text
    signature: Text | None = None


class RedactedThinkingBlock(Open):
    """What the model thought and nobody is shown."""

    type: Literal["redacted_thinking"]
    data: Text


AnyBlock: TypeAlias = Annotated[
    TaggedText
    | TaggedImage
    | TaggedDocument
    | Annotated[ToolUseBlock, Tag("[tool_use]")]
    | Annotated[ToolResultBlock, Tag("[tool_result]")]
    | Annotated[ThinkingBlock, Tag("[thinking]")]
    | Annotated[RedactedThinkingBlock, Tag("[redacted_thinking]")],
    Discriminator(kind_of),
    BeforeValidator(
        of_types("text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking")
    ),
]


class Turn(Open):
    """A message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: TextOr[AnyBlock]


class Tool(Block):
    """A tool of the client's. Those that Anthropic runs itself have another `type`, and are not offered."""

    type: Text | None = None
    name: Text
    description: Text | None = None
    input_schema: JsonObject | None = None
    strict: Flag | None = None


class ToolChoice(Open):
    """Which tools the model is to use."""

    type: Literal["auto", "any", "tool", "none"]
    name: Text | None = None
    disable_parallel_tool_use: Flag | None = None


class Thinking(Open):
    """Whether the model thinks first: within `max_tokens`, and for so many tokens at most."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Integer | None = None


class Metadata(Open):
    """For whom the request is made."""

    user_id: Text | None = None


class Prompt(Open):
    """What a model is told. `model` is `profile/model` or an alias."""

    model: Text
    messages: Items[Turn]
    system: TextOr[TextBlock] | None = None
    tools: Annotated[Items[Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None


class CountRequest(Prompt):
    """How many tokens are this?"""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE}]})


class MessagesRequest(Prompt):
    """As Anthropic's. Fields that are not named here are sent to the provider as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    max_tokens: Annotated[Integer, Field(ge=1)]
    stream: Flag | None = None
    temperature: Real | None = None
    top_p: Real | None = None
    top_k: Integer | None = None
    stop_sequences: Names | None = None
    metadata: Metadata | None = None
