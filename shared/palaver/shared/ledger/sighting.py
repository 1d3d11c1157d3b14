"""A look at the jobs that have not ended, for whoever watches the system: ids, states and times, no content.

All of them if they are few; else a part of them that was drawn at random, and those that have waited longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys, parse_due_member
from palaver.shared.ledger.operation import Command, Query
from palaver.shared.ledger.replies import Place
from palaver.shared.names import QUEUES

MOST: Final = 1000
OLDEST: Final = 100
"""Beside a part that is drawn at random: those that a sweeper is to look at first."""
PAGE: Final = 1000
PAGES: Final = 20
"""Of entries that are looked at for jobs that run."""

_FIELDS: Final = (
    *("status", "holder", "parked", "gate", "resume", "queue", "sent", "created", "started", "model"),
    *("worker", "attempt"),
)


State = Literal["waiting", "parked", "running"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighted:
    """A job that has not ended. Times are seconds of Redis's clock."""

    session_id: str
    job_id: str
    state: State
    queue: str  # of the broker
    tenant: str  # "": none
    model: str  # as it was asked for
    worker: str  # that has it; "": none
    attempt: int
    created: float
    started: float | None
    sent: float | None  # when its message was, if it waits for a worker
    written: int = 0  # bytes of text and thoughts so far, if they were asked for

    @property
    def waits_since(self) -> float:
        """Its message was sent then, or it came then and waits for its turn."""
        return self.created if self.sent is None else self.sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """`total` jobs have not ended. `drawn` are all of them, or a part drawn at random; `oldest` are then
    those that may have waited longest.
    """

    time: float
    total: int
    drawn: list[Sighted]
    oldest: list[Sighted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Jobs that run, with how much they have written, at a time of Redis's clock.

    `whole`: there are no others.
    """

    time: float
    jobs: list[Sighted]
    whole: bool


def sight(keys: Keys, *, most: int = MOST) -> Exchange[Sight]:
    """Look at `most` jobs."""
    now, total, drawn, oldest = yield from exchange.query(_members(keys, most))
    if total <= most:
        drawn, oldest = oldest, []
    jobs = yield from _sighted(keys, [*drawn, *oldest], texts=False)
    found = {(job.session_id, job.job_id): job for job in jobs}
    return Sight(
        time=now,
        total=total,
        drawn=[found[place] for place in dict.fromkeys(drawn) if place in found],
        oldest=[found[place] for place in dict.fromkeys(oldest) if place in found],
    )


def running(keys: Keys, *, lease: float, most: int, before: Sequence[Place] = ()) -> Exchange[Running]:
    """At most `most` jobs that run; those of `before` that still do are among them.

    A lease is renewed all the time, so among the entries that a sweep will look at soon those of running jobs
    are the last; what was submitted lately comes before them, and is looked at when there are too few.
    """
    now = yield from exchange.query(_now())
    until = round((now + 2 * lease) * 1000)
    held = yield from _held(keys, before)
    pages = 0
    whole = False
    while not whole and len(held) <= most and pages < PAGES:
        page = yield from exchange.query(_due_until(keys, until, pages))
        held |= yield from _held(keys, page)
        whole = len(page) < PAGE
        pages += 1
    jobs = yield from _sighted(keys, list(held)[:most], texts=True)
    return Running(
        time=now, jobs=[job for job in jobs if job.state == "running"], whole=whole and len(held) <= most
    )


def _members(keys: Keys, most: int) -> Query[tuple[float, int, list[Place], list[Place]]]:
    def decode(replies: Sequence[Any]) -> tuple[float, int, list[Place], list[Place]]:
        clock, total, drawn, *lists = replies
        oldest = [parse_due_member(member) for members in lists for member in members]
        return _seconds(clock), int(total), [parse_due_member(member) for member in drawn], oldest

    commands = (
        Command("TIME"),
        Command("ZCARD", keys.due),
        Command("ZRANDMEMBER", keys.due, most),
        Command("ZRANGE", keys.due, 0, most - 1),
        *(Command("ZRANGE", keys.sent(queue), 0, OLDEST // 10) for queue in QUEUES),
    )
    return Query(commands=commands, decode=decode)


def _now() -> Query[float]:
    return Query(commands=(Command("TIME"),), decode=lambda replies: _seconds(replies[0]))


def _due_until(keys: Keys, until: int, page: int) -> Query[list[Place]]:
    """The last first."""
    command = Command("ZREVRANGEBYSCORE", keys.due, until, "-inf", "LIMIT", page * PAGE, PAGE)
    return Query(commands=(command,), decode=lambda replies: [parse_due_member(each) for each in replies[0]])


def _held(keys: Keys, places: Sequence[Place]) -> Exchange[dict[Place, None]]:
    """Those of the jobs that somebody has, in their order."""
    if not places:
        return {}
    commands = tuple(Command("HEXISTS", keys.job(*place), "holder") for place in places)

    def decode(replies: Sequence[Any]) -> dict[Place, None]:
        return {place: None for place, held in zip(places, replies, strict=True) if held}

    return (yield from exchange.query(Query(commands=commands, decode=decode)))


def _sighted(keys: Keys, places: Sequence[Place], *, texts: bool) -> Exchange[list[Sighted]]:
    distinct = list(dict.fromkeys(places))
    found: list[Sighted] = []
    for start in range(0, len(distinct), exchange.BATCH):
        found += yield from exchange.query(_jobs(keys, distinct[start : start + exchange.BATCH], texts))
    return found


def _jobs(keys: Keys, places: Sequence[Place], texts: bool) -> Query[list[Sighted]]:
    commands = [Command("TIME")]
    for session_id, job_id in places:
        job = keys.job(session_id, job_id)
        commands.append(Command("HMGET", job, *_FIELDS))
        commands.append(Command("HGET", keys.session(session_id), "tenant"))
        if texts:
            commands += [Command("STRLEN", f"{job}:text"), Command("STRLEN", f"{job}:reasoning")]
    each = 4 if texts else 2

    def decode(replies: Sequence[Any]) -> list[Sighted]:
        now, rest = _seconds(replies[0]), replies[1:]
        jobs = (_job(now, place, *rest[i * each : (i + 1) * each]) for i, place in enumerate(places))
        return [job for job in jobs if job is not None]

    return Query(commands=tuple(commands), decode=decode)


def _job(
    now: float, place: Place, fields: Sequence[bytes | None], tenant: bytes | None, *written: int
) -> Sighted | None:
    known = dict(zip(_FIELDS, fields, strict=True))
    if known["status"] not in (b"queued", b"running"):
        return None

    def word(name: str) -> str:
        return (known[name] or b"").decode()

    def seconds(name: str) -> float | None:
        value = known[name]
        return None if value is None else int(value) / 1000

    later = known["parked"] or known["gate"] or (seconds("resume") or 0.0) > now
    state: State = "running" if known["holder"] else "parked" if later else "waiting"
    return Sighted(
        session_id=place[0],
        job_id=place[1],
        state=state,
        queue=word("queue"),
        tenant=(tenant or b"").decode(),
        model=word("model"),
        worker=word("worker"),
        attempt=int(known["attempt"] or 0),
        created=seconds("created") or 0.0,
        started=seconds("started"),
        sent=None if known["holder"] else seconds("sent"),
        written=sum(written),
    )


def _seconds(clock: Sequence[bytes]) -> float:
    return int(clock[0]) + int(clock[1]) / 1e6
