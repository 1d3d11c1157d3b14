"""The Celery tasks: doors to the service that lives on the pool's loop.

Messages, events, results and logs show ids, a status and a model, and never what somebody asked or was
answered: `palaver.submit` is the one message with content, and its request shows none of it.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from celery import Task, shared_task
from celery.exceptions import InvalidTaskError
from celery.worker import state, strategy
from celery.worker.request import Request

from palaver.shared.errors import (
    ConfigurationError,
    InternalError,
    JobCancelledError,
    JobExpiredError,
    PalaverError,
    ValidationError,
)
from palaver.shared.ids import new_token, valid_job_id, valid_session_id
from palaver.shared.jobs import MAX_DOCUMENT_BYTES, Status
from palaver.shared.ledger import Canary
from palaver.shared.names import TASK_BATCH, TASK_CHAT, TASK_PROBE, TASK_SUBMIT
from palaver.shared.settings import Settings
from palaver.workers.ending import Outcome
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames, report
from palaver.workers.pool.direct import current_request
from palaver.workers.pool.malformed import MALFORMED, is_task_id
from palaver.workers.pool.post import Post
from palaver.workers.service import WorkerService
from palaver.workers.submission import (
    Envelope,
    accept,
    document_in,
    document_of,
    most_bytes,
    names_in,
    too_large,
)

__all__ = [
    "DiscreetRequest",
    "Door",
    "JobFailed",
    "JobRequest",
    "SubmitRequest",
    "batch",
    "chat",
    "probe",
    "submit",
]

logger = event_logger("palaver.workers.tasks")

T = TypeVar("T")

HIDDEN = "(...)"

UNREADABLE = "unreadable"

PROGRESS_SECONDS = 2.0

_CALLED_AFTER: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
"""What is left of the calls that were to follow a job: none."""

_KEPT_HEADERS = (
    *("id", "task", "args", "kwargs", "argsrepr", "kwargsrepr"),
    *("reply_to", "correlation_id", "delivery_info", "properties"),
)


class JobFailed(Exception):  # noqa: N818 - named for what an operator reads in Flower
    """The job's code of failure; its message is in the job's own events, for those who may read them."""


class DiscreetRequest(Request):
    """A request that shows ids only, whatever its sender wrote into the headers that describe its
    arguments.
    """

    # parts of the base class that celery-types does not know
    name: str
    _args: Any
    _kwargs: Any
    _argsrepr: str
    _kwargsrepr: str
    _request_dict: dict[str, Any]
    _type: str
    _message: Any
    _body: Any
    _on_ack: Any
    _on_reject: Any
    _eta: Any
    time_start: float | None
    time_limits: Any
    id: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self._args, list | tuple) or not isinstance(self._kwargs, dict):
            raise InvalidTaskError("arguments are a list and a mapping")
        if self.id is not None and not is_task_id(self.id):
            raise InvalidTaskError("the id is no id")
        # When a job is due the ledger knows: here it would wait for the life of its worker.
        self._due, self._eta = self._eta, None
        self._argsrepr = self.told(self._args, self._kwargs)
        self._kwargsrepr = "{}"
        self.name = self._type
        # Celery writes it into lines of log: it must not be able to end one
        self.id = self._request_dict["id"] = _one_line(self.id)
        # the tracer describes failures from here
        self._request_dict.update(argsrepr=self._argsrepr, kwargsrepr=self._kwargsrepr, shadow=None)

    def told(self, args: Any, kwargs: Any) -> str:
        """What is shown of the arguments."""
        return HIDDEN

    def info(self, safe: bool = False) -> Any:
        """What `inspect active` and Flower ask for: never the arguments themselves."""
        return super().info(safe=True)


class ResidentRequest(DiscreetRequest):
    """The request of what a worker that goes hands over, and does not cancel."""

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Celery's cold shutdown; the pool's residents hand over right after it."""


class BatchRequest(ResidentRequest):
    """The request of a driver of a batch."""

    def told(self, args: Any, kwargs: Any) -> str:
        """The batch, if it is named as it should be."""
        batch_id = _batch(args, kwargs)
        return super().told(args, kwargs) if batch_id is None else repr((batch_id,))


class JobRequest(ResidentRequest):
    """The request of a job."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # It is kept for as long as its stream lasts, beside a thousand others: most of its headers go.
        self._request_dict = {name: self._request_dict.get(name) for name in _KEPT_HEADERS}
        self._message.payload[2] = _CALLED_AFTER
        if self.id in state.requests:
            # A job that runs here was sent again: Celery knows one request of an id, and must find that one.
            self.id = self._request_dict["id"] = f"{self.id}.{new_token()[:8]}"

    def revoked(self) -> bool:
        """Whether Celery is to throw it away: never, its job would wait for its deadline. One that is not
        wanted any more is cancelled as it begins.
        """
        return False

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """End the job. One that has not begun is revoked by now."""
        if self.time_start is not None:
            super().terminate(pool, signal)

    def on_accepted(self, pid: Any, time_accepted: float) -> None:
        """The job begins, and with that its message is acknowledged: nothing asks for it any more."""
        vars(self._message).pop("_raw", None)  # until the broker knows: it is not to be given back
        self._body, self._request_dict["properties"] = b"", None
        super().on_accepted(pid, time_accepted)
        if self.acknowledged:
            self._message = self._on_ack = self._on_reject = None

    def told(self, args: Any, kwargs: Any) -> str:
        """The session and the job, if they are named as they should be."""
        address = _address(args, kwargs)
        return super().told(args, kwargs) if address is None else repr(address)


class SubmitRequest(DiscreetRequest):
    """The request of `palaver.submit`. Expired or revoked, it is run all the same: to refuse the job that it
    names, whose reader would wait for ever for a message that is thrown away. One that comes before its time
    is stored for then, and is from then on cancelled as a job is: no `revoke` reaches it.
    """

    expires: Any
    maybe_expire: Any

    def __init__(
        self, message: Any, *args: Any, body: Any = None, decoded: bool = False, **kwargs: Any
    ) -> None:
        """Give the tracer what Celery has read, that it makes no second document of it."""
        call = body if decoded else message.payload
        try:
            super().__init__(message, *args, body=call, decoded=True, **kwargs)
        except MALFORMED as error:
            raise InvalidTaskError("its headers, or its body, are none of a task") from error
        self.time_limits = (None, None)
        self._request_dict["run_at"] = None if self._due is None else max(0.0, self._due.timestamp())

    def acknowledge(self) -> None:
        """The job is stored, or refused: nothing asks for its message any more."""
        super().acknowledge()
        self._message = self._on_ack = self._on_reject = self._body = None
        self._args, self._kwargs = (), {}

    def revoked(self) -> bool:
        """Whether Celery is to throw it away: never for these two reasons."""
        if "unwanted" in self._request_dict:
            return False
        if self.expires and self.maybe_expire():
            self._request_dict["unwanted"] = JobExpiredError.code
        elif self.id in state.revoked:
            self._request_dict["unwanted"] = JobCancelledError.code
        else:
            return bool(super().revoked())
        return False


class Door(Task[Any, Any]):
    """Base of our tasks. `resident`: it ends by itself once the service was told to hand over; `expendable`:
    nobody misses what it has not done; `direct`: it runs without Celery's tracer; `limited`: Celery's time
    limits are for it.

    A message that only names what the ledger knows is acknowledged when the task begins: if the worker dies,
    a sweep sends another one. RabbitMQ closes the channel of who holds a message for half an hour.
    """

    abstract = True
    Request = "palaver.workers.tasks:DiscreetRequest"
    resident = False
    expendable = False
    direct = False
    limited = True
    acks_late = False
    ignore_result = True
    typing = False
    throws = (JobFailed,)

    @property
    def service(self) -> WorkerService:
        """The service of this process. ConfigurationError in a worker that was started with another pool."""
        service = getattr(self.app, "palaver_service", None)
        if not isinstance(service, WorkerService):
            raise ConfigurationError(f"{self.name} needs the worker pool palaver.workers.pool:AsyncPool")
        return service

    @property
    def post(self) -> Post:
        """Where the messages of jobs go that are to be run next."""
        app: Any = self.app  # its step has put it there
        post: Post = app.palaver_post
        return post


def taken_quietly(task: Task[Any, Any], app: Any, consumer: Any, **parts: Any) -> Any:
    """Celery's way with a message, but a job's line of log is that of its end: another one for its arrival
    costs a tenth of a short job. It is there for who debugs.
    """
    return strategy.default(task, app, consumer, info=strategy.logger.debug, **parts)


def searched_if_large(task: Task[Any, Any], app: Any, consumer: Any, **parts: Any) -> Any:
    """Celery's way with a message, but one that is too large is not read: it is only searched for the job
    that it names, to refuse that. So is the job of one that is no message of a task.
    """
    take = strategy.default(task, app, consumer, **parts)

    def taken(message: Any, body: Any, *rest: Any, **more: Any) -> None:
        if len(message.body) > most_bytes(_most_document_bytes(app)):
            message._decoded_cache = ((names_in(message.body),), {}, {})  # noqa: SLF001 - it has no other way
            message.headers = {**message.headers, "unwanted": ValidationError.code}
        try:
            take(message, body, *rest, **more)
        except InvalidTaskError:
            named = (message.headers if body is None else body).get("id")
            message._decoded_cache = ((document_in(message.payload),), {}, {})  # noqa: SLF001 - as above
            task_id = named if is_task_id(named) else None
            message.headers = {"task": task.name, "id": task_id, "unwanted": UNREADABLE}
            take(message, None, *rest, **more)

    return taken


class JobDoor(Door):
    """Base of `palaver.chat`."""

    abstract = True
    Request = "palaver.workers.tasks:JobRequest"
    Strategy = "palaver.workers.tasks:taken_quietly"
    resident = True
    direct = True


class BatchDoor(Door):
    """Base of `palaver.batch`."""

    abstract = True
    Request = "palaver.workers.tasks:BatchRequest"
    resident = True


class ProbeDoor(Door):
    """Base of `palaver.probe`: canaries come every few seconds, and are no news. At the end of the time to
    drain they are cancelled: another canary is sent, and who asks may ask another worker.
    """

    abstract = True
    Strategy = "palaver.workers.tasks:taken_quietly"
    expendable = True
    direct = True


class SubmitDoor(Door):
    """Base of `palaver.submit`, whose message is the only copy of the job until that is stored: it waits for
    a ledger that is away however long that takes.
    """

    abstract = True
    acks_late = True
    limited = False
    Request = "palaver.workers.tasks:SubmitRequest"
    Strategy = "palaver.workers.tasks:searched_if_large"


@shared_task(name=TASK_CHAT, base=JobDoor, bind=True)
async def chat(self: JobDoor, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Run the job `(session_id, job_id)`; one that an operator has revoked is cancelled."""
    address, request = _address(args, kwargs), current_request.get()
    if address is None:
        logger.warning("chat.discarded", task_id=request["id"], reason="it names no job")
        raise JobFailed(ValidationError.code)
    queue = (request["delivery_info"] or {}).get("routing_key") or ""
    revoked = address[1] in state.revoked or request["id"] in state.revoked
    work = self.service.cancel(*address) if revoked else self.service.run(*address, queue=queue)
    outcome = await _guarded(work)
    if outcome.dispatch is not None:
        await self.post.send([outcome.dispatch])
    return _told(outcome)


@shared_task(name=TASK_BATCH, base=BatchDoor, bind=True)
async def batch(self: BatchDoor, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Work on the batch `(batch_id)`. A message too many does nothing."""
    batch_id = _batch(args, kwargs)
    if batch_id is None:
        logger.warning("batch.discarded", task_id=self.request.id, reason="it names no batch")
        raise JobFailed(ValidationError.code)
    telling = asyncio.create_task(_tell_progress(self, str(self.request.id), batch_id))
    try:
        became = await _guarded(self.service.drive(batch_id))
    finally:
        telling.cancel()
    return {"batch_id": batch_id, "became": became}


@shared_task(name=TASK_SUBMIT, base=SubmitDoor, bind=True)
async def submit(self: SubmitDoor, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Store the job of a whole document, `palaver.submit(job)`, and send its `palaver.chat`."""
    service, document = self.service, document_of(args, kwargs)
    request: Any = self.request
    told = Envelope(request.id, request.run_at, _unwanted(request, service.settings))
    work = accept(service.ledger, service.settings, document, told)
    stored = await _guarded(work)
    if stored.dispatch is not None:
        await self.post.send([stored.dispatch])
    return {"job_id": stored.job_id, "session_id": stored.session_id, "status": stored.status}


@shared_task(name=TASK_PROBE, base=ProbeDoor, bind=True)
async def probe(self: ProbeDoor, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What this worker is and serves; with `(probe_id, profile, model)` how that provider is, told in the
    ledger to whoever waits for it. A canary's arguments say that this worker has it.
    """
    service, asked = self.service, _probed(args, kwargs)
    canary = None if kwargs else Canary.parse(args)
    if canary is not None:
        await _guarded(service.take(canary))
        return {"canary": canary.queue}
    if asked is None:
        logger.warning("probe.discarded", task_id=current_request.get()["id"], reason="it names no provider")
        raise JobFailed(ValidationError.code)
    told: dict[str, Any] = {}
    if asked:
        health = await _guarded(service.probe(*asked))
        told = {"profile": asked[1], "ok": health.ok}
    return {
        "worker": service.name,
        "running": service.running,
        "slots": service.slots,
        "profiles": service.profiles,
        **told,
    }


async def _tell_progress(door: Door, task_id: str, batch_id: str) -> None:
    """Tell those who watch the task how far its batch is, until cancelled. They need not know."""
    told = None
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        with suppress(PalaverError):
            view = await door.service.ledger.batch(batch_id)
            if view.counts.done != told:
                told = view.counts.done
                progress = f"{told} of {view.counts.total}"
                await door.post.tell("task-progress", task_id, worker=door.service.name, result=progress)


def _most_document_bytes(app: Any) -> int:
    """Of this worker; the usual ones where it is none of ours."""
    service = getattr(app, "palaver_service", None)
    return service.settings.max_document_bytes if isinstance(service, WorkerService) else MAX_DOCUMENT_BYTES


def _unwanted(request: Any, settings: Settings) -> PalaverError | None:
    """Why the job of a message is not to be accepted, whatever it says; see `SubmitRequest`."""
    code = request.get("unwanted")
    if code == ValidationError.code:
        return too_large(settings.max_document_bytes)
    if code == UNREADABLE:
        return ValidationError("The message with the job is none that Celery can read.")
    if code == JobExpiredError.code:
        return JobExpiredError("The message with the job expired before a worker took it.")
    if code == JobCancelledError.code:
        return JobCancelledError("The message with the job was revoked before a worker took it.")
    return None


async def _guarded(work: Coroutine[Any, Any, T]) -> T:
    """The worker's outermost boundary: out of here comes a code, and no text that may quote somebody."""
    try:
        return await work
    except PalaverError as error:
        raise JobFailed(forget_frames(error).code) from None
    except Exception as bug:  # noqa: BLE001 - see above
        report(bug, "a task")
        raise JobFailed(InternalError.code) from None


def _one_line(task_id: Any) -> Any:
    return ascii(task_id) if isinstance(task_id, str) and not task_id.isprintable() else task_id


def _told(outcome: Outcome) -> dict[str, Any]:
    """The result that Flower shows; raises JobFailed for a job that failed."""
    if outcome.status in (Status.FAILED, Status.EXPIRED):
        raise JobFailed(outcome.code or str(outcome.status))
    if outcome.reason == "gone":
        logger.warning("chat.unknown", session_id=outcome.session_id, job_id=outcome.job_id)
    return {"job_id": outcome.job_id, "status": str(outcome.status or outcome.reason), "model": outcome.model}


def _probed(args: Any, kwargs: Any) -> tuple[str, str, str | None] | tuple[()] | None:
    """The probe's id, the profile and the model that a message names, or nothing; None for anything else."""
    match args:
        case () | [] if not kwargs:
            return ()
        case (str(probe_id), str(profile), str() | None as model) if not kwargs:
            return (probe_id, profile, model) if valid_job_id(probe_id) else None
    return None


def _batch(args: Any, kwargs: Any) -> str | None:
    """The batch that a message names, if that is all it holds."""
    match args:
        case (batch_id,) | [batch_id] if not kwargs and valid_session_id(batch_id):
            return str(batch_id)
    return None


def _address(args: Any, kwargs: Any) -> tuple[str, str] | None:
    """The session and the job that a message names, if that is all it holds."""
    if isinstance(kwargs, dict) and not args and kwargs.keys() == {"session_id", "job_id"}:
        args = (kwargs["session_id"], kwargs["job_id"])
    elif kwargs:
        return None
    if isinstance(args, list | tuple) and len(args) == 2:
        session_id, job_id = args
        if valid_session_id(session_id) and valid_job_id(job_id):
            return session_id, job_id
    return None
