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
    keys: Keys, session_id: str, job_id: str, *, status: str, ended: int, retention: Retention
) -> tuple[Command, ...]:
    """After a job's end with this status, at `ended` ms: a dead letter if it failed or expired.

    Goes before the command that drops the job's entry in `due`: until then a sweep makes up for a crash.
    """
    if status not in DEAD:
        return ()
    entry, kept = due_member(session_id, job_id), milliseconds(retention.job)
    return (Command.call(load("bury"), keys.dead, entry, ended, kept, MOST),)


def size(keys: Keys) -> Query[int]:
    """How many there are."""
    command = Command("ZCOUNT", keys.dead, "(0", "+inf")
    return Query(commands=(command,), decode=lambda replies: int(replies[0]))


def page(keys: Keys, *, start: int, count: int) -> Query[list[Entry]]:
    """At most `count` entries, the latest end first, without the `start` first ones."""
    # Those that were dropped have a negative score.
    command = Command("ZREVRANGEBYSCORE", keys.dead, "+inf", "(0", "LIMIT", start, count)
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
    """Take these letters away, for good; how many of these jobs had one. The jobs stay as long as any that
    ended.
    """
    members = (due_member(*entry) for entry in entries)
    command = Command.call(load("drop"), keys.dead, *members)
    return Query(commands=(command,), decode=lambda replies: int(replies[0]))


def forget(keys: Keys, entries: Sequence[Entry]) -> Query[None]:
    """Take out entries that are no letters: of jobs that are gone, or have not ended badly."""
    command = Command("ZREM", keys.dead, *(due_member(*entry) for entry in entries))
    return Query(commands=(command,), decode=lambda _replies: None)
