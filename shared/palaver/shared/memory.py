"""Document 000's memory of a conversation, and the order in which it is sent."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import ConfigDict, Field, field_validator

from palaver.shared.document import Document
from palaver.shared.messages import Message, MessageLike, Role, parse_history
from palaver.shared.plain import Real, Text, refuse


class MemoryModel(Document):
    """The messages of a conversation, the Unix time of its beginning, and a summary of what was dropped.

    The one document that changes: a completed turn is appended to it.
    """

    model_config = ConfigDict(frozen=False, validate_assignment=True)

    messages: list[Message] = Field(default_factory=list)
    time: Real = Field(default_factory=time.time)
    abstract: Text = ""

    @field_validator("messages", mode="before")
    @classmethod
    def _any_messages(cls, value: Any) -> list[Message]:
        return parse_history(value, param="")


class SendMessageWrap:
    """What is sent to a model: system message, memory without system messages, user query, end messages.

    Without a `user_query` the last message of the memory is it, and must be a user's (ValidationError
    otherwise). The memory that it was made from is never changed.
    """

    def __init__(
        self,
        train: Message | Mapping[str, Any],
        memory: MemoryModel | Sequence[MessageLike],
        user_query: MessageLike | None = None,
        end_messages: Sequence[MessageLike] = (),
    ) -> None:
        self.train = _one(train, "train")
        remembered = parse_history(
            memory.messages if isinstance(memory, MemoryModel) else memory, param="memory"
        )
        if user_query is None:
            if not remembered or remembered[-1].role is not Role.USER:
                refuse("memory", "must end with a user message when there is no user_query")
            user_query = remembered.pop()
        self.user_query = _one(user_query, "user_query")
        self.memory = [message for message in remembered if message.role is not Role.SYSTEM]
        self.end_messages = parse_history(end_messages, param="end_messages")

    @classmethod
    def validate_messages(cls, messages: Sequence[MessageLike]) -> Self:
        """The wrap of a plain list: a system message, then a memory that ends with the user's query."""
        parsed = parse_history(messages, param="messages")
        if not parsed or parsed[0].role is not Role.SYSTEM:
            refuse("messages", "must begin with a system message")
        return cls(parsed[0], parsed[1:])

    def __iter__(self) -> Iterator[Message]:
        yield self.train
        yield from self.memory
        yield self.user_query
        yield from self.end_messages

    def __len__(self) -> int:
        return len(self.memory) + len(self.end_messages) + 2

    def __repr__(self) -> str:
        return f"SendMessageWrap({len(self)} messages)"

    def append(self, message: MessageLike) -> None:
        """Add a message behind the user's query."""
        self.end_messages.append(_one(message, "message"))

    def extend(self, messages: Iterable[MessageLike]) -> None:
        """Add messages behind the user's query."""
        self.end_messages.extend(parse_history(list(messages), param="messages"))

    def copy(self) -> Self:
        """An independent wrap of the same messages."""
        return type(self)(self.train, self.memory, self.user_query, self.end_messages)

    def unwrap(self, exclude_system: bool = False) -> list[Message]:
        """All messages as one list, without the system message if asked for."""
        messages = list(self)
        return messages[1:] if exclude_system else messages


def _one(message: MessageLike, param: str) -> Message:
    return parse_history([message], param=param)[0]
