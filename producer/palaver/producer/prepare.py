"""From what a caller wrote to a job that may be stored; pure. What is wrong is found before any I/O."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from pydantic import BaseModel

from palaver.shared.agent_paths import check_agent
from palaver.shared.errors import JobError, JobNotFinishedError, ValidationError
from palaver.shared.ids import new_job_id
from palaver.shared.jobs import CachePolicy, Chain, ChatJob, Completion, HistoryLimit, OnBusy, Timeouts
from palaver.shared.ledger import Announcement, JobView
from palaver.shared.messages import MessagesLike
from palaver.shared.modes import ChatMode
from palaver.shared.params import ChatParams, ReasoningOptions
from palaver.shared.plain import refuse, shape
from palaver.shared.profiles import DEFAULT_MODEL, SCRIPTED, Catalog
from palaver.shared.response_schema import ResponseSchema, schema_of
from palaver.shared.sealing import is_sealed
from palaver.shared.settings import DEFAULT_CONFIG, Settings
from palaver.shared.stores import FileRef
from palaver.shared.tools import FunctionTool, ToolChoice
from palaver.shared.webhooks import check_webhook, networks

ALIAS: Final = "alias"
"""The `kind` under which workers announce a model alias."""

SEQ_BOUND: Final = 2**53
"""Every `seq` is below it, so that all that read JSON have it exactly."""

Announced = Mapping[str, Mapping[str, Any]]
"""Profile or alias name -> `{"kind": …, "models": […] | None}`, as live workers serve them. Of profiles
`several` too: whether `n` gets as many choices; None: nobody knows.
"""

ANNOUNCED_SECONDS: Final = 5.0
"""How long a producer remembers what workers announce."""

JobLike = str | Mapping[str, Any] | ChatJob
"""What `submit_many` takes for one job: a prompt, the arguments of `submit`, or a job."""


AllowJob = Callable[[ChatJob], ChatJob]
"""Gives a job that somebody else made as it is to be done, or raises: by ValidationError a line of a batch is
wrong, any other error ends all.
"""


class JobFields(TypedDict, total=False):
    """The fields of `ChatJob` that `submit` takes besides messages; what is left out has its default."""

    model: str | Sequence[str] | None
    session_id: str | None
    params: ChatParams | Mapping[str, Any] | None
    job_id: str
    history: MessagesLike | Literal["session"] | None
    history_limit: HistoryLimit | Mapping[str, int | bool | None] | None
    system: str | None
    tools: Sequence[FunctionTool | Mapping[str, Any]] | None
    tool_choice: ToolChoice | str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    reasoning: ReasoningOptions | Mapping[str, Any] | bool | None
    user: str | None
    tenant: str | None
    priority: int
    deadline: float
    run_at: float | datetime | None
    timeouts: Timeouts | Mapping[str, float]
    max_retries: int
    idempotency_key: str | None
    on_busy: OnBusy | Literal["enqueue", "reject", "interrupt", "rollback", "parallel"]
    complete: Completion | Mapping[str, Any] | bool | None
    response_schema: ResponseSchema | Mapping[str, Any] | None
    chain: Chain | Mapping[str, Any] | None
    mode: ChatMode | Literal["creative", "neutral", "precise"] | None
    cache: CachePolicy | Mapping[str, Any] | bool | None
    agent: str | None
    archive: bool
    files: Sequence[str | FileRef]
    webhook: str | None
    metadata: Mapping[str, Any]
    retry_of: str | None
    traceparent: str | None


def prepare(
    messages: Any,
    settings: Settings,
    fields: Mapping[str, Any],
    response_model: type[BaseModel] | None = None,
) -> ChatJob:
    """The job of these messages and `JobFields`; a `response_model` has it answered by that model's schema.

    A caller who names a session continues it: `history` is then `"session"`, unless something else is given.
    Raises ValidationError.
    """
    document = {"messages": messages, **fields}
    if document.get("params") is None:
        document["params"] = {}
    if response_model is not None:
        if document.get("response_schema") is not None:
            refuse("response_schema", "and response_model exclude each other")
        document["response_schema"] = schema_of(response_model)
    document.setdefault("deadline", settings.deadline)
    if document.get("session_id") is not None:
        document.setdefault("history", "session")
    job = ChatJob.parse(document, max_bytes=settings.max_document_bytes)
    if job.webhook is not None:
        check_webhook(job.webhook, networks(settings.webhook_networks))
    return job


def prepare_again(view: JobView, settings: Settings, allow: AllowJob | None = None) -> ChatJob:
    """The new job that retries this ended one: the same document in the same session.

    Its idempotency key is made of the old job's id, so that a repeated retry finds the job of the first one.
    A job that once interrupted others now waits for its turn. Raises JobNotFinishedError, and JobError for a
    job that was refused, of which there is no document.
    """
    if view.document_json is None:
        raise JobError(f"job {view.job_id} was refused and never stored; submit it anew", job_id=view.job_id)
    job = ChatJob.parse(view.document_json, max_bytes=settings.max_document_bytes)
    if allow is not None:
        job = allow(job)
    if not view.status.ended:
        raise JobNotFinishedError(
            f"job {view.job_id} is {view.status}; only an ended job can be retried", job_id=view.job_id
        )
    fields = {
        "job_id": new_job_id(),
        "session_id": view.session_id,
        "retry_of": view.job_id,
        "idempotency_key": f"retry:{view.job_id}",
        "traceparent": None,  # it is another trace
    }
    if job.on_busy in (OnBusy.INTERRUPT, OnBusy.ROLLBACK):
        fields["on_busy"] = OnBusy.ENQUEUE
    return job.model_copy(update=fields)


def numbered(jobs: Iterable[JobLike]) -> Iterator[tuple[int, JobLike]]:
    """What `submit_many` was given, each with its place. Raises ValidationError for what is no list."""
    if isinstance(jobs, str | bytes | Mapping | ChatJob) or not isinstance(jobs, Iterable):
        refuse("jobs", f"must be a list of jobs, not {shape(jobs)}")
    return enumerate(jobs)


def as_given(job: Any) -> Any:
    """It as it is now: whoever gives many jobs may make each of the one before."""
    if not isinstance(job, Mapping):
        return job
    return {name: list(value) if isinstance(value, list) else value for name, value in job.items()}


def prepare_many(jobs: Iterable[tuple[int, JobLike]], settings: Settings) -> list[ChatJob]:
    """The jobs of `submit_many`; errors name their place, e.g. `jobs[3].params.temperature`."""
    return [_nth(index, job, settings) for index, job in jobs]


def _nth(index: int, job: JobLike, settings: Settings) -> ChatJob:
    if isinstance(job, ChatJob):
        # its id counts as given: who holds a job may have submitted it before, in another session
        return job.model_copy(update={"job_id": job.job_id})
    fields = dict(job) if isinstance(job, Mapping) else {"messages": job}
    try:
        return prepare(fields.pop("messages", None), settings, fields)
    except ValidationError as error:
        place = f"jobs[{index}]" + (f".{error.param}" if error.param else "")
        problem = ValidationError(f"{place}: {error.message.removeprefix(f'{error.param}: ')}", param=place)
    raise problem


def period(since: date | None, until: date | None) -> tuple[date, date]:
    """The days that a question means: those up to today (UTC's) by default, and that day alone."""
    last = until or datetime.now(UTC).date()
    return since or last, last


def check_after(after: object) -> None:
    """Raises ValidationError for what cannot be a cursor."""
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < SEQ_BOUND:
        refuse("after", f"must be the seq of an event, or 0, not {shape(after)}")


def check_timeout(timeout: object) -> None:
    """Raises ValidationError for what cannot be a number of seconds to wait; None waits without a bound."""
    if timeout is None:
        return
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not (number and 0 <= timeout <= sys.float_info.max):  # type: ignore[operator]
        refuse("timeout", f"must be a number of seconds, 0 or more, or None, not {shape(timeout)}")


def announced(profiles: Iterable[Announcement]) -> Announced:
    """What live workers serve, by name."""
    return {profile.name: profile.data for profile in profiles}


def own_catalog(settings: Settings) -> Catalog | None:
    """The catalog of this process's own configuration; None if there is none."""
    nothing = settings.config == DEFAULT_CONFIG and not Path(DEFAULT_CONFIG).exists()
    if nothing and not settings.providers and not settings.models:
        return None
    return Catalog.load(settings)


def agent_paths(jobs: Iterable[ChatJob]) -> list[str]:
    """The paths of the agents that jobs name, each once."""
    return list(dict.fromkeys(job.agent for job in jobs if job.agent is not None))


def check_agents(paths: Iterable[str], served: Sequence[str]) -> None:
    """Raises ValidationError with `param="agent"` for a path that no live worker serves, if any serves
    some.
    """
    for path in paths:
        check_agent(path, served)


def _check_choices(models: Iterable[str], served: Announced) -> None:
    """Raises ValidationError with `param="n"` if one of these models is known to give one choice: the answer
    would be paid for, and not be what was asked for. Of a provider that says nothing of it, the answer tells.
    """
    for model in models:
        if not _may_give_several(model, served):
            refuse("n", f"must be 1: {model[:64]!r} gives one choice at a time")


def _may_give_several(model: str, served: Announced) -> bool:
    known = served.get(model, {})
    if known.get("kind") == ALIAS:  # of models, not of other aliases
        return all(
            _may_give_several(target, served) for target in known.get("models") or () if target != model
        )
    profile = served.get(model.partition("/")[0], {})
    return profile.get("several") is not False


class Admission:
    """Whether a job's models exist: by what workers announce, else by the own catalog; without both, yes.

    Models are checked only where a profile lists them.
    """

    def __init__(self, catalog: Catalog | None) -> None:
        self._catalog = catalog
        self._announced: Announced = {}
        self._updated = float("-inf")

    def update(self, announced: Announced) -> None:
        """Take what live workers announce now."""
        self._announced = announced
        self._updated = time.monotonic()

    def check(self, models: Sequence[str], *, several: bool = False) -> None:
        """Raises ValidationError for models that nobody serves, by what is known now; if `several` choices
        are wanted, also for those that give one.
        """
        self._check_all([(tuple(models), several)])

    def rounds(self, jobs: Iterable[ChatJob]) -> Iterator[None]:
        """Check the jobs; the caller answers every round with an `update`.

        Raises ValidationError with `param="model"`, or `n`, never by what workers announced a while ago.
        """
        named = (job for job in jobs if job.models or job.agent is None)
        wanted = list(dict.fromkeys((tuple(job.models), (job.params.n or 1) > 1) for job in named))
        fresh = time.monotonic() - self._updated > ANNOUNCED_SECONDS
        if fresh:
            yield
        try:
            return self._check_all(wanted)
        except ValidationError:
            if fresh:
                raise
        yield
        return self._check_all(wanted)

    def _check_all(self, wanted: Iterable[tuple[tuple[str, ...], bool]]) -> None:
        for models, several in wanted:
            named = [model for model in models if not is_sealed(model)]
            if models and not named:
                continue  # the ledger knows whether these are there
            if self._announced:
                for model in named or [self._default()]:
                    self._check(model)
            elif self._catalog is not None:
                self._catalog.resolve(named or None)
            if several:
                _check_choices(self._targets(models), self._announced)

    def _targets(self, models: Sequence[str]) -> list[str]:
        """Without the aliases that only this process knows."""
        known = {} if self._catalog is None else self._catalog.aliases
        targets: list[str] = []
        for model in models or ["default"]:
            own = self._catalog if model in known and model not in self._announced else None
            targets += [model] if own is None else map(str, own.resolve(model))
        return targets

    def _default(self) -> str:
        """What workers take for a job that names no model; as `Catalog.resolve`."""
        if self._announced.get("default", {}).get("kind") == ALIAS:
            return "default"
        if self._served != [SCRIPTED]:
            refuse("model", f"is required: no worker has a default; served: {', '.join(self._served)}")
        return DEFAULT_MODEL

    @property
    def _served(self) -> list[str]:
        """The profiles of live workers."""
        return sorted(name for name, item in self._announced.items() if item.get("kind") != ALIAS)

    def _check(self, model: str) -> None:
        if self._announced.get(model, {}).get("kind") == ALIAS:
            return
        if self._catalog is not None and model in self._catalog.aliases:
            for target in self._catalog.resolve(model):
                self._check(str(target))
            return
        profile, slash, name = model.partition("/")
        if not slash:
            refuse("model", f"{model[:64]!r} is neither provider/model nor an alias that is known here")
        served = self._announced.get(profile)
        if served is None or served.get("kind") == ALIAS:
            names = ", ".join(self._served)
            refuse("model", f"no worker serves the provider {profile[:64]!r}; served: {names}")
        models = served.get("models")
        if not name.strip() or (models is not None and name not in models):
            listed = f"; it has: {', '.join(models)}" if models else ""
            refuse("model", f"{profile} has no model {name[:64]!r}{listed}")
