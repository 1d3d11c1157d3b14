"""The webhooks that are to be delivered: a registry of jobs. A hint, like `due`; how one stands is in its
job's hash.
"""

from collections.abc import Sequence
from typing import Any, Final

from palaver.shared.ledger.keys import Keys, due_member, parse_due_member
from palaver.shared.ledger.operation import Command, Operation, Query, milliseconds
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.scripts import load

_WATCH_MS: Final = 60_000
"""So long after its job was due a webhook is looked at first, unless the job's end hurries it."""

Entry = tuple[str, str]
"""Session id and job id."""


def note_webhook(keys: Keys, session_id: str, job_id: str, run_at: int) -> tuple[Command, ...]:
    """Before a job with a webhook is stored: a crash cannot leave one that nobody delivers."""
    entry = due_member(session_id, job_id)
    return (Command.call(load("watch"), keys.webhooks, entry, run_at, _WATCH_MS),)


def hurry_webhook(keys: Keys, session_id: str, job_id: str, ended: int) -> Command:
    """After a job's end, at `ended` ms: its webhook is due, if it has one."""
    return Command("ZADD", keys.webhooks, "XX", ended, due_member(session_id, job_id))


def take_webhooks(keys: Keys, *, seconds: float, limit: int) -> Operation[list[Entry]]:
    """At most so many jobs whose webhook is due; others are given them again after so many seconds."""

    def decode(raw: Any) -> list[Entry]:
        return [parse_due_member(member) for member in checked(raw)]

    args = (milliseconds(seconds), limit)
    return Operation(script=load("take"), keys=(keys.webhooks,), args=args, decode=decode)


def put_off_webhook(keys: Keys, session_id: str, job_id: str, at: float) -> Query[None]:
    """The next try is then, Unix time of Redis."""
    command = Command("ZADD", keys.webhooks, "XX", milliseconds(at), due_member(session_id, job_id))
    return Query(commands=(command,), decode=_nothing)


def forget_webhook(keys: Keys, session_id: str, job_id: str) -> Query[None]:
    """There is nothing to deliver, or nothing more."""
    command = Command("ZREM", keys.webhooks, due_member(session_id, job_id))
    return Query(commands=(command,), decode=_nothing)


def webhook_stands(keys: Keys, session_id: str, job_id: str, standing: str) -> Operation[None]:
    """How a job's webhook stands: `delivered`, `given up`, or how often it failed."""
    return Operation(
        script=load("note_webhook"),
        keys=(keys.base(session_id),),
        args=(job_id, standing),
        decode=lambda raw: _nothing([raw]),
    )


def _nothing(replies: Sequence[Any]) -> None:
    checked(replies[0])
