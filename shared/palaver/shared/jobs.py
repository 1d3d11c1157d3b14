"""The chat job: one request, as it is stored in the ledger and run by a worker."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from palaver.shared.contract import VERSION, version_of
from palaver.shared.document import Document
from palaver.shared.error_tree import NewerDocumentError, ValidationError
from palaver.shared.ids import JobId, SessionId, new_job_id
from palaver.shared.messages import Message, parse_history, parse_messages
from palaver.shared.modes import ChatMode
from palaver.shared.names import DEFAULT_PRIORITY
from palaver.shared.params import ChatParams, ReasoningOptions
from palaver.shared.plain import (
    Flag,
    Integer,
    Items,
    JsonObject,
    Key,
    Name,
    Names,
    Real,
    Text,
    counted,
    mark,
    measure,
    optional,
    printable,
    refuse,
    shape,
)
from palaver.shared.response_schema import ResponseSchema
from palaver.shared.stores.file_ref import FileRef
from palaver.shared.tools import FunctionTool, ToolChoice, check_tools

MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
_VALUE_BYTES: Final = 2
"""What a value takes at least, with what is between it and the next one."""
MAX_DEADLINE: Final = 7 * 24 * 3600.0
DEFAULT_DEADLINE: Final = 3600.0
DEFAULT_TIMEOUT: Final = 60.0
MAX_VALUES: Final = 200_000
"""JSON values of a job, all levels together: while so many are read, a worker's other streams stand still."""
MAX_FILES: Final = 100
_LONGEST_MODEL: Final = 512
MAX_TOOLS: Final = 1_000
TRACEPARENT: Final = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
"""The context of a job's trace, as W3C's Trace Context has it."""
# The year 2100: above it, somebody wrote milliseconds.
_LATEST_RUN: Final = 4_102_444_800.0
GENERATED: Final = frozenset({"job_id", "session_id", "idempotency_key", "version", "traceparent"})
"""Fields that a client fills in by itself; they tell nothing about what is asked."""


class Status(StrEnum):
    """Where a job is. It moves from queued to running to one of the four ends, and never back."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to the job any more."""
        return self not in (Status.QUEUED, Status.RUNNING)


class OnBusy(StrEnum):
    """What a new job does when its session is running another one."""

    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"
    PARALLEL = "parallel"


class FinishReason(StrEnum):
    """Why a model stopped."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


Seconds = Annotated[Real, Field(gt=0, le=MAX_DEADLINE)]


Retries = Annotated[Integer, Field(ge=0, le=100)]


class Timeouts(Document):
    """Bounds in seconds: `connect`, `read` (between two bytes, not for a whole answer), `total`. What a job
    does not name is its profile's; what neither does is 60, and for `total` the deadline.
    """

    total: Seconds | None = optional()
    connect: Seconds | None = optional()
    read: Seconds | None = optional()

    @property
    def connect_seconds(self) -> float:
        """`connect`, or its default."""
        return DEFAULT_TIMEOUT if self.connect is None else self.connect

    @property
    def read_seconds(self) -> float:
        """`read`, or its default."""
        return DEFAULT_TIMEOUT if self.read is None else self.read

    def over(self, others: Self) -> Self:
        """These, and of the others what is not named here."""
        return self.model_copy(update={name: value for name, value in others if getattr(self, name) is None})


class PromptName(Document):
    """A function that makes a prompt, by the name under which the workers have it registered."""

    MARK: ClassVar = "__palaver_prompt__"
    """The attribute in which a registered function has its name."""

    name: Name


def _prompt(value: Any) -> Any:
    if not callable(value) or isinstance(value, Document):
        return value
    name = getattr(value, PromptName.MARK, None)
    if name is None:
        raise ValueError(
            "is a function, which cannot travel to a worker; register it there with "
            'palaver.workers.generation.continue_prompt and give its name: {"name": …}'
        )
    return {"name": name}


class Completion(Document):
    """Auto-continue of truncated answers: while the finish reason is `length`, at most `max_continues` more
    requests.

    `continue_prompt` is the text of the user message that asks to go on, or names a function that makes it;
    `continue_delay` waits that many seconds, or between two bounds, but never before the first continue.
    """

    max_continues: Annotated[Integer, Field(ge=0, le=1000)] = 5
    ensure_complete: Flag = True
    continue_prompt: Annotated[
        Annotated[Text, Field(min_length=1)] | PromptName, BeforeValidator(_prompt)
    ] = "continue"
    continue_delay: tuple[Annotated[Real, Field(ge=0)], Annotated[Real, Field(ge=0)]] = (0.0, 0.0)
    on_error: Literal["raise", "return_partial"] = "raise"

    @field_validator("continue_delay", mode="before")
    @classmethod
    def _both_bounds(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int | float) else value

    @field_validator("continue_delay")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("must have the smaller bound first")
        return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


Steps = Annotated[
    list[Annotated[Text, Field(min_length=1), AfterValidator(_not_blank)]],
    Field(min_length=1, max_length=50),
]


class Chain(Document):
    """A chain of thought: before it answers, the model works through these steps, in requests of their own.

    What it says of them is the reasoning of the response, `content` the solution.
    """

    steps: Steps


class HistoryLimit(Document):
    """How much of the history is sent at most: `tokens`, by estimate, and `messages`. The oldest turns go
    first, each whole. A profile's `context` limits it anyway. With `summarize` a model writes an abstract of
    what a session's history has no more room for; that is sent, and kept with the session.
    """

    tokens: Annotated[Integer, Field(ge=0)] | None = optional()
    messages: Annotated[Integer, Field(ge=0)] | None = optional()
    summarize: Flag = False


class CachePolicy(Document):
    """Whether an equal request may be answered from the cache; `ttl` in seconds, None for the configured
    one. With `only` no provider is asked: what is not there is an empty answer, whose metadata has
    `cache: miss`.
    """

    ttl: Seconds | None = optional()
    only: Flag = mark()


def _web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")) or not value.isprintable() or " " in value:
        raise ValueError("must be an http:// or https:// address")
    return value


WebAddress = Annotated[Text, Field(max_length=2048), AfterValidator(_web_address)]
"""Where the end of a job is told."""


def _switched(value: Any) -> Any:
    """`True` asks for the defaults of an optional feature, `False` for none of it."""
    if isinstance(value, bool):
        return {} if value else None
    return value


def _models(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if not isinstance(names, list | tuple):
        raise ValueError(f"must be a model or a list of models, not {shape(value)}")
    if not names or any(not isinstance(name, str) or not name.strip() for name in names):
        raise ValueError("must not be empty or blank")
    return list(names)


def _tellable(value: str | list[str] | None) -> str | list[str] | None:
    """Names of models are told in errors and logs, and in lists of what was spent."""
    names = [value] if isinstance(value, str) else value or [""]
    longest = max(map(len, names))
    if longest > _LONGEST_MODEL:
        raise ValueError(f"must have at most {_LONGEST_MODEL} characters, not {longest}")
    for name in names:
        printable(name)
    return value


def _tools(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError(f"must be a list of tools, not {shape(value)}")


def _file_id(value: Any) -> Any:
    return value.id if isinstance(value, FileRef) else value


FileId = Annotated[Key, BeforeValidator(_file_id)]


class ChatJob(Document):
    """One request to a model, whole: everything a worker needs, and no secret.

    Times are in seconds: `deadline` counts from submit or `run_at`, `run_at` is Unix time (an aware
    datetime is taken too). `archive` has what is said in it stored with its conversation, which the
    ledger has to know. Raises ValidationError; its `param` names the field.
    """

    version: Annotated[Integer, Field(ge=1)] = VERSION
    job_id: JobId = Field(default_factory=new_job_id)
    messages: Items[Message]
    history: Items[Message] | Literal["session"] | None = optional()
    history_limit: HistoryLimit | None = optional()
    system: Text | None = optional()
    model: Annotated[Text | Names | None, BeforeValidator(_models), AfterValidator(_tellable)] = optional()
    params: ChatParams = Field(default_factory=cache(ChatParams))  # nobody can change the one of all jobs
    tools: Annotated[Items[FunctionTool], BeforeValidator(_tools), Field(max_length=MAX_TOOLS)] | None = (
        optional()
    )
    tool_choice: ToolChoice | None = optional()
    parallel_tool_calls: Flag | None = optional()
    reasoning: ReasoningOptions | None = optional()
    session_id: SessionId | None = optional()
    user: Name | None = optional()
    tenant: Key | None = optional()
    priority: Annotated[Integer, Field(ge=0, le=9)] = DEFAULT_PRIORITY
    deadline: Annotated[Real, Field(ge=1, le=MAX_DEADLINE)] = DEFAULT_DEADLINE
    run_at: Annotated[Real, Field(ge=0, le=_LATEST_RUN)] | None = optional()
    timeouts: Timeouts = Field(default_factory=cache(Timeouts))  # as well
    max_retries: Retries = 2
    idempotency_key: Key | None = optional()
    on_busy: OnBusy = OnBusy.ENQUEUE
    complete: Completion | None = optional()
    response_schema: ResponseSchema | None = optional()
    chain: Chain | None = optional()
    mode: ChatMode | None = optional()
    cache: CachePolicy | None = optional()
    agent: Key | None = optional()
    archive: Flag = False
    files: Annotated[Items[FileId], Field(max_length=MAX_FILES)] = Field(default_factory=list)
    webhook: WebAddress | None = optional()
    metadata: JsonObject = Field(default_factory=dict)
    retry_of: JobId | None = optional()
    traceparent: Annotated[str, Field(pattern=TRACEPARENT)] | None = optional()

    @model_validator(mode="before")
    @classmethod
    def _not_too_large(cls, value: Any, info: ValidationInfo) -> Any:
        context = info.context or {}
        limit: int = context.get("max_bytes", MAX_DOCUMENT_BYTES)
        # before anything walks into it
        size: int = context["bytes"] if "bytes" in context else measure(value, limit)
        if size > limit:
            refuse(_largest(value), f"the job is larger than {limit} bytes")
        if size > _VALUE_BYTES * MAX_VALUES and counted(value, MAX_VALUES) > MAX_VALUES:
            refuse(_largest(value), f"the job has more than {MAX_VALUES} values")
        return value

    @field_validator("messages", mode="before", json_schema_input_type=str | list[str | Message])
    @classmethod
    def _any_messages(cls, value: Any) -> list[Message]:
        return parse_messages(value, param="")

    @field_validator("history", mode="before")
    @classmethod
    def _any_history(cls, value: Any) -> Any:
        if value is None or value == "session":
            return value
        return parse_history(value, param="")

    @field_validator("complete", mode="before", json_schema_input_type=Completion | bool | None)
    @classmethod
    def _switch_complete(cls, value: Any) -> Any:
        return _switched(value)

    @field_validator("cache", mode="before", json_schema_input_type=CachePolicy | bool | None)
    @classmethod
    def _switch_cache(cls, value: Any) -> Any:
        return _switched(value)

    @field_validator("run_at", mode="before")
    @classmethod
    def _aware(cls, value: Any) -> Any:
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise ValueError("must have a time zone")
            return value.timestamp()
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(
                f"must be Unix time in seconds or a datetime with a time zone, not {shape(value)}"
            )
        return value

    @model_validator(mode="after")
    def _session_for_history(self) -> Self:
        if self.history == "session" and self.session_id is None and self.idempotency_key is None:
            refuse("history", "is the session's, but the job names no session_id")
        return self

    @model_validator(mode="after")
    def _one_format(self) -> Self:
        if self.response_schema is not None and self.params.response_format is not None:
            refuse("response_schema", "and params.response_format exclude each other")
        return self

    @model_validator(mode="after")
    def _callable_tools(self) -> Self:
        check_tools(self.tools or (), self.tool_choice)
        return self

    @classmethod
    def parse(cls, document: Mapping[str, Any] | bytes | str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Self:
        """A job from a dict or from JSON, e.g. the argument of `palaver.submit`.

        `max_bytes` bounds the document and is checked before anything else. Raises ValidationError; of a
        document that says a newer version, and that cannot be read here, NewerDocumentError.
        """
        size = {"bytes": len(document)} if isinstance(document, bytes) else {}  # which needs no measuring
        if isinstance(document, bytes | str):
            document = _loads(document, max_bytes)
        if not isinstance(document, Mapping):
            raise ValidationError(f"a job must be a JSON object, not {shape(document)}")
        try:
            return cls.model_validate(dict(document), context={"max_bytes": max_bytes, **size})
        except ValidationError as error:
            if (version := version_of(document)) <= VERSION:
                raise
            told = f"the job is of version {version}, and {VERSION} is known here: {error.message}"
            param = error.param
        raise NewerDocumentError(told, param=param)

    @property
    def models(self) -> list[str]:
        """The models in the order of fallback; empty: the configured default."""
        if self.model is None:
            return []
        return [self.model] if isinstance(self.model, str) else list(self.model)


@cache
def _unsaid() -> dict[str, Any]:
    job = ChatJob(messages="-").model_dump(mode="json", exclude={"messages", "job_id", "version"})
    return {name: value for name, value in job.items() if value is not None}


def said(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a job's JSON document, decoded, says beyond the defaults: a worker that does not know a field can
    do the jobs that do not use it.
    """
    unsaid = _unsaid()
    return {name: value for name, value in document.items() if name not in unsaid or value != unsaid[name]}


def fingerprint(job: ChatJob) -> str:
    """What a job asks for, as a hash: equal for two submits of one body, whatever their generated ids.

    Defaults count as given, and the order of keys does not matter.
    """
    return fingerprint_of(said(orjson.loads(job.to_json())))


def fingerprint_of(document: Mapping[str, Any]) -> str:
    """The `fingerprint` of a job from what it has `said`."""
    body = {name: value for name, value in document.items() if name not in GENERATED}
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _loads(document: bytes | str, max_bytes: int) -> Any:
    if len(document) > max_bytes:
        raise ValidationError(f"the job is larger than {max_bytes} bytes")
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
    raise ValidationError(f"the job is not valid JSON ({place})")


def _largest(value: Any) -> str:
    if not isinstance(value, Mapping):
        return ""
    sizes = {str(name): measure(item, MAX_DOCUMENT_BYTES) for name, item in value.items()}
    return max(sizes, key=lambda name: sizes[name], default="")
