"""What sweepers do: take turns, look at one job, settle the entries of `due`."""

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
        time, stopped, resumed = (int(number) / 1000 for number in raw[1:])
        return SweepTurn(time=time, stopped=stopped, resumed=resumed)

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
    turn: SweepTurn,
    grace: float,
    worker: Verdict = "",
    empty_queues: Collection[str] = (),
) -> Operation[Looked]:
    """Look at one job and do what is due, see `Looked`.

    An expired lease is freed, if `worker` says whether the one that held it is dead or alive; if not, the
    reply names it. One that ran out when nobody could renew it is left alone for `grace` seconds after
    that time, see `SweepTurn`.
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
        *(milliseconds(turn.time), milliseconds(turn.stopped), milliseconds(turn.resumed + grace)),
        *(worker, f",{','.join(empty_queues)},", POISONED_AFTER),
        error_json(JobExpiredError(job_id=job_id)),
        error_json(JobPoisonedError(job_id=job_id)),
        error_json(JobCancelledError()),
    )
    return Operation(
        script=load("look"), keys=(keys.base(session_id),), args=args, decode=decode, after=after
    )


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
