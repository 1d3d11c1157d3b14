"""Messages: what a job says to a model, and what a session remembers."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from palaver.shared.document import Document
from palaver.shared.plain import Items, JsonObject, Text, optional, plain, plain_object, refuse, shape

LONGEST_INPUT: Final = 4096
"""Characters of a `ChatInput` message after stripping."""


class Role(StrEnum):
    """Who speaks. `developer` travels as `system` where a dialect knows no such role."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    DEVELOPER = "developer"


def _role(value: Any) -> Any:
    if isinstance(value, str) and value in Role.__members__.values():
        return value
    raise ValueError(f"must be one of {', '.join(Role)}, not {shape(value)}")


class _Open(Document):
    """A document that keeps keys it does not know, as long as they are JSON."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _plain_extras(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            plain(value, path=name)
        return self


class TextPart(_Open):
    """A piece of text in a list of parts."""

    type: Literal["text"] = "text"
    text: Text


class ImageURL(_Open):
    """Where an image is: an http(s) address or a `data:` URL."""

    url: Annotated[Text, Field(min_length=1)]
    detail: Text | None = optional()


class ImagePart(_Open):
    """An image in a list of parts."""

    type: Literal["image_url"] = "image_url"
    image_url: ImageURL


def _part_type(value: Any) -> str | None:
    name = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    return f"[{name}]" if isinstance(name, str) else None


def _part(value: Any) -> Any:
    if isinstance(value, Document):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a part with a type, not {shape(value)}")
    if value.get("type") not in ("text", "image_url"):
        raise ValueError("must have the type text or image_url")
    return value


Part: TypeAlias = Annotated[
    Annotated[TextPart, Tag("[text]")] | Annotated[ImagePart, Tag("[image_url]")],
    Discriminator(_part_type),
    BeforeValidator(_part),
]


def _content_kind(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return "[string]"
    return "[parts]" if isinstance(value, list | tuple) else None


def _content(value: Any) -> Any:
    if _content_kind(value) is None:
        raise ValueError(f"must be a string or a list of parts, not {shape(value)}")
    return value


Content: TypeAlias = Annotated[
    Annotated[Text | None, Tag("[string]")] | Annotated[Items[Part], Tag("[parts]"), Field(min_length=1)],
    Discriminator(_content_kind),
    BeforeValidator(_content),
]


def _arguments(value: Any) -> Any:
    return value if isinstance(value, str) else plain_object(value)


class ToolCall(Document):
    """A complete call of a tool. `arguments` is an object, or the raw text when that was no JSON object.

    OpenAI's nested form (`{"id", "type": "function", "function": {"name", "arguments"}}`) is taken too.
    """

    id: Text
    name: Annotated[Text, Field(min_length=1)]
    arguments: Annotated[dict[str, Any] | Text, BeforeValidator(_arguments)] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        function = value.get("function") if isinstance(value, Mapping) else None
        if not isinstance(function, Mapping):
            return value
        rest = {k: v for k, v in value.items() if k not in ("function", "type", "index")}
        return {**rest, **function}


class Message(_Open):
    """One message of a conversation. Content is kept byte for byte, unknown keys too.

    `metadata` is the caller's own and is never sent to a provider. `content` may be None only beside
    `tool_calls`.
    """

    role: Annotated[Role, BeforeValidator(_role)]
    content: Content = optional()
    name: Text | None = optional()
    tool_calls: Items[ToolCall] | None = optional()
    tool_call_id: Text | None = optional()
    reasoning: Text | None = optional()
    metadata: JsonObject | None = optional()

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.content is None and not (self.role is Role.ASSISTANT and self.tool_calls):
            refuse("content", "is required, but for an assistant message with tool_calls")
        return self

    @property
    def text(self) -> str:
        """The text alone: the string, or the text parts joined."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""

    @property
    def blank(self) -> bool:
        """Whether there is nothing in it that a model could answer."""
        if isinstance(self.content, list):
            return all(isinstance(part, TextPart) and not part.text.strip() for part in self.content)
        return not (self.content or "").strip() and not self.tool_calls

    def payload(self) -> dict[str, Any]:
        """What a provider may see: the fields that were given, without metadata."""
        return self.model_dump(mode="json", exclude_unset=True, exclude={"metadata"})


class UserMessage(Message):
    """Document 001's user message: text is stripped, and an empty one refused."""

    role: Annotated[Role, BeforeValidator(_role)] = Role.USER

    @field_validator("content")
    @classmethod
    def validate_content(cls, value: Any) -> Any:
        """Strip the text; `Empty message` when nothing is left."""
        return _stripped(value) if isinstance(value, str) else value


class ChatInput(Document):
    """Document 001's input: a message of 1 to 4096 characters after stripping, and an optional system
    prompt.
    """

    message: Text
    system_prompt: Text | None = optional()

    @field_validator("message")
    @classmethod
    def validate_message(cls, value: str) -> str:
        """Strip; `Empty message` or `Message too long` (counted in characters) otherwise."""
        value = _stripped(value)
        if len(value) > LONGEST_INPUT:
            raise ValueError("Message too long")
        return value


MessageLike: TypeAlias = str | Message | Mapping[str, Any]
MessagesLike: TypeAlias = MessageLike | Sequence[MessageLike]


def parse_messages(messages: MessagesLike, *, param: str = "messages") -> list[Message]:
    """Messages from what callers write: a string is one user message, a list may mix strings, dicts and
    messages.

    Raises ValidationError (param such as `messages[2].role`) for an empty list, an empty user message, a
    tool message that answers no call, an unknown role or a wrong shape.
    """
    if isinstance(messages, str | Message | Mapping):
        return [_parse_message(messages, param)]
    if not isinstance(messages, list | tuple):
        refuse(param, f"must be a string or a list of messages, not {shape(messages)}")
    if not messages:
        refuse(param, "must not be empty")
    return [_parse_message(item, f"{param}[{index}]") for index, item in enumerate(messages)]


def parse_history(messages: Sequence[MessageLike], *, param: str = "history") -> list[Message]:
    """As `parse_messages`, but an empty list and empty messages are fine: they have been said already."""
    if not isinstance(messages, list | tuple):
        refuse(param, f"must be a list of messages, not {shape(messages)}")
    return [_message(item, f"{param}[{index}]") for index, item in enumerate(messages)]


def _parse_message(value: Any, param: str) -> Message:
    message = _message(value, param)
    if message.role is Role.USER and message.blank:
        refuse(f"{param}.content" if not isinstance(value, str) else param, "empty message")
    if message.role is Role.TOOL and message.tool_call_id is None:
        refuse(f"{param}.tool_call_id", "is required: the id of the call that the message answers")
    return message


def _message(value: Any, param: str) -> Message:
    if isinstance(value, Message):
        return value
    if not isinstance(value, str | Mapping):
        refuse(param, f"must be a string or a message, not {shape(value)}")
    fields = {"role": "user", "content": value} if isinstance(value, str) else dict(value)
    if any(not isinstance(key, str) for key in fields):
        refuse(param, "must have strings as keys")
    return Message.validated(fields, at=param)


def _stripped(text: str) -> str:
    text = text.strip()
    if not text:
        raise ValueError("Empty message")
    return text
