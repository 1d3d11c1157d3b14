"""What sweepers do: take turns, look at one job, settle the entries of `due`."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from palaver.shared.errors import JobCancelledError, JobExpiredError, JobPoisonedError, SessionBusyError
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
from palaver.shared.ledger.operations.admitting import uncount
from palaver.shared.ledger.operations.dead import bury
from palaver.shared.ledger.operations.ending import error_json, error_of_job
from palaver.shared.ledger.operations.gating import forget_at_gate
from palaver.shared.ledger.operations.readying import wait_no_more
from palaver.shared.ledger.operations.spending import count
from palaver.shared.ledger.operations.verdicts import RESEND_AFTER_MS, dispatch_in, look_at
from palaver.shared.ledger.operations.webhooks import hurry_webhook
from palaver.shared.ledger.replies import Due, Looked, Passed, Place, SweepTurn
from palaver.shared.ledger.scripts import load
from palaver.shared.names import QUEUES

POISONED_AFTER = 3
"""Successive deaths of workers, without anything written in between, after which a job is given up."""

Verdict = Literal["dead", "alive", ""]

_CANCELLED = error_json(JobCancelledError())
_BUSY = error_json(SessionBusyError(param="on_busy"))


def take_turn(
    keys: Keys, *, period: float, again: bool = False, completed: float = 0.0
) -> Operation[SweepTurn | None]:
    """The sweepers' turn for `period` seconds; None while somebody has it. It only saves work.

    `again` goes on with a turn that the caller has just had. `completed` is the time of the turn whose sweep
    it has completed last.
    """

    def decode(raw: Any) -> SweepTurn | None:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        if text(raw[0]) == "busy":
            return None
        time, stopped, resumed, behind = (int(number) / 1000 for number in raw[1:])
        return SweepTurn(time=time, stopped=stopped, resumed=resumed, behind=behind)

    args: tuple[Argument, ...] = (round(period * 1000), int(again), round(completed * 1000))
    return Operation(script=load("sweep"), keys=(keys.sweep,), args=args, decode=decode)


def shift(registry: str, seconds: float) -> Operation[None]:
    """Have all entries of `keys.due`, or of another registry by times, come so much earlier: the clock was
    set back.
    """
    return Operation(script=load("shift"), keys=(registry,), args=(milliseconds(seconds),), decode=_nothing)


def shifted(keys: Keys) -> Query[None]:
    """A sweep has seen to it that the clock was set back."""
    return Query(commands=(Command("HDEL", keys.sweep, "behind"),), decode=lambda _replies: None)


def due(keys: Keys, *, time: float, limit: int) -> Query[list[Due]]:
    """At most `limit` jobs to look at by `time` (of Redis), the longest due first."""

    def decode(replies: Sequence[Any]) -> list[Due]:
        flat = replies[0]
        return [Due(*parse_due_member(flat[i]), _score(flat[i + 1])) for i in range(0, len(flat), 2)]

    words = ("ZRANGEBYSCORE", keys.due, "-inf", milliseconds(time), "WITHSCORES", "LIMIT", 0, limit)
    return Query(commands=(Command(*words),), decode=decode)


def _score(value: Any) -> int:
    return int(float(value))


def how_far(keys: Keys) -> Query[dict[str, int]]:
    """Of each broker queue of which it is known: what had arrived there before this ms has left it."""

    def decode(replies: Sequence[Any]) -> dict[str, int]:
        return {queue.value: int(reply) for queue, reply in zip(QUEUES, replies, strict=True) if reply}

    return Query(commands=tuple(Command("GET", keys.passed(queue)) for queue in QUEUES), decode=decode)


def overtaken(keys: Keys, passed: Mapping[str, Passed], *, limit: int) -> Query[list[tuple[str, Place]]]:
    """Enlisted jobs whose messages have left their queue: queue and place; at most `limit` of each queue."""
    queues = list(passed)

    def decode(replies: Sequence[Any]) -> list[tuple[str, Place]]:
        return [
            (queue, parse_due_member(member))
            for queue, members in zip(queues, replies, strict=True)
            for member in members
        ]

    commands = (
        Command("ZRANGEBYSCORE", keys.sent(queue), "-inf", f"({passed[queue].before}", "LIMIT", 0, limit)
        for queue in queues
    )
    return Query(commands=tuple(commands), decode=decode)


def before_in_queue(keys: Keys, queue: str, place: Place, sent: float) -> Query[int | None]:
    """How many messages wait in this broker queue before a job's, sent then (Unix time). It is known of those
    that have waited a while; None: it has not, and none has.
    """

    def decode(replies: Sequence[Any]) -> int | None:
        before, own = int(replies[0]), replies[1]
        return before if before or own is not None else None

    waiting = keys.sent(queue)
    commands = (
        Command("ZCOUNT", waiting, "-inf", f"({milliseconds(sent)}"),
        Command("ZSCORE", waiting, due_member(*place)),
    )
    return Query(commands=commands, decode=decode)


def due_of(keys: Keys, places: Sequence[Place]) -> Query[list[Due]]:
    """The entries of those jobs that are watched still."""

    def decode(replies: Sequence[Any]) -> list[Due]:
        scores = zip(places, replies[0], strict=True)
        return [Due(*place, _score(score)) for place, score in scores if score is not None]

    members = [due_member(*place) for place in places]
    return Query(commands=(Command("ZMSCORE", keys.due, *members),), decode=decode)


def enlist(keys: Keys, queue: str, waiting: Mapping[Due, int]) -> Operation[None]:
    """Have these jobs looked at when the queue has passed their messages, sent at these ms."""
    args = tuple(word for entry, sent in waiting.items() for word in (due_member(*entry.place), sent))
    return Operation(script=load("enlist"), keys=(keys.sent(queue),), args=args, decode=_nothing)


def _nothing(raw: Any) -> None:
    if isinstance(raw, Exception):
        raise reply_error(raw)


def look(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    retention: Retention,
    turn: SweepTurn,
    grace: float,
    worker: Verdict = "",
    passed: Mapping[str, Passed] = MappingProxyType({}),
) -> Operation[Looked]:
    """Look at one job and do what is due, see `Looked`.

    An expired lease is freed, if `worker` says whether the one that held it is dead or alive; if not, the
    reply names it. One that ran out when nobody could renew it is left alone for `grace` seconds after
    that time, see `SweepTurn`. `passed` says of broker queues how far they are.
    """

    def after(raw: Any) -> tuple[Command, ...]:
        now, send = int(raw[1]), text(raw[3])
        status = text(raw[5]) if text(raw[0]) == "ended" else ""
        hurry = (hurry_webhook(keys, session_id, job_id, int(raw[6])),) if status else ()
        gate, interrupted = text(raw[8]), text(raw[10])
        return (
            *hurry,
            *(look_at(keys, session_id, interrupted, now) if interrupted else ()),
            *(forget_at_gate(keys, gate, (session_id, job_id)) if gate else ()),
            *((wait_no_more(keys, session_id, job_id),) if status else ()),
            *(look_at(keys, session_id, send, now + RESEND_AFTER_MS) if send not in ("", job_id) else ()),
            *bury(keys, session_id, job_id, status=status, ended=int(raw[6]), retention=retention),
            *count(keys, session_id, job_id, spent=raw[7], ended=int(raw[6]), retention=retention),
            *uncount(keys, session_id, job_id, raw[9]),
        )

    args: tuple[Argument, ...] = (
        *(session_id, job_id),
        *retention.args(),
        *(milliseconds(turn.time), milliseconds(turn.stopped), milliseconds(turn.resumed + grace)),
        *(worker, POISONED_AFTER),
        error_of_job(JobExpiredError, job_id),
        error_of_job(JobPoisonedError, job_id),
        _CANCELLED,
        _BUSY,
        *(word for queue, at in passed.items() for word in (queue, at.before, at.resend_to)),
    )
    return Operation(
        script=load("look"),
        keys=(keys.base(session_id),),
        args=args,
        decode=lambda raw: _looked(session_id, raw),
        after=after,
    )


def _looked(session_id: str, raw: Any) -> Looked:
    if isinstance(raw, Exception):
        raise reply_error(raw)
    outcome, _, next_look, job, queue, detail, *_ = raw
    waits = text(outcome) == "queued"
    return Looked(
        outcome=text(outcome),  # type: ignore[arg-type] # the words are the script's
        next_look=int(next_look),
        dispatch=dispatch_in(session_id, job, queue),
        detail="" if waits else text(detail),
        queue=text(queue) if waits else "",
        sent=int(detail) if waits else 0,
    )


def settle(keys: Keys, changes: Sequence[tuple[Due, int | None]]) -> Operation[None]:
    """Put off entries of `due` to a time (ms), or drop them (None), unless somebody moved them meanwhile."""
    args: list[Argument] = []
    for entry, next_look in changes:
        args += [due_member(*entry.place), entry.score, "" if next_look is None else next_look]
    return Operation(script=load("settle"), keys=(keys.due,), args=tuple(args), decode=_nothing)
