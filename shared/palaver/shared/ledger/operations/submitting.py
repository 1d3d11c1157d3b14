"""How jobs come in: submit and refuse."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import orjson

from palaver.shared.errors import (
    ConflictError,
    ErrorInfo,
    JobCancelledError,
    PalaverError,
    QueueFullError,
    SessionBusyError,
    SessionClosedError,
    SessionNotFoundError,
)
from palaver.shared.ids import is_key_session, session_for
from palaver.shared.jobs import ChatJob, Status, fingerprint_of, said
from palaver.shared.ledger.keys import Keys, due_member
from palaver.shared.ledger.operation import (
    Argument,
    Command,
    Operation,
    Query,
    Retention,
    milliseconds,
    reply_error,
    text,
)
from palaver.shared.ledger.operations.admitting import keep_counted, uncount
from palaver.shared.ledger.operations.conversing import note_unarchived
from palaver.shared.ledger.operations.ending import error_json, give_back
from palaver.shared.ledger.operations.readying import takes_turns, wait_for_worker, wait_no_more
from palaver.shared.ledger.operations.verdicts import (
    RESEND_AFTER_MS,
    accepted,
    dispatch_in,
    due_after_end,
    is_ok,
    look_at,
)
from palaver.shared.ledger.operations.webhooks import forgotten_webhook, note_webhook
from palaver.shared.ledger.replies import Refused, Submitted
from palaver.shared.ledger.scripts import load
from palaver.shared.names import Queue, queue_for

_INTERRUPTED = error_json(JobCancelledError())
"""The error of a job that the new one interrupts; made once, it is a fifth of a submit's work."""

_INTERRUPTED_AT = 9
"""Where the reply of submit names it."""

_RESERVED_MS = 60_000
"""An id whose job is not stored in this time is free again: whoever reserved it has died."""

# 128 bits of the hash tell bodies apart as well as all of it, for half the memory.
_FINGERPRINT = 32


def session_of(job: ChatJob) -> str:
    """The session that a job goes to:

    its own, else the one of its idempotency key, else one of its own id.
    """
    if job.session_id is not None:
        return job.session_id
    if job.idempotency_key is not None:
        return session_for(job.tenant, job.idempotency_key)
    return job.job_id


def _session_is(session_id: str, job: ChatJob) -> Literal["", "begun", "opened"]:
    """What the session has to be before the job: a conversation, if what is said is kept with it; begun, if
    its name is for another's idempotency key.
    """
    if job.archive:
        return "opened"
    if not is_key_session(session_id):
        return ""
    is_its_own = job.idempotency_key is not None and session_id == session_for(
        job.tenant, job.idempotency_key
    )
    return "" if is_its_own else "begun"


def reserve(keys: Keys, jobs: Sequence[ChatJob]) -> Query[list[bool]]:
    """Have the jobs' ids name their sessions, for a while; whether they do, and not another session."""
    sessions = [session_of(job) for job in jobs]

    def decode(replies: Sequence[Any]) -> list[bool]:
        named = replies[1::2]
        return [text(name or "") in ("", mine) for name, mine in zip(named, sessions, strict=True)]

    commands: list[Command] = []
    for job, session_id in zip(jobs, sessions, strict=True):
        index = keys.index(job.job_id)
        # SET's own GET does not go with NX before Redis 7.
        commands += [Command("SET", index, session_id, "NX", "PX", _RESERVED_MS), Command("GET", index)]
    return Query(commands=tuple(commands), decode=decode)


def submit(
    keys: Keys, job: ChatJob, *, retention: Retention, queue: Queue | None = None, counts: str = ""
) -> Operation[Submitted]:
    """Store the job, its place in its session's line and its first event. `queue` is where it waits for a
    worker (default: by its priority); `counts` the list of unended jobs that it was given a place in.

    Nothing is stored when it raises: ConflictError (the idempotency key or the job id was used with another
    body), SessionBusyError, QueueFullError, SessionClosedError, SessionNotFoundError (it is another tenant's,
    or no conversation that could keep what is said), LedgerFullError. Whether the id is that of a job in
    another session, `reserve` tells.
    """
    session_id = session_of(job)
    queue = queue_for(job.priority) if queue is None else queue
    return Operation(
        script=load("submit"),
        keys=(keys.base(session_id),),
        args=_submit_args(session_id, job, retention, queue, counts),
        before=_before_submit(keys, session_id, job, retention, queue),
        decode=lambda raw: _submitted(session_id, job.job_id, raw),
        after=lambda raw: _after_submit(raw, keys, session_id, job, counts=counts, retention=retention),
    )


def repeat(keys: Keys, job: ChatJob, *, retention: Retention, refusal: PalaverError) -> Operation[Submitted]:
    """What a submit of the job has said, if there was one; nothing is stored. Raises `refusal` if there was
    none.
    """
    session_id = session_of(job)

    def decode(raw: Any) -> Submitted:
        if not isinstance(raw, Exception) and text(raw[0]) == "full":
            raise refusal
        return _submitted(session_id, job.job_id, raw)

    none = replace(retention, session_jobs=0)  # no session takes a job that it has not got
    args = _submit_args(session_id, job, none, queue_for(job.priority))
    return Operation(script=load("submit"), keys=(keys.base(session_id),), args=args, decode=decode)


def _submitted(session_id: str, job_id: str, raw: Any) -> Submitted:
    reply = accepted_job(raw, job_id)
    return Submitted(
        session_id=session_id,
        job_id=text(reply[1]),
        cursor=int(reply[2]),
        created=bool(reply[3]),
        status=Status(text(reply[4])),
        position=int(reply[5]),
        dispatch=dispatch_in(session_id, reply[6], reply[7]),
    )


def _before_submit(
    keys: Keys, session_id: str, job: ChatJob, retention: Retention, queue: Queue
) -> tuple[Command, ...]:
    """The job can be found and is watched before it exists: a crash cannot leave one that nobody looks at."""
    run_at = milliseconds(job.run_at) if job.run_at else 0
    index, kept = keys.index(job.job_id), milliseconds(job.deadline + retention.job)
    member = due_member(session_id, job.job_id)
    return (
        Command.call(load("index"), index, session_id, run_at, kept)
        if run_at
        else Command("SET", index, session_id, "PX", kept),
        Command.call(load("watch"), keys.due, member, run_at, RESEND_AFTER_MS),
        *(note_unarchived(keys, session_id, job.job_id, run_at) if job.archive else ()),
        *((note_webhook(keys, session_id, job.job_id, run_at, job.tenant),) if job.webhook else ()),
        *wait_for_worker(keys, session_id, job, queue),
    )


def accepted_job(raw: Any, job_id: str) -> Any:
    """The reply of submit, or the error that says why the job was not taken."""
    if isinstance(raw, Exception):
        raise reply_error(raw)
    match text(raw[0]):
        case "conflict" if text(raw[1]) == job_id:
            raise ConflictError(
                f"There is another job {job_id} in this session.", job_id=job_id, param="job_id"
            )
        case "conflict":
            raise ConflictError(job_id=text(raw[1]), param="idempotency_key")
        case "busy":
            raise SessionBusyError(job_id=text(raw[1]), param="on_busy")
        case "full":
            raise QueueFullError(
                f"The session has {int(raw[1])} jobs that have not ended, and takes no more before one has.",
                param="session_id",
            )
        case "foreign":
            raise SessionNotFoundError("The job's tenant has no such session.", param="session_id")
        case "unopened":
            raise SessionNotFoundError(
                "The session is no conversation, or one that was silent for long: create it, or have "
                "`submit_message` open it.",
                job_id=job_id,
                param="session_id",
            )
        case "closed":
            raise SessionClosedError(
                f"The session is {text(raw[1])} and takes no more messages.", param="session_id"
            )
    return accepted(raw, job_id)


def _submit_args(
    session_id: str, job: ChatJob, retention: Retention, queue: Queue, counts: str = ""
) -> tuple[Argument, ...]:
    document = said(orjson.loads(job.to_json()))
    content = orjson.dumps({**document, "session_id": session_id})
    args: tuple[Argument, ...] = (
        *(session_id, job.job_id),
        *retention.args(),
        *(
            fingerprint_of(document)[:_FINGERPRINT],
            job.idempotency_key or "",
            job.on_busy.value,
            queue.value,
        ),
        *(milliseconds(job.run_at) if job.run_at else 0, milliseconds(job.deadline)),
        *("1" if job.history == "session" else "", ",".join(job.models)),
        *(
            content,
            b"\n".join(new_messages(job)),
            _INTERRUPTED,
            retention.session_jobs,
            job.tenant or "",
            counts,
            job.user or "",
            _session_is(session_id, job),
            _notice(job),
        ),
    )
    return args


def _notice(job: ChatJob) -> bytes:
    """What each try of the job's webhook needs of it, so that none reads all that was asked."""
    if job.webhook is None:
        return b""
    return orjson.dumps({"url": job.webhook, "tenant": job.tenant, "metadata": job.metadata})


def new_messages(job: ChatJob) -> list[bytes]:
    """What a job adds to its session's history before its answer, as JSON.

    All its messages if the session's history goes before them; of a whole conversation, only the last user
    message.
    """
    messages = [message for message in job.messages if message.role in ("user", "tool")]
    if job.history != "session":
        messages = messages[-1:]
    return [message.to_json() for message in messages]


def _after_submit(
    raw: Any, keys: Keys, session_id: str, job: ChatJob, *, counts: str, retention: Retention
) -> tuple[Command, ...]:
    """A refused job leaves nothing behind; a turn that was repaired is watched."""
    if isinstance(raw, Exception):
        return ()
    job_id = job.job_id
    # Stored, or in conflict about its own id: then the job is there, with another body.
    is_there = (is_ok(raw) or text(raw[0]) == "conflict") and text(raw[1]) == job_id
    commands: tuple[Command, ...] = ()
    if not is_there:
        commands = (
            Command("DEL", keys.index(job_id)),
            Command("ZREM", keys.due, due_member(session_id, job_id)),
        )
        if job.webhook is not None:
            commands = (*commands, forgotten_webhook(keys, session_id, job_id))
    # Who waits for its session's turn waits for no worker yet, and is sent with that turn.
    if takes_turns(job) and (not is_there or (is_ok(raw) and int(raw[5]) > 0)):
        commands = (*commands, wait_no_more(keys, session_id, job_id))
    if not is_there or (is_ok(raw) and Status(text(raw[4])).ended):
        commands = (*commands, *uncount(keys, session_id, job_id, counts))
    elif is_ok(raw) and counts:
        ends = max(job.run_at or 0.0, int(raw[8]) / 1000) + job.deadline
        commands = (*commands, *keep_counted(keys, session_id, job_id, counts, ends=ends))
    if is_ok(raw) and raw[6] and text(raw[6]) != job_id:
        commands = (*commands, *look_at(keys, session_id, text(raw[6]), int(raw[8]) + RESEND_AFTER_MS))
    if is_ok(raw) and len(raw) > _INTERRUPTED_AT:
        commands = (*commands, *_of_interrupted(keys, session_id, raw, retention))
    return commands


def _of_interrupted(keys: Keys, session_id: str, raw: Any, retention: Retention) -> tuple[Command, ...]:
    """What the job has left that was ended for the new one, which has its turn."""
    now, ended_job = int(raw[8]), text(raw[_INTERRUPTED_AT])
    left = raw[_INTERRUPTED_AT + 1 :]
    return (
        *give_back(keys, session_id, ended_job, left, ended=now, retention=retention),
        *due_after_end(keys, session_id, ended_job, next_job="", now=now, retention=retention),
    )


def refuse(
    keys: Keys, session_id: str, job_id: str, error: ErrorInfo, *, retention: Retention
) -> Operation[Refused]:
    """End a named job that cannot be accepted:

    readers of its session get one stream_end. Existing jobs are left alone.
    """

    def decode(raw: Any) -> Refused:
        reply = accepted(raw, job_id, "exists")
        existed = text(reply[0]) == "exists"
        return Refused(status=Status(text(reply[1])), cursor=0 if existed else int(reply[2]), existed=existed)

    return Operation(
        script=load("refuse"),
        keys=(keys.base(session_id),),
        args=(session_id, job_id, *retention.args(), error.model_dump_json().encode()),
        before=(Command("SET", keys.index(job_id), session_id, "NX", "PX", milliseconds(retention.job)),),
        decode=decode,
    )
