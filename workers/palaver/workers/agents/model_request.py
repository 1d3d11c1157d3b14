"""What an agent asks a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypedDict

from palaver.shared.messages import Message, MessagesLike, Role, parse_messages
from palaver.shared.params import ChatParams

__all__ = ["ModelRequest", "ModelRequestFields"]


class ModelRequestFields(TypedDict, total=False):
    """How a model is asked; what is left out is as the job has it.

    `stream`: readers have the answer as it comes, as if the agent had written it (default); else they have
    nothing of it.
    """

    model: str | Sequence[str] | None
    system: str | None
    params: ChatParams | Mapping[str, Any] | None
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One request to a model, valid."""

    messages: list[Message]
    models: list[str]  # in the order of fallback; empty: those of the job
    params: ChatParams | None = None  # over those of the job
    stream: bool = True

    @classmethod
    def of(cls, messages: MessagesLike, fields: ModelRequestFields) -> Self:
        """The request that user code means. Raises ValidationError."""
        system, model, params = fields.get("system"), fields.get("model"), fields.get("params")
        first = [Message(role=Role.SYSTEM, content=system)] if system else []
        return cls(
            messages=[*first, *parse_messages(messages)],
            models=[model] if isinstance(model, str) else list(model or ()),
            params=None if params is None else ChatParams.validated(params, at="params"),
            stream=fields.get("stream", True),
        )
