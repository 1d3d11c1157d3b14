"""The keyword arguments of `Chat`, and the fields of the job that they mean; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict, cast

from pydantic import Field

from palaver.producer.interfaces.endpoint import named
from palaver.producer.prepare import JobFields
from palaver.shared.document import Document
from palaver.shared.history import ChatHistory
from palaver.shared.jobs import Retries, Timeouts
from palaver.shared.messages import Message, MessageLike, MessagesLike, Role, parse_history
from palaver.shared.params import ChatParams, ReasoningOptions
from palaver.shared.plain import Text, refuse
from palaver.shared.tools import FunctionTool, ToolChoice

DEFAULT_TEMPERATURE: Final = 0.7
"""Of `Chat` alone, and never beside `reasoning`: models that think refuse it."""

HistoryLike = ChatHistory | Sequence[MessageLike]


class CallOptions(TypedDict, total=False):
    """What every call of `Chat` takes; None is as good as left out, and a keyword wins over `params`."""

    model: str | None
    system: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: Mapping[Any, float] | None
    user: str | None
    tools: Sequence[FunctionTool | Mapping[str, Any]] | None
    tool_choice: ToolChoice | str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    params: ChatParams | Mapping[str, Any] | None
    extra: Mapping[str, Any] | None
    reasoning: ReasoningOptions | Mapping[str, Any] | bool | None


class ChatOptions(CallOptions, total=False):
    """What a call takes that waits for the whole answer."""

    n: int | None
    return_raw: bool


class StreamOptions(CallOptions, total=False):
    """What a call takes that gives the answer piece by piece."""

    include_usage: bool
    return_raw_events: bool
    include_reasoning: bool


_OF_JOB: Final = frozenset(("system", "tools", "tool_choice", "parallel_tool_calls", "reasoning"))
_OF_FACE: Final = frozenset(("model", "params", "include_reasoning"))
_OF_PARAMS: Final = (ChatOptions.__annotations__ | StreamOptions.__annotations__).keys() - _OF_JOB - _OF_FACE


class CallDefaults(Document):
    """What holds for all calls of a `Chat`; `profile` is the one that its address means."""

    profile: Text | None = None
    model: Text | None = None
    timeouts: Timeouts = Field(default_factory=Timeouts)
    max_retries: Retries = 0

    def fields(self, kind: type, options: Mapping[str, Any], history: HistoryLike | None = None) -> JobFields:
        """The fields of a call's job; `kind` is the class of its options.

        Raises ValidationError, and TypeError for a keyword that the call does not take.
        """
        for name in options.keys() - kind.__annotations__.keys():
            raise TypeError(f"Chat got an unexpected keyword argument {name!r}")
        given = {name: value for name, value in options.items() if value is not None}
        params = _params(given)
        fields: dict[str, Any] = {name: given[name] for name in _OF_JOB & given.keys()}
        fields |= {
            "model": named(self.profile, given.get("model", self.model)),
            "params": params,
            "timeouts": self.timeouts,
            "max_retries": self.max_retries,
            "history": None if history is None else messages_of(history),
        }
        return cast("JobFields", fields)  # the job validates them


def _params(given: Mapping[str, Any]) -> ChatParams:
    base = ChatParams.validated(given.get("params", {}), at="params")
    params = base.merged({name: given[name] for name in _OF_PARAMS & given.keys()})
    reasoning = ReasoningOptions.validated(given.get("reasoning", params.reasoning or False), at="reasoning")
    if params.temperature is None and not reasoning.enabled:
        return params.merged({"temperature": DEFAULT_TEMPERATURE})
    return params


def messages_of(history: HistoryLike) -> list[Any]:
    """The messages of a history, its system prompt first; what is no history is refused with the job."""
    return history.get_messages() if isinstance(history, ChatHistory) else history  # type: ignore[return-value]


def last_turn(messages: Sequence[MessageLike]) -> tuple[list[Message], list[Message]]:
    """What was said before the last message of a user, and that with what follows it.

    Raises ValidationError, a ValueError, when no user has said anything.
    """
    parsed = parse_history(messages)
    places = [place for place, message in enumerate(parsed) if message.role is Role.USER]
    if not places:
        refuse("history", "History has no user messages; give a message, or add one to it")
    return parsed[: places[-1]], parsed[places[-1] :]


def turn_of(history: HistoryLike, message: MessagesLike | None) -> tuple[Any, Any]:
    """History and messages of a call that goes on with a history, with a new message or as it is."""
    if message is not None:
        return history, message
    before, turn = last_turn(messages_of(history))
    return before, turn
