"""Sampling parameters of a job, strict about types: no booleans or strings for numbers, no NaN."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from palaver.shared.document import Document
from palaver.shared.plain import (
    Flag,
    Integer,
    JsonObject,
    Names,
    Real,
    Text,
    mark,
    optional,
    refuse,
    shape,
)

Effort = Literal["minimal", "low", "medium", "high", "xhigh"]
DEFAULT_EFFORT: Final[Effort] = "medium"
Penalty = Annotated[Real, Field(ge=-2, le=2)]
RESERVED: Final = frozenset(
    {
        "best_of",
        "fallbacks",
        "function_call",
        "functions",
        "input",
        "instructions",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "model",
        "models",
        "n",
        "parallel_tool_calls",
        "prompt",
        "stream",
        "stream_options",
        "system",
        "tool_choice",
        "tools",
    }
)
"""What a request says of this, the job's own fields say: they are checked, limited and counted."""


class ReasoningOptions(Document):
    """How a model shall think before it answers. Made from `True`, `False`, an effort, or an object.

    `effort` None leaves it to the provider's default; `max_tokens` bounds the thinking. That comes on top of
    the job's `max_tokens`, or with `within` is a part of it, as Anthropic counts.
    """

    enabled: Flag = True
    effort: Effort | None = optional()
    max_tokens: Annotated[Integer, Field(ge=1)] | None = optional()
    within: Flag = mark()

    @model_validator(mode="before")
    @classmethod
    def _from_any(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {"enabled": value}
        return {"effort": value} if isinstance(value, str) else value


def _stop(value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list | tuple):
        raise ValueError(f"must be a string or a list of strings, not {shape(value)}")
    if not stops or any(not isinstance(stop, str) or not stop for stop in stops):
        raise ValueError("must be one or more non-empty strings")
    return list(stops)


def _format(value: dict[str, Any]) -> dict[str, Any]:
    kind, schema = value.get("type", "text"), value.get("json_schema")
    if not isinstance(kind, str):
        raise ValueError(f"must have a string as type, not {shape(kind)}")
    if kind == "json_schema" and not isinstance(schema, dict):
        raise ValueError(f"must have an object as json_schema, not {shape(schema)}")
    return value


def _token_keys(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object of token ids and biases, not {shape(value)}")
    # JSON has no integer keys: the number is kept as text from the start, so that both sides hold the same.
    return {
        str(key) if isinstance(key, int) and not isinstance(key, bool) else key: v for key, v in value.items()
    }


def _unreserved(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        if name in RESERVED:
            refuse(name, "is a field of the job, or none that it may have")
    return value


class _Nothing(dict[str, Any]):
    """An empty object that stays empty, as many share it."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("the parameters of a job cannot be changed")

    __setitem__ = setdefault = update = __ior__ = _refuse


class ChatParams(Document):
    """Everything optional that shapes an answer; None is never sent. `extra` goes into the request as it is,
    beside what the job and its profile say: it takes the place of nothing.

    `return_raw` keeps the provider's body, `return_raw_events` its events; `include_usage` asks for token
    counts of a stream.
    """

    temperature: Annotated[Real, Field(ge=0, le=2)] | None = optional()
    top_p: Annotated[Real, Field(ge=0, le=1)] | None = optional()
    top_k: Annotated[Integer, Field(ge=1)] | None = optional()
    max_tokens: Annotated[Integer, Field(ge=1)] | None = optional()
    stop: Annotated[Names, BeforeValidator(_stop, json_schema_input_type=str | list[str])] | None = optional()
    presence_penalty: Penalty | None = optional()
    frequency_penalty: Penalty | None = optional()
    logit_bias: (
        Annotated[dict[Text, Annotated[Real, Field(ge=-100, le=100)]], BeforeValidator(_token_keys)] | None
    ) = optional()
    user: Text | None = optional()
    n: Annotated[Integer, Field(ge=1, le=128)] | None = optional()
    seed: Annotated[Integer, Field(ge=-(2**63), lt=2**63)] | None = optional()
    response_format: Annotated[JsonObject, AfterValidator(_format)] | None = optional()
    reasoning: ReasoningOptions | None = optional()
    extra: Annotated[JsonObject, AfterValidator(_unreserved)] = Field(default_factory=cache(_Nothing))
    include_usage: Flag = True
    return_raw: Flag = False
    return_raw_events: Flag = False

    def merged(self, over: "ChatParams | Mapping[str, Any] | None") -> Self:
        """These, with what `over` sets on top; None there sets nothing, and `extra` is merged key by key."""
        if over is None:
            return self
        given = over.model_dump(exclude_unset=True) if isinstance(over, ChatParams) else dict(over)
        fields = self.model_dump(exclude_unset=True) | {k: v for k, v in given.items() if v is not None}
        if isinstance(given.get("extra"), Mapping):
            fields["extra"] = self.extra | dict(given["extra"])
        return type(self)(**fields)
