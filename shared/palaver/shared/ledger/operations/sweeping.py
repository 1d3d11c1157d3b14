"""What sweepers do: take turns, look at one job, settle the entries of `due`."""

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

from palaver.shared.errors import JobCancelledError, JobExpiredError, JobPoisonedError
from palaver.shared.ledger.keys import Keys, due_member, parse_due_member
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
from palaver.shared.ledger.operations.dead import bury
from palaver.shared.ledger.operations.ending import error_json
from palaver.shared.ledger.operations.verdicts import RESEND_AFTER_MS, dispatch_in, look_at
from palaver.shared.ledger.replies import Due, Looked, SweepTurn
from palaver.shared.ledger.scripts import load

POISONED_AFTER = 3
"""Successive deaths of workers, without anything written in between, after which a job is given up."""

_NEVER_MS = 2**53

Verdict = Literal["dead", "alive", ""]


def take_turn(keys: Keys, *, period: float, again: bool = False) -> Operation[SweepTurn | None]:
    """The sweepers' turn for `period` seconds; None while somebody has it. It only saves work.

    `again` goes on with a turn that the caller has just had.
    """

    def decode(raw: Any) -> SweepTurn | None:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        if text(raw[0]) == "busy":
            return None
        since = int(raw[2])
        return SweepTurn(time=int(raw[1]) / 1000, since_last=None if since < 0 else since / 1000)

    args: tuple[Argument, ...] = (round(period * 1000), int(again))
    return Operation(script=load("sweep"), keys=(keys.sweep,), args=args, decode=decode)


def due(keys: Keys, *, time: float, limit: int) -> Query[list[Due]]:
    """At most `limit` jobs to look at by `time` (of Redis), the longest due first."""

    def decode(replies: Sequence[Any]) -> list[Due]:
        flat = replies[0]
        return [Due(*parse_due_member(flat[i]), _score(flat[i + 1])) for i in range(0, len(flat), 2)]

    words = ("ZRANGEBYSCORE", keys.due, "-inf", milliseconds(time), "WITHSCORES", "LIMIT", 0, limit)
    return Query(commands=(Command(*words),), decode=decode)


def _score(value: Any) -> int:
    return int(float(value))


def look(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    retention: Retention,
    lease: float,
    extend_after: float = math.inf,
    worker: Verdict = "",
    empty_queues: Collection[str] = (),
) -> Operation[Looked]:
    """Look at one job and do what is due, see `Looked`.

    When Redis's time is past `extend_after` seconds, Redis may have stood still: an expired lease is
    extended by `lease` seconds, once. Otherwise it is freed, if `worker` says whether the one that held it
    is dead or alive; if not, the reply names it.
    """

    def decode(raw: Any) -> Looked:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        word, _, next_look, job, queue, detail = raw
        return Looked(
            outcome=text(word),  # type: ignore[arg-type] # the words are the script's
            next_look=int(next_look),
            dispatch=dispatch_in(session_id, job, queue),
            detail=text(detail),
        )

    def after(raw: Any) -> tuple[Command, ...]:
        now, send = int(raw[1]), text(raw[3])
        status = text(raw[5]) if text(raw[0]) == "ended" else ""
        return (
            *(look_at(keys, session_id, send, now + RESEND_AFTER_MS) if send not in ("", job_id) else ()),
            *bury(keys, session_id, job_id, status=status, now=now, retention=retention),
        )

    args: tuple[Argument, ...] = (
        *(session_id, job_id),
        *retention.args(),
        *(
            _late_after(extend_after),
            milliseconds(lease),
            worker,
            f",{','.join(empty_queues)},",
            POISONED_AFTER,
        ),
        error_json(JobExpiredError(job_id=job_id)),
        error_json(JobPoisonedError(job_id=job_id)),
        error_json(JobCancelledError()),
    )
    return Operation(
        script=load("look"), keys=(keys.base(session_id),), args=args, decode=decode, after=after
    )


def _late_after(seconds: float) -> int:
    return _NEVER_MS if seconds == math.inf else milliseconds(seconds)


def settle(keys: Keys, changes: Sequence[tuple[Due, int | None]]) -> Operation[None]:
    """Put off entries of `due` to a time (ms), or drop them (None), unless somebody moved them meanwhile."""

    def decode(raw: Any) -> None:
        if isinstance(raw, Exception):
            raise reply_error(raw)

    args: list[Argument] = []
    for entry, next_look in changes:
        member = due_member(entry.session_id, entry.job_id)
        args += [member, entry.score, "" if next_look is None else next_look]
    return Operation(script=load("settle"), keys=(keys.due,), args=tuple(args), decode=decode)
