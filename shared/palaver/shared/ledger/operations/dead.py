"""The dead letters: a registry of jobs that ended badly. A hint, like `due`; the truth is the job's hash."""

from collections.abc import Sequence
from typing import Any, Final

from palaver.shared.jobs import Status
from palaver.shared.ledger.keys import Keys, due_member, parse_due_member
from palaver.shared.ledger.operation import Command, Query, Retention, milliseconds
from palaver.shared.ledger.scripts import load
from palaver.shared.ledger.views import DeadLetter, decode_dead_letter

MOST: Final = 10_000
"""Dead letters that are kept; the oldest make room for new ones."""

DEAD: Final = frozenset({Status.FAILED, Status.EXPIRED})

_FIELDS = ("status", "failures", "deaths", "done", "model", "error")

Entry = tuple[str, str]
"""Session id and job id."""


def bury(
    keys: Keys, session_id: str, job_id: str, *, status: str, now: int, retention: Retention
) -> tuple[Command, ...]:
    """After a job's end with this status, at `now` ms: a dead letter if it failed or expired.

    Goes before the command that drops the job's entry in `due`: until then a sweep makes up for a crash.
    """
    if status not in DEAD:
        return ()
    entry, kept = due_member(session_id, job_id), milliseconds(retention.job)
    return (Command("EVAL", load("bury").source, 1, keys.dead, entry, now, kept, MOST),)


def page(keys: Keys, *, start: int, count: int) -> Query[list[Entry]]:
    """At most `count` entries, the latest end first, without the `start` first ones."""
    command = Command("ZREVRANGE", keys.dead, start, start + count - 1)
    return Query(
        commands=(command,), decode=lambda replies: [parse_due_member(member) for member in replies[0]]
    )


def letters(keys: Keys, entries: Sequence[Entry]) -> Query[list[DeadLetter | None]]:
    """What the jobs' hashes say; None for a job that is gone or has not ended badly."""

    def decode(replies: Sequence[Any]) -> list[DeadLetter | None]:
        now = int(replies[0][0]) + int(replies[0][1]) / 1e6
        return [
            decode_dead_letter(*entry, dict(zip(_FIELDS, values, strict=True)), now)
            if values[0] is not None and values[0].decode() in DEAD
            else None
            for entry, values in zip(entries, replies[1:], strict=True)
        ]

    hashes = (Command("HMGET", keys.job(*entry), *_FIELDS) for entry in entries)
    return Query(commands=(Command("TIME"), *hashes), decode=decode)


def drop(keys: Keys, entries: Sequence[Entry]) -> Query[int]:
    """Take these out of the registry; how many were in it. The jobs stay as long as any that ended."""
    command = Command("ZREM", keys.dead, *(due_member(*entry) for entry in entries))
    return Query(commands=(command,), decode=lambda replies: int(replies[0]))
