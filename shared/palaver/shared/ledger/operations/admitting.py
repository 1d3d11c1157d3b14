"""How many jobs have not ended, in all and of a tenant, where that is bounded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from palaver.shared.batches import BatchStatus
from palaver.shared.jobs import Status
from palaver.shared.ledger.keys import Keys, due_member, parse_due_member
from palaver.shared.ledger.operation import Argument, Command, Operation, Query, milliseconds, text
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.replies import Place
from palaver.shared.ledger.scripts import load

ALL: Final = "all"
"""The name of the list of all jobs; that of a tenant's is `list_of`."""

NEW, KNOWN, REFUSED = 2, 1, 0

_UNENDED: Final = {each.value for each in (*Status, *BatchStatus) if not each.ended}

_GRACE: Final = 3600.0
"""So many seconds after it must have ended somebody who needs the place of a job looks whether it has."""
_AGAIN_MS: Final = 60_000
"""So long after that the next one looks, while no worker is there to end it."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What became of entries that asked for places: `NEW`, `KNOWN` or `REFUSED` each; how many jobs have not
    ended, and in about how many seconds one will have. `lapsed` are some whose time is over, and have places.
    """

    places: list[int]
    unended: int
    retry_after: float
    lapsed: Sequence[Place] = ()


def list_of(tenant: str | None) -> str:
    """The name of a tenant's list, or of the one of jobs that name none."""
    return f"={tenant or ''}"


def admit(keys: Keys, name: str, places: Sequence[Place], *, most: int) -> Operation[Admitted]:
    """Ask for places in a list, for jobs or batches that are to be stored: a minute, see `keep_counted`."""

    def decode(raw: Any) -> Admitted:
        _, unended, wait, *rest = checked(raw)
        standings, lapsed = rest[: len(places)], rest[len(places) :]
        return Admitted(
            [int(standing) for standing in standings],
            int(unended),
            int(wait) / 1000,
            [parse_due_member(entry) for entry in lapsed],
        )

    args: tuple[Argument, ...] = (most, *(due_member(*place) for place in places))
    return Operation(script=load("admit"), keys=(keys.unended(name),), args=args, decode=decode)


def until(keys: Keys, places: Sequence[Place]) -> Query[list[int]]:
    """Until when each of these jobs and batches counts unseen, in ms; 0: it has ended, or is none."""

    def decode(replies: Sequence[Any]) -> list[int]:
        (seconds, _), *told = replies
        found = zip(told[::2], told[1::2], strict=True)
        ends = (_until(*job) or _until(*batch) for job, batch in found)
        return [end and max(end, int(seconds) * 1000 + _AGAIN_MS) for end in ends]

    # A batch and its session have one id, and so may a job and its own.
    commands = [
        command
        for session_id, job_id in places
        for command in (
            Command("HMGET", keys.job(session_id, job_id), "status", "deadline"),
            Command("HMGET", keys.batch(job_id), "status", "expires"),
        )
    ]
    return Query(commands=(Command("TIME"), *commands), decode=decode)


def _until(status: bytes | None, ends: bytes | None) -> int:
    if status is None or ends is None or text(status) not in _UNENDED:
        return 0
    return int(ends) + milliseconds(_GRACE)


def put_right(keys: Keys, name: str, place: Place, until_ms: int) -> Command:
    """An entry whose time was over: it stays until then, unless the job has ended meanwhile; 0: it goes."""
    if not until_ms:
        return give_up(keys, name, *place)
    return Command("ZADD", keys.unended(name), "XX", "GT", until_ms, due_member(*place))


def give_up(keys: Keys, name: str, session_id: str, job_id: str) -> Command:
    """A job has no place in a list any more."""
    return Command("ZREM", keys.unended(name), due_member(session_id, job_id))


def keep_counted(keys: Keys, session_id: str, job_id: str, name: str, *, ends: float) -> tuple[Command, ...]:
    """After a job was stored that was given a place in the list of this name (`""`: in none): it keeps it
    until it ends, at this Unix time at the latest, unless it has ended already.
    """
    if not name:
        return ()
    until, entry = milliseconds(ends + _GRACE), due_member(session_id, job_id)
    return tuple(Command("ZADD", keys.unended(each), "XX", "GT", until, entry) for each in (ALL, name))


def uncount(keys: Keys, session_id: str, job_id: str, name: bytes | str) -> tuple[Command, ...]:
    """After the end of a job that its hash says to count in the list of this name, if any."""
    if not name:
        return ()
    names = (ALL, name if isinstance(name, str) else name.decode())
    return tuple(give_up(keys, each, session_id, job_id) for each in names)
