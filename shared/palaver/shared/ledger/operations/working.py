"""What a worker does with a job: claim, append, renew, store, finish, release."""

from collections.abc import Sequence
from typing import Any, Final

from palaver.shared.jobs import Status
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Argument, Command, Operation, Retention, milliseconds, text
from palaver.shared.ledger.operations.admitting import uncount
from palaver.shared.ledger.operations.dead import bury
from palaver.shared.ledger.operations.spending import count
from palaver.shared.ledger.operations.verdicts import (
    accepted,
    delivered,
    dispatch_in,
    due_after_end,
    is_ok,
    look_at,
)
from palaver.shared.ledger.replies import (
    Appended,
    Claimed,
    Dispatch,
    Finished,
    NotClaimed,
    Released,
    Renewed,
    Stored,
)
from palaver.shared.ledger.scripts import load

APPEND_CONSTANT: Final = 4
"""So many first arguments of append are the same in every batch of an attempt:

session id, job id, fence, entries.
"""
APPEND_FIXED: Final = 8
"""So many arguments stand before append's events; after the constant ones come first, reset, text, reasoning.
"""


def claim(
    keys: Keys, session_id: str, job_id: str, *, token: str, worker: str, lease: float, queue: str = ""
) -> Operation[Claimed | NotClaimed]:
    """Take the job for `lease` seconds. The same token again gives the same reply.

    `queue` is where its message came from: sweepers learn that the queue has passed all that was sent
    before.
    """

    def decode(raw: Any) -> Claimed | NotClaimed:
        reply = accepted(raw, job_id, "no")
        if text(reply[0]) == "no":
            gate = text(reply[2]) if len(reply) > 2 else ""
            return NotClaimed(text(reply[1]), gate)  # type: ignore[arg-type] # the words are the script's
        fence, waited = text(reply[1]), _waited(reply, lease)
        return Claimed(
            session_id=session_id,
            job_id=job_id,
            attempt=int(fence.partition(":")[0]),
            fence=fence,
            job=reply[2],
            text=text(reply[3]),
            reasoning=text(reply[4]),
            failures=int(reply[5]),
            cancelled=text(reply[6]),
            deadline=int(reply[7]) / 1000,
            journal=list(reply[9]),
            history=list(reply[10]),
            tries=reply[11],
            spent=reply[13],
            gate=text(reply[14]),
            begun=int(reply[15]) / 1000,
            waited=None if waited is None else waited / 1000,
        )

    def after(raw: Any) -> tuple[Command, ...]:
        if not is_ok(raw):
            return ()
        sent, waited = int(raw[12]), _waited(raw, lease)
        return (
            *look_at(keys, session_id, job_id, int(raw[8])),
            *(() if waited is None else delivered(keys, session_id, job_id, queue, sent=sent, waited=waited)),
        )

    args: tuple[Argument, ...] = (session_id, job_id, token, worker, milliseconds(lease), queue)
    return Operation(
        script=load("claim"), keys=(keys.base(session_id),), args=args, decode=decode, after=after
    )


def _waited(claimed: Sequence[Any], lease: float) -> int | None:
    """How long the job's message was in its queue, in ms; None if that is not known."""
    sent = int(claimed[12])
    return int(claimed[8]) - milliseconds(lease) - sent if sent else None


def append(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    fence: str,
    first: int,
    events: Sequence[bytes],
    text: str = "",
    reasoning: str = "",
    reset: bool = False,
    log_entries: int = 10_000,
) -> Operation[Appended]:
    """Log events. Each is the JSON of its `type` and `data` without braces: `"type":"text_chunk","data":{…}`.

    `first` is the producer sequence of the first one, from 1 in each attempt. `reset` empties text and
    reasoning first (a `stream_start` with offset 0); `text` and `reasoning` are what the batch adds after
    that. Raises FencedError, JobEndedError, JobGoneError, SequenceGapError; LedgerFullError if Redis has no
    memory.
    """

    def decode(raw: Any) -> Appended:
        reply = accepted(raw, job_id)
        return Appended(cancelled=_word(reply[1]), last_taken=int(reply[2]))

    args: tuple[Argument, ...] = (
        session_id,
        job_id,
        fence,
        log_entries,
        first,
        int(reset),
        text,
        reasoning,
        *events,
    )
    return Operation(script=load("append"), keys=(keys.base(session_id),), args=args, decode=decode)


def renew(keys: Keys, session_id: str, job_id: str, *, fence: str, lease: float) -> Operation[Renewed]:
    """Extend the lease to `lease` seconds from now."""

    def decode(raw: Any) -> Renewed:
        return Renewed(cancelled=_word(accepted(raw, job_id)[1]))

    args: tuple[Argument, ...] = (session_id, job_id, fence, milliseconds(lease))
    return Operation(script=load("renew"), keys=(keys.base(session_id),), args=args, decode=decode)


def save_entry(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    fence: str,
    number: int,
    content: bytes,
    events: Sequence[bytes] = (),
    spent: bytes = b"",
    log_entries: int = 10_000,
) -> Operation[Stored]:
    """Store a finished step of the job before the next one, and log `events`, given as for `append`, in the
    same moment: what is stored was told, and nothing else.

    Numbers begin at 1; raises SequenceGapError. Events that `append` still has on its way would come after
    these.
    """
    return _store(
        keys, "save_entry", (session_id, job_id, fence, log_entries, number, content, spent, *events)
    )


def note_failures(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    fence: str,
    failures: int,
    tries: bytes = b"",
    spent: bytes = b"",
) -> Operation[Stored]:
    """Store the number of provider errors so far, which counts against `max_retries` over all attempts.

    `tries` is the worker's own note of where the job is in its list of models, `spent` that of what it has
    spent; the next claim returns both.
    """
    return _store(keys, "note_failures", (session_id, job_id, fence, failures, tries, spent))


def _store(keys: Keys, script: str, args: tuple[Argument, ...]) -> Operation[Stored]:
    session_id, job_id = str(args[0]), str(args[1])

    def decode(raw: Any) -> Stored:
        reply = accepted(raw, job_id)
        return Stored(cancelled=_word(reply[1]), count=int(reply[2]))

    return Operation(script=load(script), keys=(keys.base(session_id),), args=args, decode=decode)


def finish(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    fence: str,
    status: Status,
    end: bytes,
    response: bytes | None = None,
    error: bytes | None = None,
    spent: bytes = b"",
    history: Sequence[bytes] = (),
    webhook: bool = True,
    retention: Retention,
) -> Operation[Finished]:
    """End the job with `end`, the stream_end's JSON of `type` and `data` without braces.

    `history` is what the session's history gets if the job completed or was cancelled without a rollback.
    Without a `response` the ledger keeps the text so far. `spent`, a `Spending`, is counted once. `webhook`:
    it may have one. The same worker asking again gets the first reply.
    """

    def decode(raw: Any) -> Finished:
        reply = accepted(raw, job_id)
        return Finished(
            status=Status(_word(reply[1])),
            seq=int(reply[2]),
            dispatch=dispatch_in(session_id, reply[3], reply[4]),
        )

    def after(raw: Any) -> tuple[Command, ...]:
        if not is_ok(raw):
            return ()
        return (
            *bury(keys, session_id, job_id, status=_word(raw[1]), ended=int(raw[6]), retention=retention),
            *count(keys, session_id, job_id, spent=spent, ended=int(raw[6]), retention=retention),
            *uncount(keys, session_id, job_id, raw[7]),
            *due_after_end(
                keys, session_id, job_id, next_job=raw[3], now=raw[5], retention=retention, webhook=webhook
            ),
        )

    args: tuple[Argument, ...] = (
        *(session_id, job_id, *retention.args(), fence, status.value),
        *(end, response or b"", error or b"", spent, *history),
    )
    return Operation(
        script=load("finish"), keys=(keys.base(session_id),), args=args, decode=decode, after=after
    )


def release(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    fence: str,
    resume_at: float | None = None,
    delay: float = 0.0,
    spent: bytes = b"",
    gate: str = "",
) -> Operation[Released]:
    """Give the job back:

    at once, for another worker, or parked until `resume_at` (Unix time by Redis's clock), or for `delay`
    seconds from now. A job whose end was asked for is not parked. One that waits at the `gate` of this
    profile may go on before its time.
    """

    def decode(raw: Any) -> Released:
        queue = _word(accepted(raw, job_id)[1])
        return Released(dispatch=Dispatch(session_id, job_id, queue) if queue else None)

    def after(raw: Any) -> tuple[Command, ...]:
        return look_at(keys, session_id, job_id, int(raw[2])) if is_ok(raw) else ()

    until = milliseconds(resume_at) if resume_at else 0
    wait = milliseconds(delay) if delay > 0 else 0
    args: tuple[Argument, ...] = (session_id, job_id, fence, until, wait, spent, gate)
    return Operation(
        script=load("release"), keys=(keys.base(session_id),), args=args, decode=decode, after=after
    )


def _word(value: bytes | str) -> str:
    return text(value)
