"""Document 004's history of a conversation: messages to be sent before new ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self, overload

import orjson

from palaver.shared.messages import Message, MessageLike, Role, parse_history
from palaver.shared.plain import below, refuse, require, shape
from palaver.shared.responses import ChatResponse, ChatResult

_FIELDS: Final = frozenset(("system", "messages"))


class ChatHistory:
    """The messages of a conversation, and its system prompt. A list of message dicts to look at.

    It belongs to the caller: whoever is given one reads it and never changes it. What it is made of, and what
    it hands out, are copies. Wrong messages raise ValidationError.
    """

    def __init__(self, system: str | None = None, *, messages: Sequence[MessageLike] = ()) -> None:
        require("system", system, str | None, "text or None")
        self.system = system
        self._messages = [message.model_copy(deep=True) for message in parse_history(messages)]

    @classmethod
    def from_messages(cls, messages: Sequence[MessageLike]) -> Self:
        """The history of these messages; a system message at their beginning is its system prompt."""
        parsed = parse_history(messages)
        if parsed and parsed[0].role is Role.SYSTEM:
            return cls(parsed[0].text, messages=parsed[1:])
        return cls(messages=parsed)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        require("history", document, Mapping, "what to_dict gave")
        if unknown := document.keys() - _FIELDS:
            refuse("history", f"has no {below('', str(min(unknown, key=str)))}: it is not what to_dict gave")
        return cls(document.get("system"), messages=document.get("messages", ()))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What `to_json` gave."""
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            refuse("history", "is not the JSON of a history")
        return cls.from_dict(document)

    def add_user(self, content: str | list[Any]) -> None:
        """Add what the user said."""
        self._add({"role": "user", "content": content})

    def add_assistant(self, content: str | list[Any]) -> None:
        """Add what the model answered."""
        self._add({"role": "assistant", "content": content})

    def append_result(self, result: ChatResult | ChatResponse) -> None:
        """Add an answer as it came, with its tool calls."""
        require("result", result, ChatResult | ChatResponse, "an answer: a ChatResult or a ChatResponse")
        message = {"role": "assistant", "content": result.text}
        self._add({**message, "tool_calls": result.tool_calls} if result.tool_calls else message)

    def get_messages(self, include_system: bool = True) -> list[dict[str, Any]]:
        """The messages as dicts, the system prompt first."""
        system = [Message(role=Role.SYSTEM, content=self.system)] if include_system and self.system else []
        return [_dict(message) for message in (*system, *self._messages)]

    def get_last_user_message(self) -> str | None:
        """The text that the user said last."""
        return next((m.text for m in reversed(self._messages) if m.role is Role.USER), None)

    def clone(self) -> Self:
        """An independent copy."""
        return type(self)(self.system, messages=self._messages)

    def to_dict(self) -> dict[str, Any]:
        """The history as a JSON object."""
        return {"system": self.system, "messages": self.get_messages(include_system=False)}

    def to_json(self) -> str:
        """The history as JSON."""
        return orjson.dumps(self.to_dict()).decode()

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.get_messages(include_system=False))

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> Self: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | Self:
        if isinstance(place, slice):
            return type(self)(self.system, messages=self._messages[place])
        return _dict(self._messages[place])

    def __add__(self, other: ChatHistory | Sequence[MessageLike]) -> Self:
        if not isinstance(other, ChatHistory | list | tuple):
            refuse("history", f"takes a history or a list of messages, not {shape(other)}")
        more = other._messages if isinstance(other, ChatHistory) else list(other)
        return type(self)(self.system, messages=[*self._messages, *more])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChatHistory) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} messages)"

    def _add(self, message: Mapping[str, Any]) -> None:
        self._messages += parse_history([message], param="message")


def _dict(message: Message) -> dict[str, Any]:
    return message.model_dump(mode="json", exclude_unset=True)
