"""The settings of a process: `PALAVER_*` variables, read once at the edge and passed down. Times are in
seconds.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import orjson
import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from palaver.shared import webhooks
from palaver.shared.broker_url import BrokerURL
from palaver.shared.document import validation_error
from palaver.shared.error_tree import ConfigurationError
from palaver.shared.jobs import DEFAULT_DEADLINE, MAX_DEADLINE, MAX_DOCUMENT_BYTES
from palaver.shared.metrics_address import MetricsAddress
from palaver.shared.names import DEFAULT_NAMESPACE
from palaver.shared.plain import shape
from palaver.shared.redis_url import RedisURL

DEFAULT_CONNECT_SECONDS: Final = 2.0
"""For a service to answer. With the start of an interpreter, a command still fails within 3 seconds."""
DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"
SECRET_LENGTH: Final = 32
DEFAULT_CONFIG: Final = "./palaver.toml"
"""It may be absent; a file that somebody named may not."""
DEV_FILE: Final = Path(".palaver/dev.json")
"""Where `palaver dev` writes the addresses of what it started."""
DEFAULT_FILE_TYPES: Final = (
    "text/*, image/*, message/rfc822, application/json, application/pdf, application/rtf, "
    "application/vnd.oasis.opendocument.*, application/vnd.openxmlformats-officedocument.*"
)
"""Of which text can be extracted."""

_USER: Final = re.compile(r"[^:/?#@]*")
_PORT: Final = re.compile(r"(\[[^]]*\]|[^:/?#]*)(:(?!\d*(?:[/?#]|$)))?")
_SECRET_QUERY: Final = ("password", "token", "key", "secret", "auth", "sig")
_URLS: Final = ("redis_url", "broker_url")


def redacted_url(url: str) -> str:
    """The URL for messages and logs: its password, and secrets in its query, replaced by `***`.

    A list of brokers, separated by semicolons as Celery takes it, stays one.
    """
    return ";".join(_redacted(part) for part in url.split(";"))


def _redacted(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "(not a URL)"
    # Up to the last "@": a password with a character that should have been escaped must not show either.
    login, at, place = rest.rpartition("@")
    host, wrong_port = _PORT.match(place).groups()  # type: ignore[union-attr] # it matches anything
    if wrong_port:  # a password without its host, more likely
        return f"{scheme}://{host}:***"
    user = _USER.match(login)[0]  # type: ignore[index] # the same
    secret = ":***" if user != login else ""
    address, question, query = place.partition("?")
    pairs = "&".join(_without_secret(pair) for pair in query.split("&"))
    return f"{scheme}://{user}{secret}{at}{address}{question}{pairs}"


def _without_secret(pair: str) -> str:
    name = pair.partition("=")[0]
    return f"{name}=***" if any(word in name.lower() for word in _SECRET_QUERY) else pair


def _redis_url(value: str) -> str:
    RedisURL.parse(value)
    return value


def _broker_url(value: str) -> str:
    if value:
        BrokerURL.parse(value)
    return value


def _archive_url(value: str) -> str:
    scheme = value.partition("://")[0]
    if value and scheme not in ("postgresql", "sqlite"):
        raise ValueError("must be postgresql://… or sqlite:///FILE, or nothing for the ledger's Redis")
    if scheme == "sqlite" and not re.fullmatch(r"sqlite:///[^?]*[^?/]", value):
        raise ValueError("must be sqlite:///FILE, relative to where the process starts, or sqlite:////FILE")
    return value


def _metrics_address(value: str) -> str:
    if value:
        MetricsAddress.parse(value)
    return value


def _namespace(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        wrong = f"must be 1 to 64 letters, digits, dots, underscores or hyphens, not {_told(value)}"
        raise ValueError(wrong)
    return value


def _long_secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SECRET_LENGTH:
        raise ValueError(f"must have at least {SECRET_LENGTH} characters: openssl rand -hex 32 makes one")
    return value


def _webhook_secret(value: SecretStr) -> SecretStr:
    try:
        webhooks.secrets(value.get_secret_value())
    except ValueError:
        raise ValueError("must be 24 to 64 bytes as base64: openssl rand -base64 32 makes one") from None
    return value


def _networks(value: str) -> str:
    webhooks.networks(value)
    return value


def _told(value: object) -> str:
    """A wrong value for a message. All variables are text; what is as long as a key is told by its shape."""
    if not isinstance(value, str) or not re.fullmatch(r"[ -~]{1,16}", value):
        return shape(value)
    return value if re.fullmatch(r"[-+.\d]+", value) else repr(value)


_MOST: Final = 10**9
"""For all periods (31 years) and counts: what Redis, timers and 64 bits are sure to take."""

Positive = Annotated[float, Field(gt=0, le=_MOST, allow_inf_nan=False)]
Period = Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=_MOST)]


class Settings(BaseModel):
    """Everything that a process reads from its environment. The line under a field is what users are told.

    Wrong values raise ConfigurationError naming the variable.
    """

    model_config = ConfigDict(defer_build=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    redis_url: Annotated[str, AfterValidator(_redis_url)] = DEFAULT_REDIS_URL
    """The ledger: sessions, jobs and their events."""
    broker_url: Annotated[str, AfterValidator(_broker_url)] = ""
    """Celery's broker; the ledger's Redis unless set."""
    namespace: Annotated[str, AfterValidator(_namespace)] = DEFAULT_NAMESPACE
    """Begins the name of every key and queue, so that several systems may share a Redis."""
    config: str = DEFAULT_CONFIG
    """The file with profiles, models and servers of tools; read again when it changes."""
    providers: dict[str, Any] = Field(default_factory=dict)
    """Profiles, as JSON; they win over those of the file."""
    models: dict[str, Any] = Field(default_factory=dict)
    """Aliases of models, as JSON; they win over those of the file."""
    mcp: dict[str, Any] = Field(default_factory=dict)
    """Servers of tools, as JSON; they win over those of the file."""
    tenants: dict[str, Any] = Field(default_factory=dict)
    """What each tenant may have, as JSON; they win over those of the file."""
    secret: Annotated[SecretStr, AfterValidator(_long_secret)] | None = None
    """Seals providers a program names in code; 32 characters or more, the same at workers and producers."""

    deadline: Annotated[float, Field(ge=1, le=MAX_DEADLINE)] = DEFAULT_DEADLINE
    """A job that has not ended so long after it was due ends `expired`, unless it names its own."""
    max_document_bytes: Annotated[int, Field(ge=1024, le=_MOST)] = MAX_DOCUMENT_BYTES
    """A longer job is refused; bytes of JSON."""
    max_answer_bytes: Annotated[int, Field(ge=1024, le=_MOST)] = 16 * 1024 * 1024
    """An answer that goes on beyond it fails with what there is of it; bytes of UTF-8, thoughts included."""
    connect_seconds: Positive = DEFAULT_CONNECT_SECONDS
    """For a server to answer; after that it counts as unreachable."""

    retention: Positive = 24 * 3600.0
    """An ended job is kept so long."""
    batch_retention: Positive = 30 * 24 * 3600.0
    """A batch is kept so long after its end, with its lines and results in the store of files."""
    log_retention: Positive = 3600.0
    """A session's log is kept so long after its last event."""
    log_maxlen: Count = 10_000
    """A session's log keeps so many events."""
    session_retention: Positive = 30 * 24 * 3600.0
    """A session's history is kept so long after its last job."""
    session_jobs: Count = 1000
    """So many jobs of a session may wait or run; a further one is refused."""
    history_messages: Count = 1000
    """A session's history keeps so many messages, the latest."""
    history_bytes: Annotated[int, Field(ge=1024, le=_MOST)] = 32 * 1024 * 1024
    """And so many bytes of them, as JSON; the last message in any case."""
    max_jobs: Count | None = None
    """So many jobs may wait or run, of all sessions; a further one is refused. No bound unless set."""
    usage_retention: Positive = 400 * 24 * 3600.0
    """A day's sums of usage and cost are kept so long."""

    concurrency: Count = 1000
    """Jobs that a worker process runs at once."""
    resume_slots: Annotated[int, Field(ge=0, le=_MOST)] | None = None
    """Beside these, for jobs that are taken over or next in their session; one for each ten unless set."""
    drain_seconds: Period = 30.0
    """A worker that is told to stop lets its streams finish for so long, then hands them over."""
    tools: str = ""
    """Modules whose tools a worker runs, separated by commas."""
    tool_seconds: Positive = 60.0
    """For one call of a tool."""
    tool_output_bytes: Count = 64 * 1024
    """A longer result of a tool is cut; bytes of UTF-8."""
    tool_rounds: Count = 10
    """So often the model of one job may ask for tools."""
    tool_threads: Count = 64
    """For tools that are plain functions."""
    agents: str = ""
    """Modules, or files (`my_agents.py`), with the agents that a worker serves, separated by commas."""
    agent_seconds: Positive = 600.0
    """For one answer of an agent."""
    agent_threads: Count = 64
    """For agents that are plain functions."""
    log_format: Literal["text", "json"] = "text"
    """Of a worker's log."""
    tracing: bool = False
    """A worker traces its jobs with OpenTelemetry, to where the `OTEL_…` variables say."""
    tracing_content: bool = False
    """Adds prompts and answers to its spans."""
    log_content: bool = False
    """Adds prompts and answers to a worker's log."""
    metrics_address: Annotated[str, AfterValidator(_metrics_address)] = ""
    """Of a worker's /metrics, /healthz, /readyz: `9464`, `0.0.0.0:9464`; if it is taken, the next port."""
    cache_ttl: Annotated[float, Field(gt=0, le=MAX_DEADLINE)] = 3600.0
    """The cache keeps an answer so long."""
    cache_entries: Count = 1000
    """The cache keeps so many answers."""
    cache_answer_bytes: Count = 256 * 1024
    """A longer answer is not kept in the cache, nor for the equal lines of a batch; bytes of JSON."""
    files_url: str = ""
    """Where files are stored: `file:///folder` or `s3://bucket/prefix?endpoint=…`; there are none without."""
    files_max_bytes: Count = 25 * 1024 * 1024
    """A larger file is refused."""
    files_types: str = DEFAULT_FILE_TYPES
    """Files of other types, by their content, are refused; separated by commas."""
    files_prompt_characters: Count = 200_000
    """Of the text of a job's files the model is told so much, of all together."""
    text_extractor: str = ""
    """`package.module.Class` of an own `TextExtractor`; kreuzberg unless set."""
    tika_url: str = ""
    """An Apache Tika server, which is asked for the text of files instead."""
    extract_environment: str = ""
    """Names of variables, separated by commas, that an own `TextExtractor` needs; else it has no keys."""
    extract_language: str = "eng"
    """Of scans and images, as tesseract names it; several joined by `+`."""
    extract_seconds: Positive = 60.0
    """For the text of one file."""
    extract_characters: Count = 1_000_000
    """A longer text of a file is cut."""
    extract_megabytes: Count = 1024
    """Address space of a process that reads a file."""
    extract_processes: Count = 2
    """So many files are read at once by a worker."""
    archive_url: Annotated[str, AfterValidator(_archive_url)] = ""
    """Where conversations are kept: `postgresql://…`, `sqlite:///FILE`; in the ledger's Redis unless set."""
    answer_seconds: Positive = 300.0
    """How long `send_message` of a conversation waits, unless the call says it."""
    sinks: str = ""
    """Classes of sinks, which are told the events of jobs too, separated by commas."""
    pusher: dict[str, Any] = Field(default_factory=dict)
    """An application at Pusher: `app_id`, `key`, `secret` (or `secret_env`), `cluster`, as JSON."""
    webhook_secret: Annotated[SecretStr, AfterValidator(_webhook_secret)] | None = None
    """Makes the keys of webhooks; `whsec_` and 24 to 64 bytes as base64; while changed two, the new first."""
    webhook_networks: Annotated[str, AfterValidator(_networks)] = ""
    """Of one's own that webhooks may call: `10.0.0.0/8, ::1`; with any, `http://` is accepted too."""
    webhook_seconds: Positive = 15.0
    """For the receiver of a webhook to answer."""
    gateway_auth: Literal["auto", "keys"] = "auto"
    """`keys`: the gateway serves nobody without an API key; `auto`: while there are none, the loopback."""
    gateway_body_bytes: Count = MAX_DOCUMENT_BYTES
    """A longer request to the gateway is refused; files have a bound of their own."""
    gateway_connections: Count = 10_000
    """So many connections a process of the gateway has at once; on further ones requests are refused."""
    gateway_key_requests: Count = 5_000
    """So many requests of one API key a process of the gateway answers at once, streams included."""
    gateway_token_requests: Count = 100
    """So many of one reader token."""
    gateway_token_per_minute: Count = 600
    """So many requests a minute may be made with one reader token."""
    gateway_stall_seconds: Positive = 60.0
    """A client of the gateway that takes or sends nothing for so long, while it should, is cut off."""
    gateway_origins: str = ""
    """Origins whose pages may call the gateway (CORS), separated by commas: `https://app.example`."""
    lease_seconds: Positive = 10.0
    """The jobs of a worker that was silent for so long are another's."""
    renew_seconds: Positive = 3.0
    """A worker says so often that it lives; at most half of the lease."""

    def __init__(self, **values: Any) -> None:
        problem = None
        try:
            super().__init__(**{**_environment(), **values})
        except pydantic.ValidationError as error:
            told = validation_error(error, tell=_told)
            problem = _variable(told.param or "") + told.message.removeprefix(told.param or "")
        if problem is not None:
            raise ConfigurationError(problem)

    @classmethod
    def load(cls, **values: Any) -> Self:
        """The settings of this process; explicit values win over the environment.

        When no URL is set anywhere, the addresses come from `.palaver/dev.json` in the working directory, if
        `palaver dev` has written one. Raises ConfigurationError.
        """
        settings = cls(**values)
        if "redis_url" in settings.model_fields_set:
            return settings
        addresses = _dev_addresses()
        # explicit values, then the environment, then the file
        known = {name: value for name, value in addresses.items() if name not in settings.model_fields_set}
        return cls(**{**known, **values}) if known else settings

    @model_validator(mode="after")
    def _one_redis(self) -> Self:
        if not self.broker_url:
            # not by a default, so that "was it set?" stays known
            self.__dict__["broker_url"] = self.redis_url
        return self

    @model_validator(mode="after")
    def _lease_outlives_renewal(self) -> Self:
        if self.renew_seconds * 2 > self.lease_seconds:
            lease, renew = _variable("lease_seconds"), _variable("renew_seconds")
            periods = f"{self.lease_seconds:g} and {self.renew_seconds:g}"
            raise ValueError(f"{lease} must be at least twice {renew}; they are {periods}")
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            if name is not None and name.endswith("_url") and value:
                value = redacted_url(str(value))
            elif name in ("providers", "models", "mcp", "tenants", "pusher"):
                value = sorted(value)
            yield name, value


_FOREIGN: Final = re.compile(r"_TEST_|_(KEY|TOKEN|SERVICE_HOST)$|_(SERVICE_)?PORT(_|$)")
"""Keys, which a profile names as it likes; and what Kubernetes tells of a service named `palaver…`."""


def unknown_variables(environment: Mapping[str, str]) -> str:
    """One line about the `PALAVER_*` variables that are no settings, misspelt most likely; or nothing."""
    known = [_variable(name) for name in Settings.model_fields]
    told = []
    for name in sorted(environment):
        upper = name.upper()
        if upper.startswith("PALAVER_") and upper not in known and not _FOREIGN.search(upper):
            near = difflib.get_close_matches(upper, known, 1, 0.8)
            told.append(f"{name} (is it {near[0]}?)" if near else name)
    return f"ignored, no settings of Palaver: {', '.join(told)}" if told else ""


def _environment() -> dict[str, Any]:
    """The settings that variables name, in letters of any case; an empty variable says nothing."""
    variables = {name.upper(): text for name, text in os.environ.items() if text}
    named = {name: variables.get(_variable(name)) for name in Settings.model_fields}
    return {name: _parsed(name, text) for name, text in named.items() if text is not None}


def _parsed(name: str, text: str) -> Any:
    if Settings.model_fields[name].default_factory is not dict:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        problem = ConfigurationError(f"{_variable(name)}: must be valid JSON")
    raise problem  # out here: the cause has the content


def _variable(param: str) -> str:
    return f"PALAVER_{param.upper()}" if param else ""


def _dev_addresses() -> dict[str, Any]:
    try:
        document = orjson.loads(DEV_FILE.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError):
        document = None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{DEV_FILE} cannot be read; remove it, or start palaver dev again")
    names = (*_URLS, "namespace", "config", "files_url")
    return {name: document[name] for name in names if isinstance(document.get(name), str)}
