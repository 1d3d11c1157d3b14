"""What the replies have in common: the verdicts that refuse a write, and the job that got the turn."""

from collections.abc import Sequence
from typing import Any

from palaver.shared.errors import (
    FencedError,
    InternalError,
    JobEndedError,
    JobGoneError,
    PalaverError,
    SequenceGapError,
)
from palaver.shared.ledger.keys import Keys, due_member
from palaver.shared.ledger.operation import Command, Retention, milliseconds, reply_error, text
from palaver.shared.ledger.operations.webhooks import hurry_webhook
from palaver.shared.ledger.replies import Dispatch

RESEND_AFTER_MS = 5_000
"""A message that nobody claimed in this time may be lost."""


def accepted(raw: Any, job_id: str, *also: str) -> Sequence[Any]:
    """The reply if its first word is `ok` or one of `also`; raises the error of the verdict otherwise."""
    if isinstance(raw, Exception):
        raise reply_error(raw)
    word = text(raw[0])
    if word == "ok" or word in also:
        return raw  # type: ignore[no-any-return]
    raise _verdict(word, raw, job_id)


def _verdict(word: str, raw: Sequence[Any], job_id: str) -> PalaverError:
    match word:
        case "fenced":
            return FencedError(job_id=job_id)
        case "ended":
            return JobEndedError(f"The job has already ended: {text(raw[1])}.", job_id=job_id)
        case "gone":
            return JobGoneError(job_id=job_id)
        case "gap":
            return SequenceGapError(last_taken=int(raw[1]), job_id=job_id)
    return InternalError(f"The ledger answered with an unknown word: {word}.", job_id=job_id)


def is_ok(raw: Any) -> bool:
    """Whether a raw reply accepts the call."""
    return not isinstance(raw, Exception) and text(raw[0]) == "ok"


def dispatch_in(session_id: str, job_id: bytes | str, queue: bytes | str) -> Dispatch | None:
    """The job to send, as two words of a reply name it."""
    return Dispatch(session_id, text(job_id), text(queue)) if job_id else None


PASSED_MS = 3_600_000

DUE_SECONDS = 400 * 24 * 3600
"""Far above any deadline and run_at in use: `due` lives while somebody submits or sweeps at least yearly."""


def look_at(keys: Keys, session_id: str, job_id: str, time_ms: int) -> tuple[Command, ...]:
    """A sweeper is to look at the job then."""
    return (
        Command("ZADD", keys.due, time_ms, due_member(session_id, job_id)),
        # The entry may be the only one, and its set new.
        Command("EXPIRE", keys.due, DUE_SECONDS),
    )


def is_past(keys: Keys, queue: str, time_ms: int) -> Command:
    """What had arrived in this broker queue before that time has left it. A hint: it may be lost, or older
    than the one before.
    """
    return Command("SET", keys.passed(queue), time_ms, "PX", PASSED_MS)


def delivered(
    keys: Keys, session_id: str, job_id: str, queue: str, *, sent: int, waited: int
) -> tuple[Command, ...]:
    """A message of that time came out of this queue, which keeps the order; its job waits no more."""
    enlisted = waited >= RESEND_AFTER_MS
    forget = (Command("ZREM", keys.sent(queue), due_member(session_id, job_id)),) if enlisted else ()
    return (is_past(keys, queue, sent), *forget)


def due_after_end(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    next_job: bytes | str,
    now: int,
    retention: Retention,
    webhook: bool = True,
) -> tuple[Command, ...]:
    """After a job's end, at `now` ms:

    its successor is watched before it is forgotten itself, so that a crash between loses none. `webhook`: it
    may have one.
    """
    successor = look_at(keys, session_id, text(next_job), int(now) + RESEND_AFTER_MS) if next_job else ()
    return (
        *successor,
        *((hurry_webhook(keys, session_id, job_id, int(now)),) if webhook else ()),
        Command("ZREM", keys.due, due_member(session_id, job_id)),
        Command("PEXPIRE", keys.index(job_id), milliseconds(retention.job)),
    )
