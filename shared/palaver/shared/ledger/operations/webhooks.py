"""The webhooks that are to be delivered: a registry of jobs. A hint, like `due`; how one stands is in its
job's hash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from palaver.shared.ledger.keys import Keys, due_member, parse_due_member
from palaver.shared.ledger.operation import Argument, Command, Operation, Query, milliseconds, text
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.replies import Place
from palaver.shared.ledger.scripts import load

_WATCH_MS: Final = 60_000
"""So long after its job was due a webhook is looked at first, unless the job's end hurries it."""

_KEPT: Final = 400 * 24 * 3600
"""Seconds, as `due`."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Jobs whose webhook is due, each with its tenant (`""`: none); and whether others are `left`, for which
    there was no room.
    """

    webhooks: list[tuple[Place, str]]
    left: bool


def note_webhook(
    keys: Keys, session_id: str, job_id: str, run_at: int, tenant: str | None
) -> tuple[Command, ...]:
    """Before a job with a webhook is stored: a crash cannot leave one that nobody delivers."""
    entry, whose = due_member(session_id, job_id), keys.webhooks_whose
    its = (Command("HSET", whose, entry, tenant), Command("EXPIRE", whose, _KEPT)) if tenant else ()
    return (*its, Command.call(load("watch"), keys.webhooks, entry, run_at, _WATCH_MS))


def hurry_webhook(keys: Keys, session_id: str, job_id: str, ended: int) -> Command:
    """After a job's end, at `ended` ms: its webhook is due, if it has one."""
    return Command("ZADD", keys.webhooks, "XX", ended, due_member(session_id, job_id))


def take_webhooks(
    keys: Keys,
    *,
    seconds: float,
    limit: int,
    of_one_tenant: int | None = None,
    running: Mapping[str, int] | None = None,
) -> Operation[Taken]:
    """At most so many jobs whose webhook is due; others are given them again after so many seconds. No tenant
    has more than its part of them, with those that are `running` (tenant -> how many).
    """

    def decode(raw: Any) -> Taken:
        left, *words = checked(raw)
        places = map(parse_due_member, words[::2])
        return Taken(list(zip(places, map(text, words[1::2]), strict=True)), bool(left))

    each = limit if of_one_tenant is None else of_one_tenant
    args: list[Argument] = [milliseconds(seconds), limit, each]
    for tenant, count in (running or {}).items():
        args += [tenant, count]
    return Operation(script=load("take_webhooks"), keys=(keys.webhooks,), args=tuple(args), decode=decode)


def put_off_webhook(keys: Keys, session_id: str, job_id: str, at: float) -> Query[None]:
    """The next try is then, Unix time of Redis."""
    command = Command("ZADD", keys.webhooks, "XX", milliseconds(at), due_member(session_id, job_id))
    return Query(commands=(command,), decode=_nothing)


def forget_webhook(keys: Keys, session_id: str, job_id: str) -> Query[None]:
    """There is nothing to deliver, or nothing more."""
    return Query(commands=forgotten_webhook(keys, session_id, job_id), decode=_nothing)


def forgotten_webhook(keys: Keys, session_id: str, job_id: str) -> tuple[Command, ...]:
    """The commands of `forget_webhook`."""
    entry = due_member(session_id, job_id)
    return (Command("ZREM", keys.webhooks, entry), Command("HDEL", keys.webhooks_whose, entry))


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
