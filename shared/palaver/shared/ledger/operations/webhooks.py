"""The webhooks that are to be delivered: a registry of jobs for each tenant. A hint, like `due`; how one
stands is in its job's hash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from palaver.shared.ledger.keys import Keys, due_member, parse_due_member
from palaver.shared.ledger.operation import Argument, Command, Operation, Query, milliseconds, text
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.replies import Place
from palaver.shared.ledger.scripts import load
from palaver.shared.ledger.views import WEBHOOK_FIELDS, JobWebhook, decode_webhook

_WATCH_MS: Final = 60_000
"""So long after its job was due a webhook is looked at first, unless the job's end hurries it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Jobs whose webhook is due, each with its tenant (`""`: none); and whether others are `left`, for which
    there was no room.
    """

    webhooks: list[tuple[Place, str]]
    left: bool


def note_webhook(keys: Keys, session_id: str, job_id: str, run_at: int, tenant: str | None) -> Command:
    """Before a job with a webhook is stored: a crash cannot leave one that nobody delivers."""
    entry = due_member(session_id, job_id)
    return Command.call(load("webhook_enter"), keys.webhooks, entry, tenant or "", run_at, _WATCH_MS)


def hurry_webhook(keys: Keys, session_id: str, job_id: str, ended: int) -> Command:
    """After a job's end, at `ended` ms: its webhook is due, if it has one."""
    return _due(keys, session_id, job_id, ended)


def _due(keys: Keys, session_id: str, job_id: str, at_ms: int) -> Command:
    return Command.call(load("webhook_due"), keys.webhooks, due_member(session_id, job_id), at_ms)


def take_webhooks(
    keys: Keys,
    *,
    seconds: float,
    limit: int,
    of_one_tenant: int | None = None,
    running: Mapping[str, int] | None = None,
) -> Operation[Taken]:
    """At most so many jobs whose webhook is due, of tenants in turns; others are given them again after so
    many seconds. With those that are `running` (tenant -> how many) no tenant has more than its part, nor
    more than is left for all others.
    """

    def decode(raw: Any) -> Taken:
        left, *words = checked(raw)
        places = map(parse_due_member, words[::2])
        return Taken(list(zip(places, map(text, words[1::2]), strict=True)), bool(left))

    each = limit if of_one_tenant is None else of_one_tenant
    args: list[Argument] = [milliseconds(seconds), limit, each]
    for tenant, count in (running or {}).items():
        args += [tenant, count]
    return Operation(script=load("webhook_take"), keys=(keys.webhooks,), args=tuple(args), decode=decode)


def put_off_webhook(keys: Keys, session_id: str, job_id: str, at: float) -> Query[None]:
    """The next try is then, Unix time of Redis."""
    return Query(commands=(_due(keys, session_id, job_id, milliseconds(at)),), decode=_nothing)


def forget_webhook(keys: Keys, session_id: str, job_id: str) -> Query[None]:
    """There is nothing to deliver, or nothing more."""
    return Query(commands=(forgotten_webhook(keys, session_id, job_id),), decode=_nothing)


def forgotten_webhook(keys: Keys, session_id: str, job_id: str) -> Command:
    """The command of `forget_webhook`."""
    return Command.call(load("webhook_leave"), keys.webhooks, due_member(session_id, job_id))


def webhook_lines(keys: Keys) -> Query[list[str]]:
    """The keys of all tenants' webhooks, and of their turns."""

    def decode(replies: Sequence[Any]) -> list[str]:
        return [keys.webhooks, *(keys.webhooks_of(text(tenant)) for tenant in replies[0])]

    return Query(commands=(Command("ZRANGE", keys.webhooks, 0, -1),), decode=decode)


def webhook_of(keys: Keys, session_id: str, job_id: str) -> Query[JobWebhook | None]:
    """A job's webhook, and nothing of what was asked and answered; None: there is no such job."""
    command = Command("HMGET", keys.job(session_id, job_id), *WEBHOOK_FIELDS)
    return Query(commands=(command,), decode=lambda replies: decode_webhook(replies[0]))


def webhook_stands(keys: Keys, session_id: str, job_id: str, standing: str) -> Operation[None]:
    """How a job's webhook stands: `delivered`, `given up`, or how often it failed."""
    return Operation(
        script=load("webhook_stands"),
        keys=(keys.base(session_id),),
        args=(job_id, standing),
        decode=lambda raw: _nothing([raw]),
    )


def _nothing(replies: Sequence[Any]) -> None:
    checked(replies[0])
