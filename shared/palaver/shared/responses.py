"""What comes back: one response, its views, and the chunks of its stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from palaver.shared.document import Document
from palaver.shared.errors import ErrorInfo, PalaverError, StructuredOutputError, ValidationError
from palaver.shared.jobs import FinishReason
from palaver.shared.messages import Role, ToolCall
from palaver.shared.plain import (
    Flag,
    Integer,
    JsonObject,
    JsonValue,
    Real,
    Text,
    mark,
    optional,
    refuse,
    shape,
)

_DIGITS: Final = 12  # of a cost, behind the point: a millionth of what a token costs

Count = Annotated[Integer, Field(ge=0)]


class Usage(Document):
    """Tokens. None is unknown, 0 is 0; `total_tokens` is derived when missing and both others are known.

    Taken under OpenAI's older (`prompt_tokens`, `completion_tokens`) and newer names; what a provider tells
    beyond them is kept in `details`. `cost` is in US dollars, and None where the price is not known.
    `estimated`: the provider did not count all of it. `from_cache`: the answer came from the cache, and these
    tokens were spent when it was first given.
    """

    MARKS: ClassVar = ("cost", "estimated", "from_cache")
    """What is said of the counts; a provider's words of these names are details."""

    input_tokens: Count | None = optional()
    output_tokens: Count | None = optional()
    total_tokens: Count | None = optional()
    cost: Annotated[Real, Field(ge=0)] | None = optional()
    estimated: Flag = mark()
    from_cache: Flag = mark()
    details: JsonObject = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _any_names(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        given = dict(value)
        fields: dict[str, Any] = {}
        for name, other in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
            counts = [count for count in (given.pop(name, None), given.pop(other, None)) if count is not None]
            fields[name] = counts[0] if counts else None
        fields["total_tokens"] = given.pop("total_tokens", None)
        fields |= {name: given.pop(name) for name in cls.MARKS if name in given}
        details = given.pop("details", None) or {}
        if not isinstance(details, Mapping):
            refuse("details", f"must be an object, not {shape(details)}")
        return {**fields, "details": {**given, **details}}

    @model_validator(mode="after")
    def _total(self) -> Self:
        if self.total_tokens is None and self.input_tokens is not None and self.output_tokens is not None:
            # set past the freeze: the value is still being made
            self.__dict__["total_tokens"] = self.input_tokens + self.output_tokens
        return self

    @property
    def prompt_tokens(self) -> int | None:
        """`input_tokens` under its older name."""
        return self.input_tokens

    @property
    def completion_tokens(self) -> int | None:
        """`output_tokens` under its older name."""
        return self.output_tokens

    def plus(self, other: "Usage | None") -> "Usage":
        """The sum, for an answer that took several requests. An unknown count plus a known one is the known
        one; a cost of which a part is not known is not.
        """
        if other is None:
            return self
        return Usage(
            input_tokens=_sum(self.input_tokens, other.input_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            total_tokens=_sum(self.total_tokens, other.total_tokens),
            cost=_cost(self.cost, other.cost),
            estimated=self.estimated or other.estimated,
            from_cache=self.from_cache and other.from_cache,
            details=_sum_details(self.details, other.details),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _cost(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else round(one + other, _DIGITS)


def _sum_details(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    total = dict(one)
    for name, value in other.items():
        present = total.get(name)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            total[name] = _sum_details(present, value)
        elif type(present) in (int, float) and type(value) in (int, float):
            total[name] = present + value
        elif value is not None:
            total[name] = value
    return total


class ShownWidget(Document):
    """A component that an agent showed, and its data."""

    widget_type: Text
    data: JsonValue = optional()


class ChatResponse(Document):
    """The result of a job. On failure `success` is false, `error` says why, and `content` is the partial
    text.

    `model` is the one that answered. `metadata` always has `model` and `usage`; `raw` is there only if
    asked for, `parsed` is the value of an answer with a schema, `widgets` are what an agent showed, in order.
    Keys that a newer worker may add are ignored.
    """

    model_config = ConfigDict(extra="ignore")

    content: Text = ""
    success: Flag = True
    error: Text | None = optional()
    error_info: ErrorInfo | None = optional()
    finish_reason: FinishReason | None = optional()
    usage: Usage | None = optional()
    model: Text | None = optional()
    provider: Text | None = optional()
    tool_calls: list[ToolCall] = Field(default_factory=list)
    reasoning: Text | None = optional()
    widgets: list[ShownWidget] | None = optional()
    metadata: JsonObject = Field(default_factory=dict)
    raw: JsonValue = optional()
    parsed: JsonValue = optional()

    @model_validator(mode="before")
    @classmethod
    def _both_places(cls, value: Any) -> Any:
        """Model and usage may be given as fields or inside metadata, and are in both afterwards."""
        if not isinstance(value, Mapping) or not isinstance(value.get("metadata", {}), Mapping):
            return value
        fields = dict(value)
        metadata = dict(fields.get("metadata") or {})
        for name in ("model", "usage"):
            if fields.get(name) is None and metadata.get(name):
                fields[name] = metadata[name]
        usage = fields["usage"] = (
            Usage.validated(fields["usage"], at="usage") if fields.get("usage") else None
        )
        metadata["model"] = fields.get("model")
        metadata["usage"] = _metadata_usage(usage)
        fields["metadata"] = metadata
        return fields

    @model_validator(mode="after")
    def _error_fits(self) -> Self:
        if self.success and (self.error is not None or self.error_info is not None):
            refuse("error", "must be None when success is true")
        if not self.success and not self.error:
            info = self.error_info
            self.__dict__["error"] = (info.message if info else "") or "the request failed"
        return self

    @classmethod
    def failed(cls, error: PalaverError | ErrorInfo, **fields: Any) -> Self:
        """The response of a job that failed, with what is known of it (`content`, `usage`, `model` …)."""
        info = error if isinstance(error, ErrorInfo) else ErrorInfo.of(error)
        given = {"finish_reason": FinishReason.ERROR, **fields}
        return cls(success=False, error=info.message or info.type, error_info=info, **given)

    @property
    def is_error(self) -> bool:
        """Whether the request failed."""
        return not self.success

    @property
    def text(self) -> str:
        """`content` under the name of `ChatResult`."""
        return self.content

    @property
    def model_name(self) -> str | None:
        """`model` under the name of `Response`."""
        return self.model

    @property
    def token_count(self) -> int | None:
        """All tokens of the request and the answer, if known."""
        return self.usage.total_tokens if self.usage else None

    @property
    def cost(self) -> float | None:
        """In US dollars; None where a price is not known."""
        return self.usage.cost if self.usage else None


M = TypeVar("M", bound=BaseModel)


class ModelResponse(ChatResponse, Generic[M]):
    """The result of a job with a `response_model`: `parsed` is an instance of it."""

    parsed: M

    @classmethod
    def of(cls, response: ChatResponse, model: type[M]) -> "ModelResponse[M]":
        """The view of a response. Raises StructuredOutputError, with it, for what the model does not take:
        a model may ask for more than its schema can say.
        """
        try:
            return ModelResponse[model].validated(dict(response))  # type: ignore[valid-type]
        except ValidationError as unfit:
            told = f"The answer fits the schema of {model.__name__}, but not {model.__name__}: {unfit.param}"
            problem = StructuredOutputError(told, problems=[unfit.param or ""])
        problem.response = response
        raise problem


def _metadata_usage(usage: Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    return {name: count for name, count in counts.items() if count is not None}


class Response(Document):
    """Document 001's view of a response. `estimated`: the provider did not count all of the tokens."""

    content: Text
    token_count: Count | None = optional()
    model_name: Text | None = optional()
    reasoning: Text | None = optional()
    estimated: Flag = mark()

    @classmethod
    def of(cls, response: ChatResponse) -> Self:
        """The view of a response."""
        return cls(
            content=response.content,
            token_count=response.token_count,
            model_name=response.model,
            reasoning=response.reasoning,
            estimated=response.usage is not None and response.usage.estimated,
        )

    @property
    def solution(self) -> str:
        """`content` under the name that it has for a chain of thought; `reasoning` holds the steps."""
        return self.content


class ChatResult(Document):
    """Document 004's view of a response; `content` is an alias of `text`."""

    text: Text
    usage: Usage = Field(default_factory=Usage)
    finish_reason: FinishReason | None = optional()
    tool_calls: list[ToolCall] = Field(default_factory=list)
    reasoning: Text | None = optional()
    model_name: Text | None = optional()
    raw: JsonValue = optional()

    @classmethod
    def of(cls, response: ChatResponse) -> Self:
        """The view of a response."""
        return cls(
            text=response.content,
            usage=response.usage or Usage(),
            finish_reason=response.finish_reason,
            tool_calls=response.tool_calls,
            reasoning=response.reasoning,
            model_name=response.model,
            raw=response.raw,
        )

    @property
    def content(self) -> str:
        """The text."""
        return self.text

    @property
    def token_count(self) -> int | None:
        """All tokens of the request and the answer, if known."""
        return self.usage.total_tokens


class UniResponse(Document):
    """Document 000's view of a response: an assistant message with its usage."""

    role: Literal[Role.ASSISTANT] = Role.ASSISTANT
    content: Text
    usage: JsonObject | None = optional()
    tool_calls: list[ToolCall] | None = optional()

    @classmethod
    def of(cls, response: ChatResponse) -> Self:
        """The view of a response; usage has `prompt_tokens`, `completion_tokens` and `total_tokens` where
        known.
        """
        usage = _metadata_usage(response.usage) if response.usage else None
        return cls(content=response.content, usage=usage, tool_calls=response.tool_calls or None)


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """A piece of a stream. `reset`: drop what came before, the answer begins anew with this chunk.

    The last one (`done`) has no text but `finish_reason` and `usage`. `raw` is the provider's event, if
    asked for.
    """

    seq: int
    delta: str = ""
    kind: Literal["text", "reasoning"] = "text"
    done: bool = False
    reset: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    raw: Any = None

    @property
    def content(self) -> str:
        """The delta, under the name of document 001."""
        return self.delta

    def __repr__(self) -> str:
        marks = "".join(f", {name}" for name in ("done", "reset") if getattr(self, name))
        return f"StreamChunk(seq={self.seq}, kind={self.kind}, {len(self.delta)} characters{marks})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatStreamChunk:
    """Document 004's view of a piece of a stream; `reset` as in `StreamChunk`.

    `delta` is text of the answer and nothing else, `reasoning` what the model thought. The last one (`done`)
    has finish reason, usage and the calls that are left for the caller.
    """

    delta: str = ""
    done: bool = False
    usage: Usage | None = None
    finish_reason: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    raw: Any = None
    reset: bool = False
    seq: int = 0

    @classmethod
    def of(cls, chunk: StreamChunk, tool_calls: Sequence[ToolCall] = ()) -> Self:
        """The view of a chunk."""
        thought = chunk.kind == "reasoning"
        return cls(
            delta="" if thought else chunk.delta,
            reasoning=chunk.delta if thought else None,
            done=chunk.done,
            usage=chunk.usage,
            finish_reason=chunk.finish_reason,
            tool_calls=tuple(tool_calls),
            raw=chunk.raw,
            reset=chunk.reset,
            seq=chunk.seq,
        )

    @property
    def content(self) -> str:
        """The delta, under the name of document 001."""
        return self.delta

    def __repr__(self) -> str:
        marks = "".join(f", {name}" for name in ("done", "reset") if getattr(self, name))
        return f"ChatStreamChunk({len(self.delta)} characters{marks})"
