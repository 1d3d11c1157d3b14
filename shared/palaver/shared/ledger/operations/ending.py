"""How others than the worker end a job: cancel, expire."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Literal

from palaver.shared.errors import ErrorInfo, JobCancelledError, JobError, JobExpiredError
from palaver.shared.jobs import Status
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Argument, Command, Operation, Retention, text
from palaver.shared.ledger.operations.admitting import uncount
from palaver.shared.ledger.operations.dead import bury
from palaver.shared.ledger.operations.gating import forget_at_gate
from palaver.shared.ledger.operations.readying import wait_no_more
from palaver.shared.ledger.operations.spending import count
from palaver.shared.ledger.operations.verdicts import accepted, dispatch_in, due_after_end, is_ok
from palaver.shared.ledger.replies import Cancelled, Expired
from palaver.shared.ledger.scripts import load

Mode = Literal["cancel", "interrupt", "rollback"]

_ANY_JOB: Final = "00000000-0000-0000-0000-000000000000"
"""Stands for a job's id, where that is all in which two errors differ."""


def cancel(
    keys: Keys, session_id: str, job_id: str, *, mode: Mode = "cancel", retention: Retention
) -> Operation[Cancelled]:
    """End a job that no worker holds, or ask the worker that does. Of an ended job it tells the status.

    `interrupt` is the same by another name; `rollback` also keeps the job out of the session's history.
    Raises JobGoneError.
    """

    def decode(raw: Any) -> Cancelled:
        reply = accepted(raw, job_id)
        return Cancelled(status=Status(text(reply[1])), dispatch=dispatch_in(session_id, reply[2], reply[3]))

    def after(raw: Any) -> tuple[Command, ...]:
        return after_end(keys, session_id, job_id, raw, retention)

    args: tuple[Argument, ...] = (
        session_id,
        job_id,
        *retention.args(),
        mode,
        error_of_job(JobCancelledError, job_id),
    )
    return Operation(
        script=load("cancel"), keys=(keys.base(session_id),), args=args, decode=decode, after=after
    )


def expire(keys: Keys, session_id: str, job_id: str, *, retention: Retention) -> Operation[Expired]:
    """End a job past its deadline; before it, say how much time is left. Raises JobGoneError."""

    def decode(raw: Any) -> Expired:
        reply = accepted(raw, job_id, "early")
        if text(reply[0]) == "early":
            return Expired(status=Status(text(reply[1])), dispatch=None, early=int(reply[2]) / 1000)
        return Expired(status=Status(text(reply[1])), dispatch=dispatch_in(session_id, reply[2], reply[3]))

    def after(raw: Any) -> tuple[Command, ...]:
        forget = after_end(keys, session_id, job_id, raw, retention)
        if not is_ok(raw) or text(raw[1]) != Status.EXPIRED:
            return forget
        return (
            *bury(keys, session_id, job_id, status=Status.EXPIRED, ended=int(raw[5]), retention=retention),
            *forget,
        )

    args: tuple[Argument, ...] = (
        session_id,
        job_id,
        *retention.args(),
        error_of_job(JobExpiredError, job_id),
    )
    return Operation(
        script=load("expire"), keys=(keys.base(session_id),), args=args, decode=decode, after=after
    )


def after_end(
    keys: Keys, session_id: str, job_id: str, raw: Any, retention: Retention
) -> tuple[Command, ...]:
    """The commands after a reply `ok, status, next job, queue, now`; of a job that has ended `ended, spent,
    gate, counts` follow.
    """
    if not is_ok(raw) or not Status(text(raw[1])).ended:
        return ()
    return (
        *give_back(keys, session_id, job_id, raw[6:], ended=int(raw[5]), retention=retention),
        *due_after_end(keys, session_id, job_id, next_job=raw[2], now=raw[4], retention=retention),
    )


def give_back(
    keys: Keys, session_id: str, job_id: str, left: Sequence[Any], *, ended: int, retention: Retention
) -> tuple[Command, ...]:
    """The commands that give back what an ended job has left, by these words of a reply: `spent, gate,
    counts`. Goes before those that have it looked at no more.
    """
    spent, gate, counts = left
    return (
        *(forget_at_gate(keys, text(gate), (session_id, job_id)) if gate else ()),
        wait_no_more(keys, session_id, job_id),
        *count(keys, session_id, job_id, spent=spent, ended=ended, retention=retention),
        *uncount(keys, session_id, job_id, counts),
    )


def error_json(error: Exception) -> bytes:
    """An error as the ledger stores and sends it."""
    return ErrorInfo.of(error).model_dump_json().encode()


def error_of_job(kind: Callable[..., JobError], job_id: str) -> bytes:
    """`error_json` of an error that tells nothing but the job: a sweep needs thousands, and few are used."""
    before, after = _around_job_id(kind)
    return b"%b%b%b" % (before, job_id.encode(), after)


@cache
def _around_job_id(kind: Callable[..., JobError]) -> tuple[bytes, bytes]:
    before, _, after = error_json(kind(job_id=_ANY_JOB)).partition(_ANY_JOB.encode())
    return before, after
