"""Document 004's checks as functions, to know before there is a job. All raise ValidationError."""

from typing import Any

from palaver.shared.messages import Message, MessagesLike, parse_messages
from palaver.shared.params import ChatParams
from palaver.shared.plain import refuse, shape


def validate_chat_params(**params: Any) -> ChatParams:
    """The parameters, if all are in their bounds (inclusive) and of their types."""
    return ChatParams(**params)


def validate_messages(messages: MessagesLike) -> list[Message]:
    """The messages of a string, a dict or a list, in their full form."""
    return parse_messages(messages)


def validate_model(model: Any) -> str:
    """The model's name, if it is one; whether anybody serves it is the catalog's to say."""
    if not isinstance(model, str) or not model.strip():
        refuse("model", f"must be the name of a model, not {shape(model)}")
    return model


def validate_stop(stop: Any) -> list[str]:
    """The stop sequences as a list: one or more non-empty strings, more than four are fine."""
    if stop is None:
        refuse("stop", "must be a string or a list of strings, not null")
    return ChatParams(stop=stop).stop or []
